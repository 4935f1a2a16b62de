//! `cargo bench --features ladder --bench ladder`: every rung of `kernels/ladder/`, on the CPU, in f32.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::device::record::record;
use rocl::ops::ladder::{BnBackwardRung, NtXentRung, NtXentScratch, PgdRung};
use rocl::ops::{BnParameters, BnSaved, NtXent, NtXentWorkspace, bn_statistics};
use rocl::{Device, Result, Tensor};
use std::fmt::Debug;
use std::time::Duration;

/// Pixels of a batch of 256 images.
const PIXELS: usize = 256 * 32 * 32 * 3;
/// Rows and channels of the first stage's activations: 32 images, width 64.
const ACTIVATION: [usize; 2] = [32 * 32 * 32, 64];
/// Two views of 256 images, and the projector's dimensions.
const EMBEDDINGS: [usize; 2] = [2 * 256, 128];

fn noise<const N: usize>(device: &Device, shape: [usize; N], seed: u64) -> Tensor<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_slice(device, shape, &values).expect("room")
}

/// Times every rung; its throughput counts the bytes that its own launches cannot do without.
fn time<Rung: Copy + Debug>(criterion: &mut Criterion, name: &str, rungs: &[Rung], run: impl Fn(Rung) -> Result<()>) {
    let mut group = criterion.benchmark_group(name);
    for &rung in rungs {
        let bytes = record(|| run(rung)).expect("a rung").iter().map(|call| call.bytes()).sum();
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(BenchmarkId::from_parameter(format!("{rung:?}").to_lowercase()), |bencher| {
            bencher.iter(|| run(rung).expect("as before"));
        });
    }
}

fn pgd(criterion: &mut Criterion) {
    let device = Device::host().expect("a CPU");
    let [x, gradient, clean, scratch] = [1, 2, 3, 4].map(|seed| noise(&device, [PIXELS], seed));
    time(criterion, "pgd", &PgdRung::ALL, |rung| rung.step(&x, &gradient, &clean, 0.007, 0.0314, &scratch));
}

fn bn_backward(criterion: &mut Criterion) {
    let device = Device::host().expect("a CPU");
    let [rows, channels] = ACTIVATION;
    let [x, dy, mask, dx, g, xhat] = [1, 2, 3, 4, 5, 6].map(|seed| noise(&device, ACTIVATION, seed));
    let [gamma, beta, d_gamma, d_beta] = [7, 8, 9, 10].map(|seed| noise(&device, [channels], seed));
    let saved = BnSaved::new(&device, rows, channels).expect("room");
    bn_statistics(&x, None, 0.1, 1e-5, &saved).expect("statistics");
    let parameters = BnParameters { gamma: &gamma, beta: &beta };
    time(criterion, "bn_backward", &BnBackwardRung::ALL, |rung| {
        rung.run(&dy, &x, Some(&mask), parameters, &saved, &d_gamma, &d_beta, &dx, None, [&g, &xhat])
    });
}

fn nt_xent(criterion: &mut Criterion) {
    let device = Device::host().expect("a CPU");
    let [rows, d] = EMBEDDINGS;
    let settings = NtXent { views: 2, groups: 1, temperature: 0.5, detach_keys: true };
    let (z, d_z, loss) = (noise(&device, EMBEDDINGS, 1), noise(&device, EMBEDDINGS, 2), noise(&device, [1], 3));
    let workspace = NtXentWorkspace::new(&device, rows).expect("room");
    let scratch = NtXentScratch::new(&device, rows, d).expect("room");
    time(criterion, "nt_xent", &NtXentRung::ALL, |rung| {
        rung.run(&settings, &z, 1.0, Some(&d_z), rows, &workspace, &scratch, &loss)
    });
}

criterion_group! {
    name = ladder;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = pgd, bn_backward, nt_xent
}
criterion_main!(ladder);
