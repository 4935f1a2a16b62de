//! `kernels/nt_xent.cu`.

use crate::golden;
use crate::support::*;
use rand::seq::SliceRandom;
use rocl::element::Real;
use rocl::ops::{self, NtXent, NtXentWorkspace};
use rocl::{Device, Tensor};

const TINY: f64 = 1e-8;

/// (views, groups, batch, d): ragged against 8 queries, 16, 32 and 64 keys, 8 dimensions and 16-byte vectors.
const PROBLEMS: [(usize, usize, usize, usize); 9] = [
    (2, 1, 1, 1),
    (2, 1, 4, 128),
    (3, 1, 5, 7),
    (2, 3, 15, 12),
    (3, 2, 44, 128),
    (4, 1, 9, 130),
    (2, 1, 33, 256),
    (5, 2, 6, 65),
    (2, 2, 70, 20),
];

/// Beyond 256 dimensions, which go through shared memory in slices of 128; also ragged against those.
const WIDE_PROBLEMS: [(usize, usize, usize, usize); 6] =
    [(2, 1, 1, 257), (2, 1, 6, 512), (3, 2, 8, 2048), (2, 1, 40, 300), (3, 1, 5, 515), (2, 2, 10, 2047)];

/// The same image in the other views of row `i`, as rows of the group.
fn positives(views: usize, batch: usize, i: usize) -> impl Iterator<Item = usize> {
    (0..views).map(move |view| view * batch + i % batch).filter(move |&j| j != i)
}

