//! Whole recipes through the CUDA device give the bits of the host, which runs the same kernels on another grid and without graphs.

use crate::common::devices::TestDevice;
use crate::{devices, fake_cuda, libraries};
use half::f16;
use rocl::Device;
use rocl::data::{Dataset, Split, textures};
use rocl::device::cudnn::{EngineSet, MOST_WORKSPACE};
use rocl::device::record::record;
use rocl::device::{CudaOptions, HostOptions, Needs};
use rocl::element::Element;
use rocl::ops::LossScaleState;
use rocl::recipe::demo::{METHODS, measure, with_method};
use rocl::recipe::evaluate::{Accuracy, evaluate};
use rocl::recipe::head::{HeadJob, HeadKind};
use rocl::recipe::linear_eval::{Fit, fit_head};
use rocl::recipe::pretrain::Pretraining;
use rocl::recipe::settings::{Method, Optimizer, View};
use rocl::recipe::trained::Encoder;
use rocl::recipe::training::{CHECKPOINT, RunOptions, Training};
use rocl::recipe::{Recipe, rehearsal};
use rocl::run::checkpoint::{Checkpoint, Kind};
use std::path::Path;

pub(crate) const BATCH: usize = 4;

pub(crate) fn data(split: Split, images: usize) -> Dataset {
    textures::render(textures::SEED, split, images)
}

/// The smallest network that has all parts of a large one.
pub(crate) fn toy() -> Recipe {
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.network.width = 2;
    recipe.network.projection_hidden = Some(8);
    recipe.network.projection = 4;
    recipe.train.batch_size = BATCH as u32;
    recipe.train.epochs = 2;
    recipe.attack.steps = 2;
    recipe.linear_eval.batch_size = BATCH as u32;
    recipe.linear_eval.epochs = 2;
    recipe.linear_eval.milestones = vec![1];
    recipe.evaluate.batch_size = BATCH as u32;
    recipe.evaluate.steps = 2;
    recipe.check().unwrap();
    recipe
}

/// The host, with convolutions by the kernels that the CUDA device runs here: its own sum in another order.
pub(crate) fn host() -> Device {
    Device::host_with(HostOptions { direct_convolution: true, ..HostOptions::default() }).unwrap()
}

/// Trains to the end of the recipe; the checkpoint, which holds all state and all losses.
fn train<T: Element>(device: &Device, recipe: &Recipe, folder: &Path) -> Vec<u8> {
    // Four steps an epoch: two eager, one captured and replayed, then replayed only; a second epoch on the same graph.
    let mut training = Training::<T>::new(device, recipe, &data(Split::Train, 4 * BATCH)).unwrap();
    training.run(&RunOptions { out: folder.to_owned(), label: "test".to_owned(), quiet: true }).unwrap();
    std::fs::read(folder.join(CHECKPOINT)).unwrap()
}

/// On the driver here, the checkpoint is the host's to the bit. A GPU, which adds up in another order, is held to its own bits: of a second run.
fn both_agree(recipe: &Recipe) {
    let trained = |device: Device| {
        let folder = tempfile::tempdir().unwrap();
        train::<f32>(&device, recipe, folder.path())
    };
    for device in devices::with_driver() {
        let other = if device == TestDevice::Simulated { host() } else { device.open() };
        assert!(trained(device.open()) == trained(other), "another checkpoint than on the host, or in another run");
    }
}

/// The losses of the first step, on the same weights and views. A GPU's libraries add up in another order, which turns the sign of gradients that
/// are 0 up to rounding, and so moves a few pixels by 2/255: losses differ by far less than a thousandth.
#[test]
fn the_first_step_is_that_of_the_host() {
    let first = |device: &Device| {
        let mut training = Training::<f32>::new(device, &toy(), &data(Split::Train, BATCH)).unwrap();
        training.advance().unwrap();
        training.pretraining().noted(1).unwrap().to_vec().unwrap()
    };
    let expected = first(&Device::host().unwrap());
    for device in devices::with_driver().map(TestDevice::open) {
        for (e, f) in expected.iter().zip(first(&device)) {
            assert!((e - f).abs() <= 1e-3 * e.abs(), "{device:?}: {f} instead of {e}");
        }
    }
}

/// What fp32 promises.
#[test]
fn another_run_and_one_without_graphs_give_the_same_bits() {
    for device in devices::with_driver() {
        let [first, again, eager] = [device.open(), device.open(), device.open_eager()].map(|device| {
            let folder = tempfile::tempdir().unwrap();
            train::<f32>(&device, &toy(), folder.path())
        });
        assert!(first == again, "{device:?}: a second run gives another checkpoint");
        assert!(first == eager, "{device:?}: replayed steps give another checkpoint than eager launches");
    }
}

