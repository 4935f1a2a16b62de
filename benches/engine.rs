//! `cargo bench`: the engine's operations under criterion, for before and after a change. `rocl bench` has the tables and the floors.
//!
//! Each operation is the largest of its name in a recorded step of RoCL (ResNet-18 of width 16, LARS) on the CPU, at three batch sizes; criterion's report
//! plots time against size. At the end come whole steps.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rocl::Device;
use rocl::bench::subject::{pretraining, recorded};
use rocl::recipe::Recipe;
use rocl::recipe::settings::Overrides;
use std::time::Duration;

const BATCHES: [u32; 3] = [16, 32, 64];

const OPERATIONS: [&str; 12] = [
    "augment_views",
    "pgd_linf_step",
    "nt_xent",
    "bn_statistics_partial",
    "bn_apply",
    "bn_backward_partial",
    "bn_backward_apply",
    "conv_fprop",
    "conv_dgrad",
    "conv_wgrad",
    "lars_norms",
    "lars_update",
];

fn recipe(batch_size: u32, width: u32) -> Recipe {
    let sizes = Overrides { batch_size: Some(batch_size), width: Some(width), ..Overrides::default() };
    Recipe::load("paper").and_then(|recipe| recipe.with(&sizes)).expect("a preset with other sizes")
}

fn operations(criterion: &mut Criterion) {
    let device = Device::host().expect("a CPU");
    for batch in BATCHES {
        let run = pretraining::<f32>(&device, &recipe(batch, 16)).expect("room for a small run");
        let calls = recorded(&run).expect("a step");
        for name in OPERATIONS {
            let call = calls.iter().filter(|call| call.name == name).max_by_key(|call| (call.flops, call.bytes()));
            let call = call.unwrap_or_else(|| panic!("a step has no {name}"));
            let mut group = criterion.benchmark_group(name);
            group.throughput(Throughput::Bytes(call.bytes()));
            group
                .bench_function(BenchmarkId::from_parameter(batch), |bencher| bencher.iter(|| call.repeat().expect("as before")));
        }
    }
}

fn steps(criterion: &mut Criterion) {
    let device = Device::host().expect("a CPU");
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for batch in BATCHES {
        let run = pretraining::<f32>(&device, &recipe(batch, 8)).expect("room for a small run");
        group.throughput(Throughput::Elements(batch.into()));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter(|| run.begin_epoch(0, 0).and_then(|()| run.step()).expect("as before"));
        });
    }
}

criterion_group! {
    name = engine;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = operations, steps
}
criterion_main!(engine);
