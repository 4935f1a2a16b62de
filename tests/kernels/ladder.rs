//! `kernels/ladder/`: every rung against the oracle of the engine's kernel; what each launches and moves, as its pages state.

use crate::{batch_norm, nt_xent, pgd};
use rocl::device::record::record;
use rocl::element::Real;
use rocl::ops::ladder::{BnBackwardRung, NtXentRung, NtXentScratch, PgdRung};
use rocl::ops::{BnParameters, BnSaved, NtXent, NtXentWorkspace};
use rocl::{Device, Result, Tensor};

fn like<R: Real>(x: &Tensor<R>) -> Tensor<R> {
    Tensor::zeros(x.device(), x.shape()).unwrap()
}

fn pgd_on<R: Real + PartialEq>() {
    let bits =
        PgdRung::ALL.map(|rung| pgd::equals_the_oracle::<R>(|x, g, clean, step, e| rung.step(x, g, clean, step, e, &like(x))));
    assert!(bits.iter().all(|rung| *rung == bits[0]), "the same operations in the same order");
}

#[test]
fn every_pgd_step_equals_the_oracle_and_the_others() {
    pgd_on::<f32>();
    pgd_on::<f64>();
}

fn bn_backward_on<R: Real>() {
    for rung in BnBackwardRung::ALL {
        // One chain of additions over all rows is less exact than a tree: its rounding errors are those of partial sums of the size of the whole.
        let one_chain = matches!(rung, BnBackwardRung::Textbook | BnBackwardRung::Recomputed);
        batch_norm::backward_equals::<R>(if one_chain { 200.0 } else { 50.0 }, |on, relu| {
            let [mask, d_residual] = on.behind(relu);
            let (vectors, scratch) = (on.parameters(), [&like(&on.x), &like(&on.x)]);
            rung.run(&on.dy, &on.x, mask, vectors, &on.saved, &on.d_gamma, &on.d_beta, &on.dx, d_residual, scratch)
        });
    }
}

#[test]
fn every_bn_backward_equals_the_oracle() {
    bn_backward_on::<f32>();
    bn_backward_on::<f64>();
}

fn nt_xent_on<R: Real>() {
    for rung in NtXentRung::ALL {
        nt_xent::matches_the_oracle::<R>(
            |settings| settings.groups == 1 && settings.detach_keys,
            &|settings, z, weight, d_z, gradient_rows, workspace, loss| {
                let scratch = NtXentScratch::new(z.device(), z.dims()[0], z.dims()[1])?;
                rung.run(settings, z, weight, d_z, gradient_rows, workspace, &scratch, loss)
            },
        );
    }
}

#[test]
fn every_nt_xent_equals_the_oracle() {
    nt_xent_on::<f32>();
    nt_xent_on::<f64>();
}

/// Launches, and bytes that they cannot do without.
fn cost(run: impl FnOnce() -> Result<()>) -> (usize, u64) {
    let calls = record(run).unwrap();
    (calls.len(), calls.iter().map(|call| call.bytes()).sum())
}

/// In numbers of four bytes for each pixel: seven launches move 17 where one moves 4.
#[test]
fn pgd_moves_what_its_page_says() {
    let (device, n) = (Device::dry(), 768);
    let tensor = || Tensor::<f32>::zeros(&device, [n]).unwrap();
    let [x, gradient, clean, scratch] = [tensor(), tensor(), tensor(), tensor()];
    let costs = PgdRung::ALL.map(|rung| cost(|| rung.step(&x, &gradient, &clean, 0.1, 0.1, &scratch)));
    assert_eq!(costs, [(7, 17), (1, 4), (1, 4), (1, 4)].map(|(launches, numbers)| (launches, numbers * 4 * n as u64)));
}

/// In numbers for each element of the activation, a mask included; what there is per channel and chunk comes on top, below 4 %.
#[test]
fn bn_backward_moves_what_its_page_says() {
    let (device, rows, channels) = (Device::dry(), 4096, 64);
    let matrix = || Tensor::<f32>::zeros(&device, [rows, channels]).unwrap();
    let vector = || Tensor::<f32>::zeros(&device, [channels]).unwrap();
    let [dy, x, mask, dx, g, xhat] = [matrix(), matrix(), matrix(), matrix(), matrix(), matrix()];
    let [gamma, beta, d_gamma, d_beta] = [vector(), vector(), vector(), vector()];
    let saved = BnSaved::new(&device, rows, channels).unwrap();
    let parameters = BnParameters { gamma: &gamma, beta: &beta };
    let costs = BnBackwardRung::ALL
        .map(|rung| cost(|| rung.run(&dy, &x, Some(&mask), parameters, &saved, &d_gamma, &d_beta, &dx, None, [&g, &xhat])));
    for ((launches, bytes), (expected, numbers)) in costs.into_iter().zip([(5, 11), (2, 7), (3, 7), (3, 7)]) {
        let all = (numbers * 4 * rows * channels) as u64;
        assert_eq!(launches, expected);
        assert!(bytes >= all && bytes < all + all / 25, "{bytes} bytes, {all} of them in activations");
    }
}