#[test]
fn rocl_trains_to_the_bits_of_the_host() {
    both_agree(&toy());
}

#[test]
fn every_way_to_train_gives_the_bits_of_the_host() {
    let mut lars = toy();
    lars.optimizer = Optimizer::Lars { learning_rate: 1.0, momentum: 0.9, weight_decay: 1e-6, trust: 1e-3 };
    lars.loss.regularize_to = View::Original;
    lars.attack.attack_to = View::Original;
    lars.attack.reuse_target = false;
    lars.attack.fold_batch_norm = false;
    lars.loss.detach_keys = !lars.loss.detach_keys;
    both_agree(&lars);
    let mut simclr = toy();
    simclr.train.method = Method::Simclr;
    both_agree(&simclr);
}

#[test]
fn training_goes_over_to_a_graph() {
    if !devices::can_simulate() {
        return;
    }
    let mut training = Training::<f32>::new(&fake_cuda::device(), &toy(), &data(Split::Train, 4 * BATCH)).unwrap();
    fake_cuda::set("cuGraphLaunch=1");
    let outcomes: Vec<_> = (0..3).map(|_| training.advance()).collect();
    fake_cuda::set("");
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "{outcomes:?}");
    let message = outcomes[2].as_ref().unwrap_err().to_string();
    assert!(message.contains("failed while replaying a step"), "{message}");
}

/// What a job is announced to need is what is allocated for it, to the byte.
pub(crate) fn allocates(device: &Device, announced: &Needs, job: impl FnOnce()) {
    let most = fake_cuda::most_allocated(|| {
        device.reserve(announced).unwrap();
        job();
    });
    assert_eq!((most, device.memory_use().1), (announced.bytes(), announced.bytes()), "{device:?}: {announced:?}");
}

/// Of a run of some steps, the last of which come from a graph; into `folder`.
fn training_allocates_what_was_announced<T: Element>(recipe: &Recipe, device: &Device, folder: &Path) {
    let images = data(Split::Train, 4 * BATCH);
    allocates(device, &rehearsal::pretraining::<T>(device, recipe, &images).unwrap(), || {
        drop(train::<T>(device, recipe, folder))
    });
}

/// And of what follows it, each on a device of its own.
fn jobs_allocate_what_was_announced<T: Element>(recipe: &Recipe, open: impl Fn() -> Device) {
    let (train, test) = (data(Split::Train, 4 * BATCH + 1), data(Split::Test, 2 * BATCH + 1));
    let folder = tempfile::tempdir().unwrap();
    training_allocates_what_was_announced::<T>(recipe, &open(), folder.path());
    let checkpoint = Checkpoint::load(&folder.path().join(CHECKPOINT), Kind::Pretrain).unwrap();

    let device = open();
    let job = HeadJob { device: &device, recipe, encoder: &checkpoint, data: &train, kind: HeadKind::Plain, seed: 0 };
    allocates(&device, &rehearsal::head::<T>(&job).unwrap(), || drop(job.run::<T>(|_, _| Ok(())).unwrap()));

    let device = open();
    let settings = &recipe.evaluate;
    let needs = rehearsal::evaluation::<T>(&device, std::slice::from_ref(recipe), 0, test.classes.len(), |dry, models| {
        evaluate(dry, settings, models[0].encoder.inference(), &models[0].head, &test, 0, |_| Ok(())).map(drop)
    });
    allocates(&device, &needs.unwrap(), || {
        let encoder = Encoder::<T>::load(&device, recipe, &checkpoint).unwrap();
        let head = encoder.new_head(train.classes.len(), BATCH, 0).unwrap();
        evaluate(&device, &recipe.evaluate, encoder.inference(), &head, &test, 0, |_| Ok(())).unwrap();
    });

    let device = open();
    allocates(&device, &rehearsal::demo::<T>(&device, recipe, &train, &test).unwrap(), || {
        for method in METHODS {
            measure::<T>(&device, &with_method(recipe, method), &train, &test, &folder.path().join("demo"), true).unwrap();
        }
    });
}

#[test]
fn what_is_announced_is_allocated() {
    if devices::can_simulate() {
        jobs_allocate_what_was_announced::<f32>(&toy(), fake_cuda::device);
        jobs_allocate_what_was_announced::<f16>(&toy(), fake_cuda::device);
    }
}

#[test]
fn what_libraries_need_is_announced() {
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    let needs = rehearsal::pretraining::<f32>(&device, &wide_toy(), &data(Split::Train, BATCH)).unwrap();
    assert!(needs.scratch["workspace"] > 0 && needs.scratch["turned filter"] > 0, "{needs:?}");
    drop(device);
    let (mut recipe, folder) = (wide_toy(), tempfile::tempdir().unwrap());
    // Interpreting plans takes its time.
    (recipe.train.epochs, recipe.attack.steps) = (1, 1);
    let open = || libraries::device(CudaOptions::default()).unwrap();
    training_allocates_what_was_announced::<f32>(&recipe, &open(), &folder.path().join("f32"));
    training_allocates_what_was_announced::<f16>(&recipe, &open(), &folder.path().join("f16"));
}

