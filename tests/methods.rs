//! Every method at toy scale, on images that it has not seen, against its own beginnings, and where it is made to withstand attacks, against its counterpart
//! that is not.

mod common;
#[path = "common/probe.rs"]
mod probe;

use common::devices;
use rocl::Device;
use rocl::data::{Dataset, Split, textures};
use rocl::nn::Classifier;
use rocl::optim::OptimizerSettings;
use rocl::recipe::Recipe;
use rocl::recipe::evaluate::{Accuracy, evaluate};
use rocl::recipe::linear_eval::fit_head;
use rocl::recipe::pretrain::Pretraining;
use rocl::recipe::robust_linear_eval::fit_robust_head;
use rocl::recipe::settings::{AttackLoss, Method, Number};
use rocl::recipe::supervised::Supervised;
use rocl::recipe::trained::Encoder;
use rocl::recipe::training::{CHECKPOINT, RunOptions, Training};
use rocl::recipe::training_run::TrainingRun;
use rocl::run::checkpoint::Checkpoint;

/// Images to train on, 160 steps of 16.
const TRAIN: usize = 2560;
/// Images to measure on. The standard error of an accuracy is at most √(0.25/1000), 1.6 points, that of a difference 2.2.
const TEST: usize = 1000;
/// Points by which the better of two has to be ahead: nearly three standard errors.
const MARGIN: f64 = 6.0;
/// Images of a pass that measures, and of a step that fits a head.
const PASS: usize = 50;

fn train(images: usize) -> Dataset {
    textures::render(textures::SEED, Split::Train, images)
}