/// The rows of one group, in its own order.
fn rows_of(views: usize, groups: usize, batch: usize, group: usize) -> Vec<usize> {
    let share = batch / groups;
    (0..views).flat_map(|view| (0..share).map(move |image| view * batch + group * share + image)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// P of one group, `[n][n]`, from its keys and queries: (ẑ_query · ẑ_key)/τ.
fn probabilities(queries: &[Vec<f64>], keys: &[Vec<f64>], temperature: f64) -> Vec<Vec<f64>> {
    let n = keys.len();
    let hat = |z: &Vec<f64>| z.iter().map(|x| x / (dot(z, z).sqrt() + TINY)).collect::<Vec<f64>>();
    let (queries, keys): (Vec<_>, Vec<_>) = (queries.iter().map(hat).collect(), keys.iter().map(hat).collect());
    (0..n)
        .map(|i| {
            let e: Vec<f64> =
                (0..n).map(|j| if i == j { 0.0 } else { (dot(&queries[i], &keys[j]) / temperature).exp() }).collect();
            let sum: f64 = e.iter().sum();
            e.iter().map(|x| x / (sum + TINY)).collect()
        })
        .collect()
}

/// The loss of queries against keys, which differ only for the detached gradient's finite differences.
fn loss_between(p: (usize, usize, usize, usize), temperature: f64, queries: &[f64], keys: &[f64]) -> f64 {
    let (views, groups, batch, d) = p;
    let take = |z: &[f64], rows: &[usize]| rows.iter().map(|&r| z[r * d..(r + 1) * d].to_vec()).collect::<Vec<_>>();
    let of_group = |group| {
        let rows = rows_of(views, groups, batch, group);
        let probability = probabilities(&take(queries, &rows), &take(keys, &rows), temperature);
        let loss = |i: usize| positives(views, batch / groups, i).map(|j| -(probability[i][j] + TINY).ln()).sum::<f64>();
        (0..rows.len()).map(loss).sum::<f64>() / rows.len() as f64
    };
    (0..groups).map(of_group).sum::<f64>() / groups as f64
}

/// The gradient, by the chain rule, written plainly.
fn gradient(p: (usize, usize, usize, usize), temperature: f64, detach_keys: bool, z: &[f64]) -> Vec<f64> {
    let (views, groups, batch, d) = p;
    let mut out = vec![0.0; z.len()];
    for group in 0..groups {
        let rows = rows_of(views, groups, batch, group);
        let n = rows.len();
        let raw: Vec<&[f64]> = rows.iter().map(|&r| &z[r * d..(r + 1) * d]).collect();
        let norm: Vec<f64> = raw.iter().map(|z| dot(z, z).sqrt()).collect();
        let own: Vec<Vec<f64>> = raw.iter().map(|z| z.to_vec()).collect();
        let probability = probabilities(&own, &own, temperature);
        // Derivative of the group's loss by s_ij.
        let mut by_s = vec![vec![0.0; n]; n];
        for i in 0..n {
            for positive in positives(views, batch / groups, i) {
                let share = probability[i][positive] / (probability[i][positive] + TINY);
                by_s[i][positive] -= share / n as f64;
                (0..n).for_each(|j| by_s[i][j] += share * probability[i][j] / n as f64);
            }
        }
        for i in 0..n {
            let mut by_hat = vec![0.0; d];
            for j in 0..n {
                let factor = by_s[i][j] + if detach_keys { 0.0 } else { by_s[j][i] };
                (0..d).for_each(|k| by_hat[k] += factor / temperature * raw[j][k] / (norm[j] + TINY));
            }
            let along = if norm[i] > 0.0 { dot(&by_hat, raw[i]) / norm[i] / (norm[i] + TINY) } else { 0.0 };
            for k in 0..d {
                out[rows[i] * d + k] = (by_hat[k] - raw[i][k] * along) / (norm[i] + TINY) / groups as f64;
            }
        }
    }
    out
}

/// Embeddings whose positives are alike, as in training, with norms around three.
fn embeddings(seed: u64, (views, _, batch, d): (usize, usize, usize, usize)) -> Vec<f64> {
    let image = uniform(seed, batch * d, -1.0, 1.0);
    let noise = uniform(seed + 1, views * batch * d, -0.4, 0.4);
    let length = 3.0 / (d as f64 / 3.0).sqrt();
    noise.iter().enumerate().map(|(i, noise)| length * (image[i % (batch * d)] + noise)).collect()
}

/// An implementation: (settings, z, weight, d_z, gradient_rows, workspace, loss), as [`ops::nt_xent`].
pub type Compute<'a, R> =
    &'a dyn Fn(&NtXent, &Tensor<R>, f64, Option<&Tensor<R>>, usize, &NtXentWorkspace<R>, &Tensor<R>) -> rocl::Result<()>;

fn run<R: Real>(device: &Device, s: &NtXent, z: &[R], d: usize, weight: f64, gradient_rows: usize) -> (R, Vec<R>) {
    run_by(&ops::nt_xent, device, s, z, d, weight, gradient_rows)
}

/// Loss and gradient from the kernels; rows past `gradient_rows` keep the -7 they are filled with.
fn run_by<R: Real>(
    compute: Compute<R>,
    device: &Device,
    s: &NtXent,
    z: &[R],
    d: usize,
    weight: f64,
    gradient_rows: usize,
) -> (R, Vec<R>) {
    let rows = z.len() / d;
    let z = Tensor::from_slice(device, [rows, d], z).unwrap();
    let d_z = Tensor::from_slice(device, [rows, d], &vec![R::from_f64(-7.0); rows * d]).unwrap();
    let (workspace, loss) = (NtXentWorkspace::new(device, rows).unwrap(), Tensor::zeros(device, [1]).unwrap());
    compute(s, &z, weight, Some(&d_z), gradient_rows, &workspace, &loss).unwrap();
    let with_gradient = loss.to_vec().unwrap()[0];
    compute(s, &z, weight, None, 0, &workspace, &loss).unwrap();
    assert_eq!(with_gradient, loss.to_vec().unwrap()[0], "the loss does not depend on whether a gradient is wanted");
    (with_gradient, d_z.to_vec().unwrap())
}

/// `compute` against the oracle, for those of the problems that it is for.
pub fn matches_the_oracle<R: Real>(is_for: impl Fn(&NtXent) -> bool, compute: Compute<R>) {
    matches_the_oracle_on(&PROBLEMS, is_for, compute);
}

fn matches_the_oracle_on<R: Real>(
    problems: &[(usize, usize, usize, usize)],
    is_for: impl Fn(&NtXent) -> bool,
    compute: Compute<R>,
) {
    // exp(s) magnifies the rounding of s, up to 1/τ = 10, tenfold; and the largest element of a gradient, which differences are
    // measured by, is a tenth of its terms: positives and the rest nearly cancel.
    let tolerance = 200.0 * rounding::<R>();
    let weight = 0.37;
    for (number, &p) in problems.iter().enumerate() {
        let (views, groups, batch, d) = p;
        let z = stored::<R>(&embeddings(10 * number as u64, p));
        let exact = widened(&z);
        for (detach_keys, temperature) in [(true, 0.5), (false, 0.5), (true, 0.1), (false, 0.1)] {
            let settings = NtXent { views, groups, temperature, detach_keys };
            if !is_for(&settings) {
                continue;
            }
            let gradient_rows = if number % 2 == 0 { views * batch } else { batch };
            let answers = answers(|device| {
                let (loss, mut d_z) = run_by(compute, device, &settings, &z, d, weight, gradient_rows);
                d_z.push(loss);
                d_z
            });
            let mut expected = gradient(p, temperature, detach_keys, &exact);
            expected.iter_mut().for_each(|g| *g *= weight);
            // Where the exact gradient vanishes (one dimension, one image) there is rounding only, of terms about this large.
            let scale = expected.iter().fold(0.1 / (views * batch) as f64, |most, g| g.abs().max(most));
            let what = format!("{settings:?}, batch {batch}, d {d}");
            for mut found in answers.iter().map(|bits| widened(bits)) {
                let loss = found.pop().unwrap();
                assert_close(&what, &[loss], &[weight * loss_between(p, temperature, &exact, &exact)], tolerance, 1e-2);
                let (inside, outside) = found.split_at(gradient_rows * d);
                assert_close(&what, inside, &expected[..gradient_rows * d], tolerance, scale);
                assert!(outside.iter().all(|&x| x == -7.0), "{what}: a row that needs no gradient was written");
            }
        }
    }
}

#[test]
fn loss_and_gradient_equal_the_oracle() {
    matches_the_oracle::<f32>(|_| true, &ops::nt_xent);
    matches_the_oracle::<f64>(|_| true, &ops::nt_xent);
}

#[test]
fn embeddings_of_any_width_equal_the_oracle() {
    matches_the_oracle_on::<f32>(&WIDE_PROBLEMS, |_| true, &ops::nt_xent);
    matches_the_oracle_on::<f64>(&WIDE_PROBLEMS, |_| true, &ops::nt_xent);
}

#[test]
fn gradient_equals_finite_differences_of_the_loss() {
    let device = Device::host().unwrap();
    for (p, temperature) in [((3, 1, 4, 9), 0.5), ((2, 2, 6, 10), 0.2)] {
        let (views, groups, _, d) = p;
        let z = embeddings(77, p);
        for detach_keys in [true, false] {
            let settings = NtXent { views, groups, temperature, detach_keys };
            let (_, d_z) = run::<f64>(&device, &settings, &z, d, 1.0, z.len() / d);
            for i in (0..z.len()).step_by(7) {
                let h = 1e-5;
                let at = |step: f64| {
                    let mut moved = z.clone();
                    moved[i] += step;
                    match detach_keys {
                        true => loss_between(p, temperature, &moved, &z),
                        false => run(&device, &settings, &moved, d, 1.0, 0).0,
                    }
                };
                let slope = (at(h) - at(-h)) / (2.0 * h);
                // The third derivative times h²/6, and the loss's own rounding over h, are both about 1e-11.
                assert_close("d_z", &[d_z[i]], &[slope], 1e-9, 1.0);
            }
        }
    }
}

#[test]
fn order_of_images_and_views_does_not_matter() {
    let (views, batch, d) = (3, 20, 24);
    let z = embeddings(5, (views, 1, batch, d));
    let (mut images, mut order): (Vec<usize>, Vec<usize>) = ((0..batch).collect(), (0..views).collect());
    images.shuffle(&mut rng(1));
    order.shuffle(&mut rng(2));
    let from: Vec<usize> = order.iter().flat_map(|view| images.iter().map(move |image| view * batch + image)).collect();
    let permuted = |values: &[f64]| from.iter().flat_map(|&row| values[row * d..(row + 1) * d].to_vec()).collect::<Vec<f64>>();
    let device = Device::host().unwrap();
    for detach_keys in [true, false] {
        let settings = NtXent { views, groups: 1, temperature: 0.5, detach_keys };
        let (loss, d_z) = run(&device, &settings, &z, d, 1.0, views * batch);
        let (permuted_loss, permuted_d_z) = run(&device, &settings, &permuted(&z), d, 1.0, views * batch);
        // Sums of 60 terms in another order.
        let tolerance = 60.0 * rounding::<f64>();
        assert_close("loss", &[permuted_loss], &[loss], tolerance, 1.0);
        assert_close("d_z", &permuted_d_z, &permuted(&d_z), tolerance, 1.0);
    }
}

#[test]
fn a_zero_row_gives_finite_numbers() {
    let (views, batch) = (2, 6);
    for_each_device(|device| {
        for (d, detach_keys) in [(16, true), (16, false), (300, true), (300, false)] {
            let mut z = stored::<f32>(&embeddings(9, (views, 1, batch, d)));
            z[2 * d..3 * d].fill(0.0);
            let settings = NtXent { views, groups: 1, temperature: 0.5, detach_keys };
            let (loss, d_z) = run(device, &settings, &z, d, 1.0, views * batch);
            assert!(loss.is_finite() && d_z.iter().all(|g| g.is_finite()));
        }
    });
}

#[test]
fn unusable_settings_are_refused() {
    let device = Device::host().unwrap();
    let good = NtXent { views: 2, groups: 1, temperature: 0.5, detach_keys: true };
    for (settings, d, reason) in [
        (NtXent { views: 1, ..good }, 8, "1 views cannot be contrasted"),
        (NtXent { groups: 5, ..good }, 8, "24 rows cannot be cut into 5 groups"),
        (NtXent { temperature: 0.01, ..good }, 8, "must be at least 0.02"),
        (NtXent { temperature: f64::NAN, ..good }, 8, "must be at least 0.02"),
        (good, 131_073, "between 1 and 131072"),
    ] {
        let z = Tensor::<f32>::zeros(&device, [24, d]).unwrap();
        let (workspace, loss) = (NtXentWorkspace::new(&device, 24).unwrap(), Tensor::zeros(&device, [1]).unwrap());
        let message = ops::nt_xent(&settings, &z, 1.0, None, 0, &workspace, &loss).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
}

/// The recorded reference: outputs of a trained projector, with loss and gradient from autograd.
#[test]
fn loss_and_gradient_equal_the_recorded_reference() {
    let bytes = golden::committed("resnet18_w8_b4.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let read = |key: &str| golden::values::<f32>(&file, key);
    for views in [2, 3] {
        let [z, loss, grad_z] = ["z", "loss", "grad_z"].map(|part| read(&format!("nt/{views}view/{part}")));
        let settings = NtXent { views, groups: 1, temperature: 0.5, detach_keys: true };
        for_each_device(|device| {
            let (found_loss, d_z) = run(device, &settings, &z, 128, 1.0, z.len() / 128);
            // The recording is in f32 as well: two computations that differ by the order of their sums.
            assert_close("loss", &[found_loss.into()], &[loss[0].into()], 2e-6, 0.0);
            let difference = relative_l2(&widened(&d_z), &widened(&grad_z));
            assert!(difference < 1e-5, "{views} views: the gradient differs by {difference:e}");
        });
    }
}
