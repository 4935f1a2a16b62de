//! Training with labels as a whole: what is learnt, resumption, fine-tuning, robust heads.

mod common;

use common::devices;
use half::f16;
use rocl::data::{Dataset, Split, textures};
use rocl::element::Element;
use rocl::recipe::Recipe;
use rocl::recipe::evaluate::evaluate;
use rocl::recipe::linear_eval::fit_head;
use rocl::recipe::pretrain::Pretraining;
use rocl::recipe::robust_linear_eval::fit_robust_head;
use rocl::recipe::settings::{AttackLoss, BatchNormMode, Method, Number, Optimizer};
use rocl::recipe::supervised::Supervised;
use rocl::recipe::trained::Encoder;
use rocl::recipe::training::{CHECKPOINT, RunOptions, Training};
use rocl::recipe::training_run::TrainingRun;
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

/// A network that can learn in seconds.
fn learnable(method: Method) -> Recipe {
    let mut recipe = toy(method);
    recipe.network.width = 4;
    recipe.train.batch_size = 16;
    recipe.train.epochs = 1;
    recipe.optimizer = Optimizer::Sgd { learning_rate: 0.05, momentum: 0.9, weight_decay: 5e-4 };
    recipe.supervised.epsilon = Number::Fraction(4, 255);
    recipe.supervised.step_size = Number::Fraction(2, 255);
    recipe.supervised.steps = 3;
    recipe.evaluate.epsilon = Number::Fraction(4, 255);
    recipe.evaluate.step_size = Number::Fraction(1, 255);
    recipe.evaluate.steps = 5;
    recipe.evaluate.batch_size = 64;
    recipe.linear_eval.batch_size = 64;
    recipe.linear_eval.epochs = 15;
    recipe.linear_eval.milestones = vec![10];
    recipe
}

const STEPS: usize = 120;
const TEST: usize = 128;

/// Percent of test images that a classifier has right, and under attack.
fn accuracies(device: &Device, recipe: &Recipe, run: &Supervised<f32>) -> [f64; 2] {
    let test = textures::render(textures::SEED, Split::Test, TEST);
    let encoder = Encoder::new(device, recipe, run.network()).unwrap();
    let head = encoder.new_head(test.classes.len(), 64, 0).unwrap();
    let own = run.network().head().parameters();
    for name in ["linear.weight", "linear.bias"] {
        head.parameters().get(name).unwrap().value.copy_from(&own.get(name).unwrap().value).unwrap();
    }
    let found = evaluate(device, &recipe.evaluate, encoder.inference(), &head, &test, 0, |_| Ok(())).unwrap();
    [found.clean, found.pgd]
}

/// After 120 steps each method classifies images that it has not seen better than it began, as they are and, but for plain cross-entropy, attacked. Of 128
/// images in ten classes, chance has 10 % right, with a standard deviation of 2.7.
#[test]
fn methods_learn_what_they_are_for() {
    for device in &devices::in_type_for_long::<f32>() {
        for method in CLASSIFIERS {
            let recipe = learnable(method);
            let run = Supervised::<f32>::new(device, &recipe, &data(16 * STEPS)).unwrap();
            let before = accuracies(device, &recipe, &run);
            run.begin_epoch(0, 0).unwrap();
            (0..STEPS).for_each(|_| run.step().unwrap());
            let after = accuracies(device, &recipe, &run);
            let means = run.means(STEPS).unwrap();
            println!("{method:?}: clean and attacked from {before:?} to {after:?}; {means:?}");
            assert!(after[0] > before[0] + 10.0, "{method:?}: clean from {before:?} to {after:?}");
            if method.is_adversarial() {
                assert!(after[1] > before[1] + 5.0, "{method:?}: attacked from {before:?} to {after:?}");
            }
        }
    }
}

/// Supervised contrast, and RoCL by each of its attack losses: the main loss falls.
#[test]
fn contrastive_losses_fall() {
    for device in &devices::in_type_for_long::<f32>() {
        let distances = [AttackLoss::Mse, AttackLoss::L1, AttackLoss::Cosine].map(|loss| (Method::Rocl, loss));
        for (method, loss) in [(Method::Scl, AttackLoss::Similarity)].into_iter().chain(distances) {
            let mut recipe = Recipe::load("demo@1").unwrap();
            recipe.network = learnable(method).network;
            recipe.train = learnable(method).train;
            (recipe.attack.loss, recipe.attack.steps) = (loss, 2);
            let run = Pretraining::<f32>::new(device, &recipe, &data(16 * STEPS)).unwrap();
            run.begin_epoch(0, 0).unwrap();
            (0..STEPS).for_each(|_| run.step().unwrap());
            let noted = run.noted(STEPS).unwrap().to_vec().unwrap();
            let mean = |steps: std::ops::Range<usize>| steps.map(|step| f64::from(noted[3 * step])).sum::<f64>() / 24.0;
            let (first, last) = (mean(0..24), mean(STEPS - 24..STEPS));
            // Means of 24 steps scatter by less than a hundredth.
            println!("{method:?} {loss:?}: the loss went from {first} to {last}");
            assert!(last < first - 0.04, "{method:?} {loss:?}: the loss went from {first} to {last}");
        }
    }
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

/// The head of robust linear evaluation withstands more than that of plain linear evaluation on the same encoder.
#[test]
fn a_robust_head_withstands_more() {
    for device in &devices::in_type_for_long::<f32>() {
        let recipe = learnable(Method::At);
        let (train, test) = (data(16 * STEPS), textures::render(textures::SEED, Split::Test, TEST));
        let run = Supervised::<f32>::new(device, &recipe, &train).unwrap();
        run.begin_epoch(0, 0).unwrap();
        (0..STEPS).for_each(|_| run.step().unwrap());
        let encoder = Encoder::new(device, &recipe, run.network()).unwrap();
        let fitted_on = data(256);
        let head = || encoder.new_head(10, 64, 0).unwrap();
        let attacked =
            |head: &_| evaluate(device, &recipe.evaluate, encoder.inference(), head, &test, 0, |_| Ok(())).unwrap().pgd;
        let untrained = attacked(&head());
        let (robust, mut losses) = (head(), Vec::new());
        fit_robust_head(device, &recipe, &encoder, &fitted_on, &robust, 0, |_, loss| {
            losses.push(loss);
            Ok(())
        })
        .unwrap();
        let plain = head();
        let features = encoder.features(&fitted_on, |_| Ok(())).unwrap();
        fit_head(device, &recipe.linear_eval, &features, &fitted_on.labels, &plain, 0, |_, _| Ok(())).unwrap();
        let (robust, plain) = (attacked(&robust), attacked(&plain));
        println!("untrained {untrained}, plain {plain}, robust {robust}; losses {losses:?}");
        assert!(losses.last() < losses.first(), "{losses:?}");
        assert!(robust > untrained + 5.0, "from {untrained} to {robust}");
    }
}
