//! Benchmarks on a GPU time what training runs: graphs.

use crate::fake_cuda;
use rocl::bench::attack::{ladder, precisions, variations};
use rocl::bench::calls::{Filter, alike};
use rocl::bench::ceilings::Ceilings;
use rocl::bench::measure::Repetitions;
use rocl::bench::step::StepCost;
use rocl::bench::subject::{planned, pretraining, pretraining_with_unfused_pgd};
use rocl::device::record::record;
use rocl::recipe::Recipe;
use rocl::recipe::settings::Overrides;

const ONCE: Repetitions = Repetitions { warmup: 0, samples: 1 };

fn recipe() -> Recipe {
    let small = Overrides { width: Some(2), batch_size: Some(2), attack_steps: Some(1), ..Overrides::default() };
    Recipe::load("demo").unwrap().with(&small).unwrap()
}

#[test]
fn a_step_is_timed_as_a_graph() {
    let device = fake_cuda::device();
    let run = pretraining::<f32>(&device, &recipe()).unwrap();
    let ceilings = Ceilings { bytes_per_second: 1e12, flops_per_second: 1e14 };
    let cost = StepCost::measure(&device, &run, &ceilings, ONCE).unwrap();
    assert!(cost.graph && cost.step.median > 0.0 && cost.losses.main.is_finite());
}

#[test]
fn the_ladder_ends_with_a_graph() {
    let device = fake_cuda::device();
    let rungs = ladder::<f32>(&device, &device, &recipe(), ONCE).unwrap();
    let names: Vec<&str> = rungs.iter().map(|rung| rung.cost.name.as_str()).collect();
    assert_eq!(names[3..], ["+ epilogues fused", "+ sign and projection fused", "+ replayed as a graph"]);
    let host = rocl::Device::host().unwrap();
    assert_eq!(ladder::<f32>(&host, &host, &recipe(), ONCE).unwrap().len(), 5, "a CPU has no graphs");
    // What times an attack by its settings takes the last rung as well: none fails in a graph, in any precision.
    let precisions = precisions(&device).unwrap();
    let varied = variations::<f32>(&device, &recipe(), &precisions, ONCE).unwrap();
    let names: Vec<&str> = varied.iter().map(|variation| variation.cost.name.as_str()).collect();
    for name in ["20 steps", "twice the batch", "loss cosine", "a random start", "precision fp16", "precision tf32"] {
        assert!(names.contains(&name) || name == "a random start" && names.contains(&"no random start"), "{names:?}");
    }
}

/// A profiler sees the kernel that was asked for and no other: the driver counts what it runs.
#[test]
fn one_kernel_is_launched_alone() {
    let device = fake_cuda::device();
    let before = fake_cuda::kernels_run();
    let (_run, calls) = planned::<f32>(&device, &recipe()).unwrap();
    device.synchronize().unwrap();
    assert_eq!(fake_cuda::kernels_run(), before, "a plan launches nothing");
    let kinds = alike(calls, &Filter { only: Some("bn_apply".to_owned()), shape: None }).unwrap();
    let times = kinds.len();
    kinds.iter().for_each(|kind| kind.call.repeat().unwrap());
    device.synchronize().unwrap();
    assert!(times > 0 && fake_cuda::kernels_run() == before + times);
}

/// The lower rungs make the same adversary, in four launches a step instead of one.
#[test]
fn an_unfused_step_makes_the_same_adversary() {
    let device = rocl::Device::host().unwrap();
    let attacked = |unfused: bool| {
        let make = if unfused { pretraining_with_unfused_pgd::<f32> } else { pretraining::<f32> };
        let run = make(&device, &recipe()).unwrap();
        run.draw_views().unwrap();
        let calls = record(|| run.perturb()).unwrap();
        (run.images().to_vec().unwrap(), calls.iter().filter(|call| call.name.starts_with("pgd_")).count())
    };
    let ((fused, one), (unfused, four)) = (attacked(false), attacked(true));
    assert!(fused == unfused);
    assert_eq!((one, four), (1, 4));
}
