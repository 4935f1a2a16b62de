//! Training with labels through the CUDA device: the bits of the host, captured or not, in the memory that was announced, without waiting.

use crate::common::devices::TestDevice;
use crate::recipes::{BATCH, allocates, data, host, toy};
use crate::{devices, fake_cuda};
use half::f16;
use rocl::Device;
use rocl::data::Split;
use rocl::element::Element;
use rocl::recipe::head::{HeadJob, HeadKind};
use rocl::recipe::linear_eval::Fit;
use rocl::recipe::pretrain::Pretraining;
use rocl::recipe::robust_linear_eval::fit_robust_head;
use rocl::recipe::saved::save_network;
use rocl::recipe::settings::{BatchNormMode, Method};
use rocl::recipe::trained::Encoder;
use rocl::recipe::training::{CHECKPOINT, RunOptions, Training};
use rocl::recipe::{Recipe, rehearsal};
use rocl::run::checkpoint::{Checkpoint, Kind, Meta};
use std::path::Path;

/// Every method that trains a classifier, and every way to normalise meanwhile.
fn recipes() -> Vec<Recipe> {
    let mut toy = toy();
    toy.supervised.steps = 2;
    let method = |method| {
        let mut recipe = toy.clone();
        recipe.train.method = method;
        recipe
    };
    let [mut by_batch, mut frozen] = [Method::Trades, Method::AtSs].map(method);
    by_batch.supervised.attack_mode = BatchNormMode::Train;
    frozen.supervised.freeze_bn = true;
    let recipes: Vec<Recipe> =
        [Method::Ce, Method::At, Method::Trades, Method::AtSs].map(method).into_iter().chain([by_batch, frozen]).collect();
    recipes.iter().for_each(|recipe| recipe.check().unwrap());
    recipes
}

/// Trains for two epochs of four steps, of which the first two are eager where the device has graphs; the checkpoint, which holds all state and all losses.
fn train<T: Element>(device: &Device, recipe: &Recipe, folder: &Path) -> Vec<u8> {
    let mut training = Training::<T, _>::supervised(device, recipe, &data(Split::Train, 4 * BATCH), None).unwrap();
    training.run(&RunOptions { out: folder.to_owned(), label: "test".to_owned(), quiet: true }).unwrap();
    std::fs::read(folder.join(CHECKPOINT)).unwrap()
}

fn trained(device: &Device, recipe: &Recipe) -> Vec<u8> {
    train::<f32>(device, recipe, tempfile::tempdir().unwrap().path())
}

/// Replayed steps are eager ones, and on the driver here those of the host.
#[test]
fn classifiers_train_to_the_same_bits_captured_or_not() {
    for recipe in recipes() {
        for device in devices::with_driver() {
            let (method, captured) = (recipe.train.method, trained(&device.open(), &recipe));
            assert!(captured == trained(&device.open_eager(), &recipe), "{method:?}: eager launches give another checkpoint");
            if device == TestDevice::Simulated {
                assert!(captured == trained(&host(), &recipe), "{method:?}: the host gives another checkpoint");
            }
        }
    }
}

/// Supervised contrast, whose labels are read in every replay.
#[test]
fn supervised_contrast_trains_to_the_same_bits_captured_or_not() {
    let mut recipe = toy();
    recipe.train.method = Method::Scl;
    let steps = |device: &Device| {
        let mut training = Training::<f32>::new(device, &recipe, &data(Split::Train, 5 * BATCH)).unwrap();
        (0..5).for_each(|_| training.advance().unwrap());
        training.pretraining().network().parameters().values().to_vec().unwrap()
    };
    for device in devices::with_driver() {
        let captured = steps(&device.open());
        assert!(captured == steps(&device.open_eager()), "{device:?}: eager launches give other parameters");
        if device == TestDevice::Simulated {
            assert!(captured == steps(&host()), "the host gives other parameters");
        }
    }
}

/// A head fitted on adversarial images of an untrained encoder.
fn robust_head(device: &Device) -> (Vec<f32>, Fit) {
    let (mut recipe, train) = (toy(), data(Split::Train, 4 * BATCH + 1));
    recipe.supervised.steps = 2;
    let encoder = Encoder::<f32>::untrained(device, &recipe).unwrap();
    let head = encoder.new_head(train.classes.len(), BATCH, 0).unwrap();
    let fit = fit_robust_head(device, &recipe, &encoder, &train, &head, 0, |_, _| Ok(())).unwrap();
    (head.parameters().values().to_vec().unwrap(), fit)
}

#[test]
fn robust_heads_have_the_same_bits_captured_or_not() {
    for device in devices::with_driver() {
        let captured = robust_head(&device.open());
        assert_eq!(captured, robust_head(&device.open_eager()));
        if device == TestDevice::Simulated {
            assert_eq!(captured, robust_head(&host()));
        }
    }
}

/// What varies from step to step is on the device: neither a step nor its attack reads anything back.
#[test]
fn steps_are_not_waited_for() {
    if !devices::can_simulate() {
        return;
    }
    for recipe in recipes() {
        let device = fake_cuda::device();
        let mut training = Training::<f32, _>::supervised(&device, &recipe, &data(Split::Train, 4 * BATCH), None).unwrap();
        let reads = fake_cuda::reads(|| (0..4).for_each(|_| training.advance().unwrap()));
        assert_eq!(reads, 0, "{:?}", recipe.train.method);
    }
    let device = fake_cuda::device();
    let reads = fake_cuda::reads(|| drop(robust_head(&device)));
    // The mean of each of two epochs, and the parameters at the end.
    assert_eq!(reads, 2 + 1);
}

/// An encoder's file.
fn pretrained<T: Element>(recipe: &Recipe) -> Checkpoint {
    let run = Pretraining::<T>::new(&Device::host().unwrap(), &toy(), &data(Split::Train, BATCH)).unwrap();
    let mut checkpoint = Checkpoint::new(Meta::new(Kind::Pretrain, recipe.to_json().unwrap(), 0, "textures"));
    save_network(&mut checkpoint, run.network(), 0).unwrap();
    checkpoint
}

fn jobs_allocate_what_was_announced<T: Element>() {
    let images = data(Split::Train, 4 * BATCH);
    for recipe in recipes() {
        let device = fake_cuda::device();
        let announced = rehearsal::supervised::<T>(&device, &recipe, &images, 0).unwrap();
        allocates(&device, &announced, || drop(train::<T>(&device, &recipe, tempfile::tempdir().unwrap().path())));
    }
    let (recipe, device) = (toy(), fake_cuda::device());
    let checkpoint = pretrained::<T>(&recipe);
    let (encoder, data) = (&checkpoint, &images);
    let job = HeadJob { device: &device, recipe: &recipe, encoder, data, kind: HeadKind::Robust, seed: 0 };
    allocates(&device, &rehearsal::head::<T>(&job).unwrap(), || drop(job.run::<T>(|_, _| Ok(())).unwrap()));
}

#[test]
fn what_is_announced_is_allocated() {
    if devices::can_simulate() {
        jobs_allocate_what_was_announced::<f32>();
        jobs_allocate_what_was_announced::<f16>();
    }
}
