//! Engines chosen by measurement, recorded with a run, replayed when it is resumed, and kept for the next.

use crate::{fake_cuda, libraries};
use rocl::data::{Dataset, Split, textures};
use rocl::device::cudnn::{EngineChoice, EngineSet, Operation, Plan, Record};
use rocl::device::{CudaOptions, HostOptions};
use rocl::recipe::Recipe;
use rocl::recipe::engines::{Tuning, record};
use rocl::recipe::settings::Method;
use rocl::recipe::training::{CHECKPOINT, Training};
use rocl::run::checkpoint::{Checkpoint, Kind};
use rocl::{Device, Tensor, ops};
use std::path::Path;

const TF32: CudaOptions = CudaOptions { ordinal: 0, tf32: true, direct_convolution: false, synchronous: false, simulated: true };

fn data() -> Dataset {
    textures::render(textures::SEED, Split::Train, 8)
}

/// The cheapest training there is.
fn recipe() -> Recipe {
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.network.width = 4;
    recipe.train.method = Method::Simclr;
    recipe.train.batch_size = 2;
    recipe.train.epochs = 1;
    recipe.check().unwrap();
    recipe
}

fn train(device: &Device, steps: usize) -> Training<f32> {
    let mut training = Training::new(device, &recipe(), &data()).unwrap();
    (0..steps).for_each(|_| training.advance().unwrap());
    training
}

/// Engines in the order of their problems.
fn choices(device: &Device) -> Vec<EngineChoice> {
    device.engines().unwrap().plans.into_iter().map(|plan| plan.choice).collect()
}

fn untuned() -> Option<Vec<EngineChoice>> {
    let device = libraries::device(TF32)?;
    train(&device, 1);
    Some(choices(&device))
}

/// A card on which the engine that heuristics prefer for each problem is slow.
fn contrary(preferred: &[EngineChoice]) {
    let preferred = preferred.to_vec();
    libraries::set_cost(move |plan: &Plan| if preferred.contains(plan.choice()) { 9 } else { 0 });
}

#[test]
fn the_fastest_engine_is_taken_and_kept_for_the_next_run() {
    let Some(preferred) = untuned() else { return };
    let folder = tempfile::tempdir().unwrap();
    contrary(&preferred);
    let device = libraries::device(TF32).unwrap();
    let tuning = Tuning::start_in::<f32>(&device, EngineSet::Prebuilt, Some(folder.path())).unwrap();
    let training = train(&device, 4);
    let found = choices(&device);
    assert!(found.iter().filter(|choice| !preferred.contains(choice)).count() > found.len() / 2, "{found:?}");
    assert_eq!(tuning.keep(&device), None);
    drop(training);

    // The next run measures nothing: on a card with no preference it takes what the file says.
    libraries::set_cost(|_| 0);
    let next = libraries::device(TF32).unwrap();
    fake_cuda::set("cuEventElapsedTime=1");
    Tuning::start_in::<f32>(&next, EngineSet::Prebuilt, Some(folder.path())).unwrap();
    train(&next, 1);
    fake_cuda::set("");
    assert_eq!(choices(&next), found);
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, [next.engines_file(EngineSet::Prebuilt).unwrap().as_str()]);
}

#[test]
fn a_resumed_run_takes_the_engines_it_had() {
    let Some(preferred) = untuned() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CHECKPOINT);
    let save = |training: &Training<f32>| {
        training.save(&path).unwrap();
        Checkpoint::load(&path, Kind::Pretrain).unwrap()
    };
    contrary(&preferred);
    let device = libraries::device(TF32).unwrap();
    device.tune_engines::<f32>(EngineSet::Prebuilt).unwrap();
    let mut training = train(&device, 2);
    let checkpoint = save(&training);
    (0..2).for_each(|_| training.advance().unwrap());
    let expected = save(&training);
    libraries::set_cost(|_| 0);

    let other = libraries::device(TF32).unwrap();
    let mut resumed = Training::<f32>::resume(&other, &recipe(), &data(), &checkpoint).unwrap();
    assert!(resumed.take_remarks().is_empty());
    (0..2).for_each(|_| resumed.advance().unwrap());
    let found = save(&resumed);
    assert_eq!(found.meta.engines, expected.meta.engines);
    assert!(found == expected, "another checkpoint than without an interruption");

    // What it was given is no finding: another run that measures is not to take it for the fastest.
    let cache = tempfile::tempdir().unwrap();
    let measuring = libraries::device(TF32).unwrap();
    let tuning = Tuning::start_in::<f32>(&measuring, EngineSet::Prebuilt, Some(cache.path())).unwrap();
    let mut again = Training::<f32>::resume(&measuring, &recipe(), &data(), &checkpoint).unwrap();
    again.keep(tuning);
    again.advance().unwrap();
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);

    // On another card, or on none, it goes on with others and says so.
    let mut foreign = checkpoint.clone();
    let mut recorded: Record = serde_json::from_str(checkpoint.meta.engines.as_ref().unwrap()).unwrap();
    recorded.card = "NVIDIA T4".to_owned();
    foreign.meta.engines = Some(serde_json::to_string(&recorded).unwrap());
    for (device, checkpoint, part) in [
        (libraries::device(TF32).unwrap(), &foreign, "on an NVIDIA T4, and this is an NVIDIA H200"),
        (
            Device::host_with(HostOptions { tf32: true, ..HostOptions::default() }).unwrap(),
            &checkpoint,
            "computed by cuDNN before",
        ),
    ] {
        let mut resumed = Training::<f32>::resume(&device, &recipe(), &data(), checkpoint).unwrap();
        let remark = resumed.take_remarks().remove(0);
        assert!(remark.contains(part) && remark.ends_with("but for rounding"), "{remark}");
    }
}