/// Engines that are to be measured may have any workspace up to the limit, and so has the run.
#[test]
fn measuring_engines_is_planned_for() {
    let Some(device) = libraries::device(CudaOptions { tf32: true, ..CudaOptions::default() }) else { return };
    let needs = || rehearsal::pretraining::<f32>(&device, &wide_toy(), &data(Split::Train, BATCH)).unwrap();
    let before = needs();
    device.tune_engines::<f32>(EngineSet::Prebuilt).unwrap();
    let tuned = needs();
    assert!(before.scratch["workspace"] < MOST_WORKSPACE);
    assert_eq!(tuned.scratch["workspace"], MOST_WORKSPACE);
    assert!(before.scratch.keys().all(|purpose| tuned.scratch[purpose] >= before.scratch[purpose]), "{tuned:?} after {before:?}");
    assert_eq!(tuned.tensors, before.tensors);
}

/// The loss and the hits of each step are noted on the device.
#[test]
fn a_head_is_waited_for_once_an_epoch() {
    if !devices::can_simulate() {
        return;
    }
    let (device, mut recipe, data) = (fake_cuda::device(), toy(), data(Split::Train, 4 * BATCH));
    recipe.linear_eval.epochs = 3;
    let encoder = Encoder::<f32>::untrained(&device, &recipe).unwrap();
    let features = encoder.features(&data, |_| Ok(())).unwrap();
    let head = encoder.new_head(data.classes.len(), BATCH, 0).unwrap();
    let reads = fake_cuda::reads(|| {
        fit_head(&device, &recipe.linear_eval, &features, &data.labels, &head, 0, |_, _| Ok(())).unwrap();
    });
    assert_eq!(reads, 3);
}

/// A head on the features of an untrained encoder, and both under attack.
fn judge(device: &Device) -> (Vec<f32>, Fit, Accuracy) {
    let (recipe, train, test) = (toy(), data(Split::Train, 4 * BATCH + 1), data(Split::Test, 2 * BATCH + 1));
    let training = Training::<f32>::new(device, &recipe, &train).unwrap();
    let encoder = Encoder::new(device, &recipe, training.pretraining().network()).unwrap();
    let features = encoder.features(&train, |_| Ok(())).unwrap();
    let head = encoder.new_head(train.classes.len(), BATCH, 0).unwrap();
    let fit = fit_head(device, &recipe.linear_eval, &features, &train.labels, &head, 0, |_, _| Ok(())).unwrap();
    let accuracy = evaluate(device, &recipe.evaluate, encoder.inference(), &head, &test, 0, |_| Ok(())).unwrap();
    (head.parameters().values().to_vec().unwrap(), fit, accuracy)
}

#[test]
fn heads_and_attacks_give_the_bits_of_the_host() {
    for device in devices::with_driver() {
        let other = if device == TestDevice::Simulated { host() } else { device.open() };
        assert_eq!(judge(&device.open()), judge(&other));
    }
}

/// The toy on as many channels as the libraries' engines have a choice for.
fn wide_toy() -> Recipe {
    let mut recipe = toy();
    recipe.network.width = 4;
    recipe
}

/// The losses of four steps on the same data, of which the last two come from a graph where the device has graphs.
fn losses(device: &Device, recipe: &Recipe) -> Vec<f32> {
    let mut training = Training::<f32>::new(device, recipe, &data(Split::Train, 4 * BATCH)).unwrap();
    (0..4).for_each(|_| training.advance().unwrap());
    training.pretraining().noted(4).unwrap().to_vec().unwrap()
}

/// Convolutions and products in the libraries add up in another order than the host.
#[test]
fn training_through_the_libraries_follows_the_host() {
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    let host = Device::host().unwrap();
    let differences = |recipe: &Recipe| -> Vec<f32> {
        let (expected, found) = (losses(&host, recipe), losses(&device, recipe));
        expected.iter().zip(found).map(|(a, b)| (a - b).abs() / a.abs().max(1e-3)).collect()
    };
    // RoCL's first step: the same weights, hence the same pixels but for a few whose gradient is 0 up to rounding. Later steps start from weights
    // that the first signs have moved apart. A rounding is 6e-8, and what it grows to through eighteen layers was seen at 1e-7.
    let rocl = differences(&wide_toy());
    assert!(rocl[..3].iter().all(|d| *d < 1e-5), "{rocl:?}");
    let mut recipe = wide_toy();
    recipe.train.method = Method::Simclr;
    let simclr = differences(&recipe);
    assert!(simclr.iter().all(|d| *d < 1e-3), "{simclr:?}");
}

