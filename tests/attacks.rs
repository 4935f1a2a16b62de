//! Attacks in every norm, on every objective: within their budget, of effect, and the worst of several for each image.

use rocl::attack::{
    Attack, ClassifierBuffers, ClassifierLoss, ClassifierObjective, Judge, Objective, Pgd, RandomStart, SmoothedBuffers,
    SmoothedObjective, Smoothing, WorstOf,
};
use rocl::data::augmentation::AugmentationSettings;
use rocl::data::{Split, textures};
use rocl::nn::Classifier;
use rocl::ops::{self, Norm, Outcome, PgdStep};
use rocl::recipe::Recipe;
use rocl::recipe::attacked::Attacked;
use rocl::recipe::linear_eval::fit_head;
use rocl::recipe::pretrain::{Ingredients, Pretraining};
use rocl::recipe::trained::Encoder;
use rocl::{Device, Tensor};

const BATCH: usize = 16;
const PIXELS: usize = 3072;

/// A small network after a few steps, a head, and a batch of images it has not seen.
struct Model {
    device: Device,
    recipe: Recipe,
    run: Pretraining<f32>,
    encoder: Encoder<f32>,
    head: Classifier<f32>,
    buffers: ClassifierBuffers<f32>,
    images: Tensor<f32>,
    labels: Tensor<i32>,
}

fn model() -> Model {
    let device = Device::host().unwrap();
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.network.width = 4;
    recipe.train.batch_size = BATCH as u32;
    recipe.attack.steps = 1;
    recipe.linear_eval.epochs = 10;
    recipe.linear_eval.milestones = vec![];
    recipe.linear_eval.batch_size = BATCH as u32;
    recipe.evaluate.batch_size = BATCH as u32;
    let train = textures::render(textures::SEED, Split::Train, 128);
    let run = Pretraining::<f32>::new(&device, &recipe, &train).unwrap();
    run.begin_epoch(0, 0).unwrap();
    (0..4).for_each(|_| run.step().unwrap());
    let encoder = Encoder::new(&device, &recipe, run.network()).unwrap();
    let features = encoder.features(&train, |_| Ok(())).unwrap();
    let head = encoder.new_head(train.classes.len(), BATCH, 0).unwrap();
    fit_head(&device, &recipe.linear_eval, &features, &train.labels, &head, 0, |_, _| Ok(())).unwrap();
    let test = textures::render(textures::SEED, Split::Test, BATCH);
    let images = Tensor::zeros(&device, [BATCH, 32, 32, 3]).unwrap();
    ops::unit_range(&Tensor::from_slice(&device, [BATCH, 32, 32, 3], &test.images).unwrap(), &images).unwrap();
    let labels: Vec<i32> = test.labels.iter().map(|label| i32::from(*label)).collect();
    let labels = Tensor::from_slice(&device, [BATCH], &labels).unwrap();
    let buffers = ClassifierBuffers::new(&device, BATCH, &head).unwrap();
    Model { device, recipe, run, encoder, head, buffers, images, labels }
}

impl Model {
    fn classifier(&self) -> ClassifierObjective<'_, f32> {
        ClassifierObjective::new(self.encoder.inference(), &self.head, &self.buffers, &self.labels, BATCH)
    }

    fn start(&self, seed: u64) -> Option<RandomStart> {
        Some(RandomStart { seed, stream: 9, clock: Tensor::zeros(&self.device, [2]).unwrap() })
    }

    fn pgd(&self, step: PgdStep<f32>, steps: usize, start: Option<RandomStart>) -> Pgd<f32> {
        Pgd::new(&self.device, BATCH, step, steps, start).unwrap()
    }

    fn empty(&self) -> Tensor<f32> {
        Tensor::zeros(&self.device, self.images.shape()).unwrap()
    }

    fn perturbed(&self, attack: &dyn Attack<f32>, objective: &mut dyn Objective<f32>) -> Tensor<f32> {
        let x = self.empty();
        attack.perturb(&self.images, objective, &x).unwrap();
        x
    }

    /// How images fare by an objective.
    fn judged(&self, objective: &mut dyn Judge<f32>, x: &Tensor<f32>) -> Vec<(f32, f32)> {
        let outcome = Outcome {
            loss: Tensor::zeros(&self.device, [BATCH]).unwrap(),
            correct: Tensor::zeros(&self.device, [BATCH]).unwrap(),
        };
        objective.judge(x, &outcome).unwrap();
        outcome.loss.to_vec().unwrap().into_iter().zip(outcome.correct.to_vec().unwrap()).collect()
    }
}

/// How far each image of `x` is from that of `clean`.
fn distances(norm: Norm, x: &Tensor<f32>, clean: &Tensor<f32>) -> Vec<f64> {
    let (x, clean) = (x.to_vec().unwrap(), clean.to_vec().unwrap());
    assert!(x.iter().all(|x| (0.0..=1.0).contains(x)));
    let of_image = |(x, clean): (&[f32], &[f32])| {
        let apart = x.iter().zip(clean).map(|(x, c)| (f64::from(*x) - f64::from(*c)).abs());
        match norm {
            Norm::Linf => apart.fold(0.0, f64::max),
            Norm::L2 => apart.map(|d| d * d).sum::<f64>().sqrt(),
            Norm::L1 => apart.sum(),
        }
    };
    x.chunks(PIXELS).zip(clean.chunks(PIXELS)).map(of_image).collect()
}