/// The matrix of similarities is written once, read four times and written once more; the other rungs read z and write its gradient, and the sum over
/// the rows' losses is a launch of its own.
#[test]
fn nt_xent_moves_what_its_page_says() {
    let (device, rows, d) = (Device::dry(), 512, 128);
    let tensor = |shape: [usize; 2]| Tensor::<f32>::zeros(&device, shape).unwrap();
    let (z, d_z, loss) = (tensor([rows, d]), tensor([rows, d]), Tensor::zeros(&device, [1]).unwrap());
    let settings = NtXent { views: 2, groups: 1, temperature: 0.5, detach_keys: true };
    let (workspace, scratch) = (NtXentWorkspace::new(&device, rows).unwrap(), NtXentScratch::new(&device, rows, d).unwrap());
    let costs = NtXentRung::ALL.map(|rung| cost(|| rung.run(&settings, &z, 1.0, Some(&d_z), rows, &workspace, &scratch, &loss)));
    assert_eq!(costs.map(|(launches, _)| launches), [7, 2, 2, 2]);
    let (embeddings, matrix, vector) = ((rows * d * 4) as u64, (rows * rows * 4) as u64, (rows * 4) as u64);
    let sum = vector + 2 * 4;
    assert_eq!(costs[0].1, 5 * matrix + 8 * embeddings + 7 * vector + sum);
    assert_eq!(costs[1..].iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [2 * embeddings + vector + sum; 3]);
}

/// What warps ask memory for, as the pages state it: requests, and sectors of 32 bytes. The launch that sums the rows' losses is left out.
#[cfg(feature = "access")]
mod access {
    use super::*;
    use rocl::device::access::{Banks, Launch, Traffic, watch};

    fn seen(run: impl FnOnce(&Device) -> Result<()>) -> (Traffic, Banks) {
        let mut launches = watch(|| run(&Device::host()?)).unwrap().1;
        launches.retain(|launch| launch.kernel != "weighted_sum");
        assert!(launches.iter().all(|launch| launch.races == 0));
        let all = launches.iter().map(Launch::memory).reduce(|sum, one| sum.with(&one)).unwrap();
        (all, launches.last().unwrap().shared)
    }

    /// Within a tenth: which of a loop's accesses stay outside of it is up to the compiler.
    fn about(found: u64, expected: f64) {
        assert!((found as f64 - expected).abs() <= 0.1 * expected, "{found} instead of about {expected}");
    }

    /// Eight images.
    #[test]
    fn pgd_asks_for_what_its_page_says() {
        let asked = PgdRung::ALL.map(|rung| {
            let run = |device: &Device| {
                let tensor = || Tensor::<f32>::zeros(device, [8 * 3072]).unwrap();
                rung.step(&tensor(), &tensor(), &tensor(), 0.1, 0.1, &tensor())
            };
            let (memory, _) = seen(run);
            (memory.requests, memory.sectors)
        });
        assert_eq!(asked, [(3264, 52_224), (3072, 98_304), (3072, 12_288), (768, 12_288)]);
    }

    /// 4096 rows of 64 channels, behind a rectifier that is on everywhere.
    #[test]
    fn bn_backward_asks_for_what_its_page_says() {
        let asked = BnBackwardRung::ALL.map(|rung| {
            let run = |device: &Device| {
                let matrix = || Tensor::from_slice(device, [4096, 64], &[1.0f32; 4096 * 64]).unwrap();
                let vector = || Tensor::<f32>::zeros(device, [64]).unwrap();
                let (saved, gamma, beta) = (BnSaved::new(device, 4096, 64)?, vector(), vector());
                let parameters = BnParameters { gamma: &gamma, beta: &beta };
                let (dx, scratch) = (matrix(), [&matrix(), &matrix()]);
                rung.run(&matrix(), &matrix(), Some(&matrix()), parameters, &saved, &vector(), &vector(), &dx, None, scratch)
            };
            let (memory, _) = seen(run);
            (memory.requests, memory.sectors)
        });
        for ((requests, sectors), page) in asked.into_iter().zip([(121e3, 557e3), (107e3, 426e3), (108e3, 431e3), (25e3, 318e3)])
        {
            about(requests, page.0);
            about(sectors, page.1);
        }
    }

    /// Two views of 64 images, 128 dimensions.
    #[test]
    fn nt_xent_asks_for_what_its_page_says() {
        let asked = NtXentRung::ALL.map(|rung| {
            let run = |device: &Device| {
                let (rows, d) = (128, 128);
                let (z, d_z) = (Tensor::<f32>::zeros(device, [rows, d])?, Tensor::zeros(device, [rows, d])?);
                let settings = NtXent { views: 2, groups: 1, temperature: 0.5, detach_keys: true };
                let (workspace, scratch) = (NtXentWorkspace::new(device, rows)?, NtXentScratch::new(device, rows, d)?);
                rung.run(&settings, &z, 1.0, Some(&d_z), rows, &workspace, &scratch, &Tensor::zeros(device, [1])?)
            };
            let (memory, shared) = seen(run);
            [memory.requests, memory.sectors, shared.requests, shared.wavefronts]
        });
        let matrix = [270e3, 2649e3, 0.0, 0.0];
        let row = [199e3, 2435e3, 71e3, 71e3];
        let pages = [matrix, row, [69e3, 275e3, 341e3, 341e3], [2.6e3, 39e3, 64e3, 176e3]];
        for (rung, page) in asked.into_iter().zip(pages) {
            rung.into_iter().zip(page).for_each(|(found, expected)| about(found, expected));
        }
    }
}