/// From 16-bit operands a library writes dw in 16 bits, where a large loss scale overflows although f32 would hold the gradient: the step is skipped
/// as a whole, the scale halves until dw fits, and then the step is the host's, which accumulates in f32.
#[test]
fn a_gradient_that_overflows_in_a_library_skips_the_step() {
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    // Neither signs of gradients in an attack nor Adam's, which would make much of a little rounding.
    let mut recipe = wide_toy();
    recipe.train.method = Method::Simclr;
    recipe.optimizer = Optimizer::Sgd { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.0 };
    let runs = [&device, &Device::host().unwrap()].map(|device| {
        let run = Pretraining::<f16>::new(device, &recipe, &data(Split::Train, BATCH)).unwrap();
        run.begin_epoch(0, 0).unwrap();
        run
    });
    let [run, on_host] = &runs;
    let parameters = |run: &Pretraining<f16>| run.network().parameters().values().to_vec().unwrap();
    let scale_of = |run: &Pretraining<f16>| run.network().parameters().loss_scale().unwrap().state().unwrap();
    let begins_at = |run: &Pretraining<f16>, scale: f64| {
        let state = LossScaleState { scale, good_steps: 0, skipped: 0, skipped_in_epoch: 0 };
        run.network().parameters().loss_scale().unwrap().restore(state).unwrap();
        run.begin_epoch(0, 0).unwrap();
        run.step().unwrap();
    };
    let initial = parameters(run);
    let mut scale = f64::from(1u32 << 24);
    loop {
        begins_at(run, scale);
        if scale_of(run).skipped == 0 {
            break;
        }
        assert_eq!(parameters(run), initial, "scale {scale}");
        assert_eq!(scale_of(run).scale, scale / 2.0);
        scale /= 2.0;
    }
    assert!((2.0..16_777_216.0).contains(&scale), "it overflows at first, and not in the end: {scale}");
    begins_at(on_host, scale);
    assert_eq!(scale_of(on_host).skipped, 0);
    // The update as a whole. In 16 bits some rectifiers open on one side only: plain PyTorch is at 4 to 22 %, see tests/golden.
    let update = |run: &Pretraining<f16>| -> Vec<f64> {
        parameters(run).iter().zip(&initial).map(|(after, before)| f64::from(after - before)).collect()
    };
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let (found, expected) = (update(run), update(on_host));
    let difference: Vec<f64> = found.iter().zip(&expected).map(|(f, e)| f - e).collect();
    let error = norm(&difference) / norm(&expected);
    println!("relative error of the update {error}, at scale {scale}");
    assert!(error < 0.1, "{error}");
}

#[test]
fn a_graph_of_library_calls_gives_the_bits_of_eager_ones() {
    let Some(captured) = libraries::device(CudaOptions::default()) else { return };
    let Some(eager) = libraries::device(CudaOptions { synchronous: true, ..CudaOptions::default() }) else { return };
    assert_eq!(losses(&captured, &wide_toy()), losses(&eager, &wide_toy()));
}

/// The attack's filters stay the same through its steps: they are turned when they are folded, and never again.
#[test]
fn filters_are_turned_once_an_attack() {
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    let (recipe, data) = (wide_toy(), data(Split::Train, BATCH));
    let training = Training::<f32>::new(&device, &recipe, &data).unwrap();
    let pretraining = training.pretraining();
    pretraining.begin_epoch(0, 0).unwrap();
    pretraining.draw_views().unwrap();
    let calls = record(|| pretraining.perturb()).unwrap();
    // Of eight blocks, five begin with a convolution of stride 1, and the attack has two steps.
    assert_eq!(calls.iter().filter(|call| call.name == "turn_filter").count(), 5);
    let backward: Vec<&str> = calls.iter().filter(|call| call.name == "conv_dgrad").map(|call| call.shape.as_str()).collect();
    assert_eq!(backward.iter().filter(|shape| shape.ends_with("+ residual")).count(), 2 * 5, "{backward:?}");
}

/// Turned filters that are kept are part of what a run needs.
#[test]
fn turned_filters_are_planned_for() {
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    let planned = |device: &Device| {
        Training::<f32>::new(device, &wide_toy(), &data(Split::Train, BATCH)).unwrap();
        device.memory_use().1
    };
    let turned = planned(&device) - planned(&fake_cuda::device());
    // The first filters of those five blocks, in f32.
    assert_eq!(turned, 4 * 9 * (2 * 4 * 4 + 8 * 8 + 16 * 16 + 32 * 32));
    let needs = rehearsal::pretraining::<f32>(&device, &wide_toy(), &data(Split::Train, BATCH)).unwrap();
    assert_eq!(needs.tensors, device.memory_use().1);
}