const BUDGETS: [(Norm, f64, f64); 3] = [(Norm::Linf, 0.8 / 255.0, 8.0 / 255.0), (Norm::L2, 0.0625, 0.5), (Norm::L1, 1.5, 12.0)];

#[test]
fn every_norm_raises_every_loss_within_its_budget() {
    let model = model();
    for (norm, size, epsilon) in BUDGETS {
        for loss in [ClassifierLoss::CrossEntropy, ClassifierLoss::Margin, ClassifierLoss::KlDivergence] {
            let pgd = model.pgd(PgdStep::new(norm, size, epsilon), 10, model.start(1));
            let mut objective = model.classifier().increasing(loss, &model.images).unwrap();
            let x = model.perturbed(&pgd, &mut objective);
            // An f32 radius of the L∞ ball may be rounded upwards, and its corners once more.
            let slack = if norm == Norm::Linf { 1e-7 } else { 1e-12 };
            let far = distances(norm, &x, &model.images);
            assert!(far.iter().all(|d| *d <= epsilon + slack), "{norm:?}, {loss:?}: {far:?}");
            assert!(far.iter().all(|d| *d > 0.5 * epsilon), "{norm:?}, {loss:?}: ten steps lead to the surface: {far:?}");
            let total = |judged: Vec<(f32, f32)>| judged.iter().map(|(loss, _)| f64::from(*loss)).sum::<f64>();
            let start = model.perturbed(&model.pgd(PgdStep::new(norm, size, epsilon), 0, model.start(1)), &mut objective);
            let [before, random, after] = [&model.images, &start, &x].map(|x| total(model.judged(&mut objective, x)));
            // What a random point of the ball does tells how much rises by itself.
            assert!(after - before > 2.0 * (random - before).abs(), "{norm:?}, {loss:?}: {before}, {random}, {after}");
        }
    }
}

#[test]
fn the_instance_wise_loss_rises_in_every_norm() {
    let model = model();
    let attacked = Attacked::new(&model.device, &model.recipe, model.run.network()).unwrap();
    attacked.copy_from(model.run.network()).unwrap();
    let losses = Ingredients::new(&model.device, &model.recipe, &Tensor::zeros(&model.device, [2]).unwrap()).unwrap();
    let mut objective = attacked.objective(&*losses.attack_loss, &model.images).unwrap();
    for (norm, size, epsilon) in BUDGETS {
        let pgd = model.pgd(PgdStep::new(norm, size, epsilon), 10, model.start(1));
        let x = model.perturbed(&pgd, &mut objective);
        assert!(distances(norm, &x, &model.images).iter().all(|d| *d <= epsilon + 1e-7));
        let still = model.pgd(PgdStep::new(norm, size, epsilon), 0, model.start(1));
        let start = model.empty();
        still.perturb(&model.images, &mut objective, &start).unwrap();
        let mut loss = |x: &Tensor<f32>| {
            objective.gradient(x, &model.empty()).unwrap();
            f64::from(objective.loss().to_vec().unwrap()[0])
        };
        let [before, random, after] = [&model.images, &start, &x].map(&mut loss);
        assert!(after - before > 2.0 * (random - before).abs(), "{norm:?}: {before}, {random}, {after}");
    }
}

/// One step to the surface: what a step of PGD from the image is.
#[test]
fn the_fast_gradient_method_is_a_step_of_the_radius() {
    let model = model();
    for (norm, _, epsilon) in BUDGETS {
        let fast = Pgd::fast_gradient(&model.device, BATCH, norm, epsilon).unwrap();
        let step = model.pgd(PgdStep::new(norm, epsilon, epsilon), 1, None);
        let [a, b] = [fast, step].map(|attack| model.perturbed(&attack, &mut model.classifier()).to_vec().unwrap());
        assert_eq!(a, b, "{norm:?}");
    }
}

