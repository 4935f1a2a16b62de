//! What trains with labels: each method's loss by the parameters, and the attack's by the images, through batch statistics.

use crate::common::devices;
use crate::difference::{assert_gradient, uniform};
use rocl::attack::{BatchObjective, ClassifierBuffers, ClassifierLoss, Objective};
use rocl::data::{Split, textures};
use rocl::nn::ClassifierNetwork;
use rocl::recipe::Recipe;
use rocl::recipe::settings::{BatchNormMode, Method};
use rocl::recipe::supervised::Supervised;
use rocl::recipe::training_run::TrainingRun;
use rocl::{Device, Tensor};

const BATCH: usize = 4;

fn toy(method: Method) -> Recipe {
    let mut recipe = Recipe::load("supervised@1").unwrap();
    recipe.train.method = method;
    recipe.network.width = 2;
    recipe.network.projection_hidden = Some(12);
    recipe.network.projection = 6;
    recipe.train.batch_size = BATCH as u32;
    recipe.supervised.steps = 1;
    // What differences see; detached, the gradient is not that of the loss.
    recipe.loss.detach_keys = false;
    recipe
}

#[test]
fn parameters_of_every_method() {
    for device in &devices::in_type_for_long::<f64>() {
        for method in [Method::Ce, Method::Trades, Method::AtSs] {
            for freeze_bn in [false, true] {
                let mut recipe = toy(method);
                recipe.supervised.freeze_bn = freeze_bn;
                let data = textures::render(textures::SEED, Split::Train, 3 * BATCH);
                let run = Supervised::<f64>::new(device, &recipe, &data).unwrap();
                run.begin_epoch(0, 0).unwrap();
                run.draw().unwrap();
                run.perturb().unwrap();
                let parameters = run.network().backbone().parameters();
                let loss = || {
                    run.learn().unwrap();
                    let noted = run.losses().to_vec().unwrap();
                    noted[0] + noted[1]
                };
                parameters.clear_gradients().unwrap();
                loss();
                let gradients = parameters.gradients().to_vec().unwrap();
                let kept = Tensor::from_slice(device, [gradients.len()], &gradients).unwrap();
                for spec in parameters.specs() {
                    let (value, gradient) =
                        (parameters.get(&spec.name).unwrap().value, parameters.view(&kept, &spec.name).unwrap());
                    let what = format!("{method:?}, freeze_bn = {freeze_bn}: {}", spec.name);
                    assert_gradient(&what, &value, &gradient, loss);
                }
            }
        }
    }
}

fn images(device: &Device, seed: u64) -> Tensor<f64> {
    let pixels: Vec<f64> = uniform(seed, BATCH * 3072).iter().map(|v| 0.5 + 0.5 * v).collect();
    Tensor::from_slice(device, [BATCH, 32, 32, 3], &pixels).unwrap()
}

#[test]
fn images_through_batch_statistics() {
    for device in &devices::in_type_for_long::<f64>() {
        let recipe = toy(Method::At);
        let network = ClassifierNetwork::<f64>::new(device, &recipe.topology(), 3, None, BATCH, 1).unwrap();
        let buffers = ClassifierBuffers::new(device, BATCH, network.head()).unwrap();
        let labels = Tensor::from_slice(device, [BATCH], &[0, 1, 2, 1]).unwrap();
        let (clean, x) = (images(device, 1), images(device, 2));
        let (gradient, unused) = (Tensor::zeros(device, x.shape()).unwrap(), Tensor::zeros(device, x.shape()).unwrap());
        for increased in [ClassifierLoss::CrossEntropy, ClassifierLoss::KlDivergence] {
            let mut objective = BatchObjective::new(&network, &buffers, &labels, increased, &clean).unwrap();
            objective.gradient(&x, &gradient).unwrap();
            let loss = || {
                let mut objective = BatchObjective::new(&network, &buffers, &labels, increased, &clean).unwrap();
                objective.gradient(&x, &unused).unwrap();
                objective.loss().to_vec().unwrap()[0]
            };
            assert_gradient(&format!("{increased:?}"), &x, &gradient, loss);
        }
    }
}

/// By the batch's statistics an attack moves the running ones, by the running ones it does not; and frozen they never move.
#[test]
fn running_statistics_move_as_they_are_asked_to() {
    for device in &devices::in_type::<f64>() {
        let data = textures::render(textures::SEED, Split::Train, 3 * BATCH);
        let moved = |mode, freeze_bn, whole: bool| {
            let mut recipe = toy(Method::At);
            recipe.supervised.attack_mode = mode;
            recipe.supervised.freeze_bn = freeze_bn;
            let run = Supervised::<f64>::new(device, &recipe, &data).unwrap();
            let statistics = || -> Vec<f64> {
                let all = run.backbone().encoder().running_statistics();
                all.iter().flat_map(|(_, tensor)| tensor.to_vec().unwrap()).collect()
            };
            let before = statistics();
            run.begin_epoch(0, 0).unwrap();
            if whole {
                run.step().unwrap();
            } else {
                run.draw().unwrap();
                run.perturb().unwrap();
            }
            statistics() != before
        };
        assert!(!moved(BatchNormMode::Eval, false, false) && moved(BatchNormMode::Train, false, false));
        assert!(moved(BatchNormMode::Eval, false, true) && !moved(BatchNormMode::Eval, true, true));
    }
}
