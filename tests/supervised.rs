//! Training with labels: resumption, the beginning of fine-tuning; and what the losses of an attack do. What is learnt is in `tests/methods.rs`.

mod common;

use common::devices;
use half::f16;
use rocl::data::{Dataset, Split, textures};
use rocl::element::Element;
use rocl::recipe::Recipe;
use rocl::recipe::pretrain::Pretraining;
use rocl::recipe::settings::{AttackLoss, BatchNormMode, Method};
use rocl::recipe::training::{CHECKPOINT, RunOptions, Training};
use rocl::run::checkpoint::{Checkpoint, Kind};
use rocl::{Device, Tensor};
use std::path::Path;

const BATCH: usize = 8;
const CLASSIFIERS: [Method; 4] = [Method::Ce, Method::At, Method::Trades, Method::AtSs];

fn data(images: usize) -> Dataset {
    textures::render(textures::SEED, Split::Train, images)
}

fn toy(method: Method) -> Recipe {
    let mut recipe = Recipe::load("supervised@1").unwrap();
    recipe.train.method = method;
    recipe.network.width = 2;
    recipe.network.projection_hidden = Some(16);
    recipe.network.projection = 8;
    recipe.train.batch_size = BATCH as u32;
    recipe.train.epochs = 2;
    recipe.schedule = rocl::optim::schedule::Schedule::Constant;
    recipe.supervised.steps = 2;
    recipe.check().unwrap();
    recipe
}

fn options(folder: &Path) -> RunOptions {
    RunOptions { out: folder.to_owned(), label: "test".to_owned(), quiet: true }
}

/// In every type, by either mode of batch normalisation, a run that is saved in the midst of an epoch and gone on with ends with the bytes of one that was not.
#[test]
fn a_resumed_run_ends_like_an_uninterrupted_one() {
    for device in &devices::in_type::<f32>() {
        for method in CLASSIFIERS {
            resumes::<f32>(device, toy(method));
        }
        let mut by_batch = toy(Method::Trades);
        by_batch.supervised.attack_mode = BatchNormMode::Train;
        resumes::<f32>(device, by_batch);
    }
    for device in &devices::in_type::<f16>() {
        let mut frozen = toy(Method::AtSs);
        frozen.supervised.freeze_bn = true;
        resumes::<f16>(device, frozen);
        let mut by_batch = toy(Method::At);
        by_batch.supervised.attack_mode = BatchNormMode::Train;
        resumes::<f16>(device, by_batch);
    }
}

fn resumes<T: Element<Real = f32>>(device: &Device, recipe: Recipe) {
    let data = data(3 * BATCH);
    let [whole, resumed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let expected = Training::<T, _>::supervised(device, &recipe, &data, None).unwrap().run(&options(whole.path())).unwrap();
    let path = resumed.path().join(CHECKPOINT);
    let mut training = Training::<T, _>::supervised(device, &recipe, &data, None).unwrap();
    (0..2).for_each(|_| training.advance().unwrap());
    training.save(&path).unwrap();
    let checkpoint = Checkpoint::load(&path, Kind::Classifier).unwrap();
    let mut training = Training::<T, _>::resume_supervised(device, &recipe, &data, &checkpoint).unwrap();
    let outcome = training.run(&options(resumed.path())).unwrap();
    assert_eq!((outcome.losses, outcome.steps), (expected.losses, expected.steps));
    let bytes = |folder: &Path| std::fs::read(folder.join(CHECKPOINT)).unwrap();
    assert!(
        bytes(whole.path()) == bytes(resumed.path()),
        "{:?}: other parameters, statistics or optimiser state",
        recipe.train.method
    );
}

/// An attack on a distance drives the adversary away by that distance.
#[test]
fn each_attack_loss_raises_its_distance() {
    for device in &devices::in_type::<f32>() {
        for loss in [AttackLoss::Mse, AttackLoss::L1, AttackLoss::Cosine] {
            let attacked = |steps| {
                let mut recipe = Recipe::load("demo@1").unwrap();
                recipe.network = toy(Method::Rocl).network;
                recipe.train = toy(Method::Rocl).train;
                recipe.attack.loss = loss;
                recipe.attack.steps = steps;
                let run = Pretraining::<f32>::new(device, &recipe, &data(BATCH)).unwrap();
                run.begin_epoch(0, 0).unwrap();
                run.draw_views().unwrap();
                run.perturb().unwrap();
                // The loss where the last step began.
                run.step().unwrap();
                run.losses(1).unwrap().attack
            };
            let (first, last) = (attacked(1), attacked(7));
            assert!(last > first, "{loss:?}: from {first} to {last}");
        }
    }
}

/// Fine-tuning begins with the encoder that it is given, and the projector where that is trained on.
#[test]
fn fine_tuning_begins_where_pretraining_ended() {
    for device in &devices::in_type::<f32>() {
        let data = data(2 * BATCH);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CHECKPOINT);
        let mut pretrained = Training::<f32>::new(device, &toy(Method::Simclr), &data).unwrap();
        pretrained.advance().unwrap();
        pretrained.save(&path).unwrap();
        let encoder = Checkpoint::load_encoder(&path).unwrap();
        let of = |name: &str, values: &Tensor<f32>| (name.to_owned(), values.to_vec().unwrap());
        for (method, freeze_bn) in [(Method::At, false), (Method::AtSs, true)] {
            let mut recipe = toy(method);
            recipe.supervised.freeze_bn = freeze_bn;
            let training = Training::<f32, _>::supervised(device, &recipe, &data, Some(&encoder)).unwrap();
            let (from, to) = (pretrained.pretraining().network(), training.classifier().network().backbone());
            for spec in from.parameters().specs() {
                let Ok(parameter) = to.parameters().get(&spec.name) else {
                    assert!(method == Method::At && spec.name.starts_with("projector/"), "{}", spec.name);
                    continue;
                };
                let expected = from.parameters().get(&spec.name).unwrap().value.to_vec().unwrap();
                assert!(parameter.value.to_vec().unwrap() == expected, "{method:?}: {} is another", spec.name);
            }
            let statistics =
                || to.encoder().running_statistics().iter().map(|(name, values)| of(name, values)).collect::<Vec<_>>();
            let before = statistics();
            let expected: Vec<_> = from.encoder().running_statistics().iter().map(|(name, values)| of(name, values)).collect();
            assert!(before == expected, "{method:?}: other running statistics");
        }
        let mut wider = toy(Method::At);
        wider.network.width = 4;
        let message = Training::<f32, _>::supervised(device, &wider, &data, Some(&encoder)).err().unwrap().to_string();
        assert!(message.contains("of another network (resnet18, width 2)"), "{message}");
    }
}