/// A network and a run that can learn in seconds.
fn toy(method: Method) -> Recipe {
    // Of the views that the method is used with.
    let base = if method.trains_a_classifier() { "cifar-small-supervised@1" } else { "demo@1" };
    let mut recipe = Recipe::load(base).unwrap();
    recipe.network.width = 4;
    recipe.network.projection_hidden = Some(64);
    recipe.network.projection = 32;
    recipe.train.method = method;
    recipe.train.batch_size = 16;
    recipe.train.epochs = 1;
    // A classifier that was never attacked still withstands much of 4/255 after so short a run.
    let (learning_rate, radius) = if method.trains_a_classifier() { (5e-3, 8) } else { (3e-3, 4) };
    recipe.optimizer = OptimizerSettings::Adamw { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    recipe.schedule = rocl::optim::schedule::Schedule::Constant;
    (recipe.attack.epsilon, recipe.attack.step_size, recipe.attack.steps) =
        (Number::Fraction(4, 255), Number::Fraction(3, 255), 2);
    let attacked = &mut recipe.supervised;
    (attacked.epsilon, attacked.step_size, attacked.steps) = (Number::Fraction(6, 255), Number::Fraction(4, 255), 2);
    let measured = &mut recipe.evaluate;
    (measured.epsilon, measured.step_size, measured.steps) =
        (Number::Fraction(radius, 255), Number::Fraction(radius / 2, 255), 5);
    recipe.evaluate.batch_size = PASS as u32;
    recipe.linear_eval.batch_size = PASS as u32;
    recipe.linear_eval.epochs = 15;
    recipe.linear_eval.milestones = vec![10];
    recipe.check().unwrap();
    recipe
}

fn run(run: &impl TrainingRun<f32>) {
    run.begin_epoch(0, 0).unwrap();
    (0..run.steps()).for_each(|_| run.step().unwrap());
}

fn accuracy(device: &Device, recipe: &Recipe, encoder: &Encoder<f32>, head: &Classifier<f32>) -> Accuracy {
    let test = textures::render(textures::SEED, Split::Test, TEST);
    evaluate(device, &recipe.evaluate, encoder.inference(), head, &test, 0, |_| Ok(())).unwrap()
}

/// That of a linear classifier on the encoder as it is.
fn probed(device: &Device, recipe: &Recipe, run: &Pretraining<f32>) -> Accuracy {
    let encoder = Encoder::new(device, recipe, run.network()).unwrap();
    let (head, _) = probe::fit(device, &recipe.linear_eval, &encoder, &train(TEST), PASS, 0);
    accuracy(device, recipe, &encoder, &head)
}

/// That of a classifier that is trained as a whole.
fn classified(device: &Device, recipe: &Recipe, run: &Supervised<f32>) -> Accuracy {
    let encoder = Encoder::new(device, recipe, run.network()).unwrap();
    let own = run.network().head();
    let head = encoder.new_head(own.classes(), PASS, 0).unwrap();
    for name in ["linear.weight", "linear.bias"] {
        head.parameters().get(name).unwrap().value.copy_from(&own.parameters().get(name).unwrap().value).unwrap();
    }
    accuracy(device, recipe, &encoder, &head)
}

#[track_caller]
fn ahead(what: &str, better: f64, worse: f64) {
    assert!(better > worse + MARGIN, "{what}: {better} % against {worse} %");
}

/// Contrast makes features that tell classes apart better than those of the same network untrained; by RoCL, whatever its attack increases, they withstand
/// more than untrained ones and than SimCLR's.
#[test]
fn contrast_makes_features() {
    for device in &devices::in_type_for_long::<f32>() {
        let data = train(TRAIN);
        let begun = |method, loss| {
            let mut recipe = toy(method);
            recipe.attack.loss = loss;
            let pretraining = Pretraining::<f32>::new(device, &recipe, &data).unwrap();
            (recipe, pretraining)
        };
        // All of them begin with the same network.
        let (recipe, pretraining) = begun(Method::Rocl, AttackLoss::Similarity);
        let untrained = probed(device, &recipe, &pretraining);
        let learnt = |method, loss| {
            let (recipe, pretraining) = begun(method, loss);
            run(&pretraining);
            let found = probed(device, &recipe, &pretraining);
            println!("{method:?}, {loss:?}: from {untrained:?} to {found:?}");
            ahead(&format!("{method:?}, {loss:?}, against untrained"), found.clean, untrained.clean);
            found
        };
        let simclr = learnt(Method::Simclr, AttackLoss::Similarity);
        learnt(Method::Scl, AttackLoss::Similarity);
        for loss in [AttackLoss::Similarity, AttackLoss::Mse, AttackLoss::L1, AttackLoss::Cosine] {
            let rocl = learnt(Method::Rocl, loss);
            ahead(&format!("{loss:?}, attacked, against untrained"), rocl.pgd, untrained.pgd);
            ahead(&format!("{loss:?}, attacked, against SimCLR"), rocl.pgd, simclr.pgd);
        }
    }
}

/// What each method that trains a classifier makes of `started`: better than that, as it is and, where images were attacked, attacked. By adversarial training
/// and TRADES it also withstands more than by cross-entropy, which comes first.
fn classifiers_learn(device: &Device, methods: &[Method], started: impl Fn(&Recipe) -> Supervised<f32>) {
    let mut plain = None;
    for &method in methods {
        let recipe = toy(method);
        let classifier = started(&recipe);
        let before = classified(device, &recipe, &classifier);
        run(&classifier);
        let after = classified(device, &recipe, &classifier);
        println!("{method:?}: from {before:?} to {after:?}");
        ahead(&format!("{method:?}"), after.clean, before.clean);
        let plain = *plain.get_or_insert(after);
        if method.is_adversarial() {
            ahead(&format!("{method:?}, attacked"), after.pgd, before.pgd);
        }
        if matches!(method, Method::At | Method::Trades) {
            ahead(&format!("{method:?}, attacked, against cross-entropy"), after.pgd, plain.pgd);
        }
    }
}

#[test]
fn classifiers_learn_from_scratch() {
    for device in &devices::in_type_for_long::<f32>() {
        let data = train(TRAIN);
        let methods = [Method::Ce, Method::At, Method::Trades];
        classifiers_learn(device, &methods, |recipe| Supervised::new(device, recipe, &data).unwrap());
    }
}

/// Linear evaluation, plain and robust, and fine-tuning, of an encoder by RoCL.
#[test]
fn a_pretrained_encoder_is_put_to_use() {
    for device in &devices::in_type_for_long::<f32>() {
        let (data, folder) = (train(TRAIN), tempfile::tempdir().unwrap());
        let mut training = Training::<f32>::new(device, &toy(Method::Rocl), &data).unwrap();
        training.run(&RunOptions { out: folder.path().to_owned(), label: "test".to_owned(), quiet: true }).unwrap();
        let checkpoint = Checkpoint::load_encoder(&folder.path().join(CHECKPOINT)).unwrap();

        let (recipe, fitted_on) = (toy(Method::Rocl), train(500));
        let encoder = Encoder::load(device, &recipe, &checkpoint).unwrap();
        let new_head = || encoder.new_head(data.classes.len(), PASS, 0).unwrap();
        let [untrained, plain, robust] = [(); 3].map(|()| new_head());
        let features = encoder.features(&fitted_on, |_| Ok(())).unwrap();
        fit_head(device, &recipe.linear_eval, &features, &fitted_on.labels, &plain, 0, |_, _| Ok(())).unwrap();
        fit_robust_head(device, &recipe, &encoder, &fitted_on, &robust, 0, |_, _| Ok(())).unwrap();
        let [untrained, plain, robust] = [untrained, plain, robust].map(|head| accuracy(device, &recipe, &encoder, &head));
        println!("heads: untrained {untrained:?}, LE {plain:?}, r-LE {robust:?}");
        ahead("LE", plain.clean, untrained.clean);
        ahead("r-LE", robust.clean, untrained.clean);
        ahead("r-LE, attacked", robust.pgd, untrained.pgd);
        ahead("r-LE, attacked, against LE", robust.pgd, plain.pgd);

        let methods = [Method::Ce, Method::At, Method::Trades, Method::AtSs];
        classifiers_learn(device, &methods, |recipe| {
            let classifier = Supervised::new(device, recipe, &data).unwrap();
            classifier.start_from(&checkpoint).unwrap();
            classifier
        });
    }
}