/// What follows counts too: a convolution alone takes one thing to do, the kernel for its bias another.
#[test]
fn what_an_engine_leaves_is_measured_with_it() {
    let computes = |cost_of_fusing: u32| {
        let device = libraries::device(TF32)?;
        libraries::set_cost(move |plan| if plan.pattern().computes == Operation::FPROP { 0 } else { cost_of_fusing });
        device.tune_engines::<f32>(EngineSet::Prebuilt).unwrap();
        let zeros = |shape: [usize; 4]| Tensor::<f32>::zeros(&device, shape).unwrap();
        let (x, filter, y) = (zeros([2, 6, 6, 8]), zeros([8, 3, 3, 8]), zeros([2, 6, 6, 8]));
        let bias = Tensor::zeros(&device, [8]).unwrap();
        let epilogue = ops::Epilogue { bias: Some(&bias), residual: None, relu: false };
        ops::conv_fprop(&x, &filter, 1, 1, epilogue, &y).unwrap();
        libraries::set_cost(|_| 0);
        Some(device.engines().unwrap().plans[0].pattern.computes)
    };
    let Some(cheap) = computes(1) else { return };
    assert_eq!(
        cheap,
        Operation::Fprop { bias: true, residual: false, relu: false },
        "of two alike the fused one, which is tried first"
    );
    assert_eq!(computes(2), Some(Operation::FPROP));
}

/// The file is there after the first step, so that a run that is killed has not measured in vain; engines in it that cannot be made are measured.
#[test]
fn what_is_measured_is_kept_at_once() {
    let Some(device) = libraries::device(TF32) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(device.engines_file(EngineSet::Prebuilt).unwrap());
    let run = |device: &Device| {
        let tuning = Tuning::start_in::<f32>(device, EngineSet::Prebuilt, Some(folder.path())).unwrap();
        let mut training = train(device, 0);
        training.keep(tuning);
        training.advance().unwrap();
        training.take_remarks()
    };
    assert!(run(&device).is_empty());
    let read = || serde_json::from_slice::<Record>(&std::fs::read(&file).unwrap()).unwrap();
    let mut kept = read();
    assert_eq!(kept.plans.len(), choices(&device).len());

    kept.plans[0].choice.engine = 9999;
    std::fs::write(&file, serde_json::to_string(&kept).unwrap()).unwrap();
    let remarks = run(&libraries::device(TF32).unwrap());
    assert!(remarks.len() == 1 && remarks[0].contains("engine 9999, which was recorded for"), "{remarks:?}");
    assert!(read().plans.len() == kept.plans.len() && read().plans.iter().all(|plan| plan.choice.engine != 9999));
}

/// An engine that breaks the GPU is named: everything fails after it.
#[test]
fn an_engine_that_breaks_the_gpu_is_named() {
    let Some(device) = libraries::device(TF32) else { return };
    device.tune_engines::<f32>(EngineSet::Prebuilt).unwrap();
    let mut training = train(&device, 0);
    fake_cuda::set("put=1");
    let message = training.advance().unwrap_err().to_string();
    fake_cuda::set("");
    assert!(message.contains("measuring engines broke the GPU with fprop") && message.contains("leave --tune out"), "{message}");
}

/// An engine that fails when it is run is passed over, as long as another does not.
#[test]
fn an_engine_that_fails_is_no_choice() {
    let Some(device) = libraries::device(TF32) else { return };
    fake_cuda::set("cuEventElapsedTime=1");
    device.tune_engines::<f32>(EngineSet::Prebuilt).unwrap();
    train(&device, 1);
    fake_cuda::set("");
    assert_eq!(Some(choices(&device)), untuned(), "where nothing can be measured, heuristics decide");
}

#[test]
fn only_a_gpu_in_another_precision_than_fp32_is_tuned() {
    let host = Device::host().unwrap();
    assert_eq!(record(&host).unwrap(), None);
    assert!(host.tune_engines::<f32>(EngineSet::Prebuilt).unwrap_err().to_string().contains("leave --tune out"));
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    assert!(device.tune_engines::<f32>(EngineSet::Prebuilt).unwrap_err().to_string().contains("fp32 are not tuned"));
    assert!(device.tune_engines::<half::f16>(EngineSet::Prebuilt).is_ok());
}

/// A cache that cannot be read or written is a remark and no failure.
#[test]
fn a_cache_that_cannot_be_used_is_a_remark() {
    let Some(device) = libraries::device(TF32) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let keep = |folder: Option<&Path>| Tuning::start_in::<f32>(&device, EngineSet::Prebuilt, folder).unwrap().keep(&device);
    let remark = keep(Some(&file)).unwrap();
    assert!(remark.contains("measured anew the next time, since") && remark.contains("file"), "{remark}");
    assert!(keep(None).unwrap().contains("XDG_CACHE_HOME"));
    std::fs::write(folder.path().join(device.engines_file(EngineSet::Prebuilt).unwrap()), "{").unwrap();
    assert_eq!(keep(Some(folder.path())), None, "a damaged file is replaced");
}