/// Each image is the first attack's that fools the classifier with the highest loss, or else that of the highest loss.
#[test]
fn the_worst_of_several_is_kept_for_each_image() {
    let model = model();
    // Short and narrow enough that neither all nor none of them succeed.
    let attacks = || (0..4).map(|seed| model.pgd(PgdStep::new(Norm::Linf, 0.004, 0.012), 1, model.start(seed)));
    let single: Vec<_> = attacks()
        .map(|attack| {
            let x = model.perturbed(&attack, &mut model.classifier());
            (x.to_vec().unwrap(), model.judged(&mut model.classifier(), &x))
        })
        .collect();
    let all = attacks().map(|attack| -> Box<dyn Attack<f32>> { Box::new(attack) }).collect();
    let x = model.empty();
    WorstOf::new(&model.device, BATCH, all).unwrap().perturb(&model.images, &mut model.classifier(), &x).unwrap();
    let found = x.to_vec().unwrap();
    for image in 0..BATCH {
        let harm = |attack: usize| (single[attack].1[image].1 == 0.0, single[attack].1[image].0);
        let worst = (1..4).fold(0, |worst, attack| {
            let ((fools, loss), (fooled, before)) = (harm(attack), harm(worst));
            if (fools && !fooled) || (fools == fooled && loss > before) { attack } else { worst }
        });
        let part = image * PIXELS..(image + 1) * PIXELS;
        assert_eq!(found[part.clone()], single[worst].0[part], "image {image}");
    }
    // One alone, and none.
    let one: Vec<Box<dyn Attack<f32>>> = vec![Box::new(attacks().next().unwrap())];
    WorstOf::new(&model.device, BATCH, one).unwrap().perturb(&model.images, &mut model.classifier(), &x).unwrap();
    assert_eq!(x.to_vec().unwrap(), single[0].0);
    WorstOf::new(&model.device, BATCH, vec![]).unwrap().perturb(&model.images, &mut model.classifier(), &x).unwrap();
    assert_eq!(x.to_vec().unwrap(), model.images.to_vec().unwrap());
}

fn smoothing(views: u32, flip_probability: f64, crop: f64) -> Smoothing {
    let settings = AugmentationSettings {
        flip_probability,
        grayscale_probability: 0.0,
        crop_scale: [crop, 1.0],
        crop_ratio: [1.0, 1.0],
        ..AugmentationSettings::default()
    };
    Smoothing { views, settings, seed: 3 }
}

/// Views that change nothing smooth nothing: gradient and classes are those of the classifier. Mirrored ones give the mirrored gradient.
#[test]
fn the_expectation_over_views_that_are_known_is_known() {
    let model = model();
    let buffers = SmoothedBuffers::new(&model.device, BATCH, model.head.classes()).unwrap();
    let gradient_at = |objective: &mut dyn Objective<f32>, x: &Tensor<f32>| {
        let gradient = model.empty();
        objective.gradient(x, &gradient).unwrap();
        gradient.to_vec().unwrap()
    };
    let plain = gradient_at(&mut model.classifier(), &model.images);
    let identity = smoothing(2, 0.0, 1.0);
    let mut smoothed = SmoothedObjective::new(model.classifier(), &identity, &buffers, 0);
    // Two halves of the same.
    assert_eq!(gradient_at(&mut smoothed, &model.images), plain);
    assert_eq!(smoothed.correct(&model.images).unwrap(), model.classifier().correct(&model.images).unwrap());

    let mirrored = |values: &[f32]| -> Vec<f32> {
        (0..values.len()).map(|i| values[(i / 96) * 96 + (31 - i % 96 / 3) * 3 + i % 3]).collect()
    };
    let flips = smoothing(1, 1.0, 1.0);
    let mut smoothed = SmoothedObjective::new(model.classifier(), &flips, &buffers, 0);
    let other = Tensor::from_slice(&model.device, model.images.shape(), &mirrored(&model.images.to_vec().unwrap())).unwrap();
    let expected = gradient_at(&mut model.classifier(), &other);
    assert_eq!(gradient_at(&mut smoothed, &model.images), mirrored(&expected));
    assert_eq!(smoothed.correct(&model.images).unwrap(), model.classifier().correct(&other).unwrap());
}

/// An attack guesses at other views than those that count, and at new ones in every step; what counts does not change.
#[test]
fn views_are_drawn_anew_for_the_attack_alone() {
    let model = model();
    let buffers = SmoothedBuffers::new(&model.device, BATCH, model.head.classes()).unwrap();
    let crops = smoothing(2, 0.5, 0.3);
    let mut smoothed = SmoothedObjective::new(model.classifier(), &crops, &buffers, 0);
    let gradients: Vec<Vec<f32>> = (0..2)
        .map(|_| {
            let gradient = model.empty();
            smoothed.gradient(&model.images, &gradient).unwrap();
            gradient.to_vec().unwrap()
        })
        .collect();
    assert_ne!(gradients[0], gradients[1]);
    let first = model.judged(&mut smoothed, &model.images);
    assert_eq!(first, model.judged(&mut smoothed, &model.images));
    let mut other = SmoothedObjective::new(model.classifier(), &crops, &buffers, 1);
    assert_ne!(first, model.judged(&mut other, &model.images), "another batch has other views");
}

/// The better of two adversaries is chosen by the loss that is increased: where views change nothing, by that of the image.
#[test]
fn adversaries_are_judged_by_the_loss_that_is_increased() {
    let model = model();
    let buffers = SmoothedBuffers::new(&model.device, BATCH, model.head.classes()).unwrap();
    let identity = smoothing(2, 0.0, 1.0);
    let margin = || model.classifier().increasing(ClassifierLoss::Margin, &model.images).unwrap();
    let mut smoothed = SmoothedObjective::new(margin(), &identity, &buffers, 0);
    assert_eq!(model.judged(&mut smoothed, &model.images), model.judged(&mut margin(), &model.images));
}
