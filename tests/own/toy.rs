//! Training and evaluation with the loss and the attack of `examples/`, at toy scale.

use crate::attack::Momentum;
use crate::common::devices;
use crate::loss::AlignmentUniformity;
use half::f16;
use rocl::attack::ClassifierLoss;
use rocl::data::{Dataset, Split, textures};
use rocl::element::{Element, Real};
use rocl::loss::EmbeddingLoss;
use rocl::own;
use rocl::recipe::Recipe;
use rocl::recipe::evaluate::{Evaluation, Right, share};
use rocl::recipe::linear_eval::fit_head;
use rocl::recipe::pretrain::{Ingredients, Pretraining};
use rocl::recipe::settings::{NamedAttack, Number};
use rocl::recipe::trained::Encoder;
use rocl::recipe::training::{CHECKPOINT, RunOptions, Training};
use rocl::run::checkpoint::{Checkpoint, Kind};
use rocl::{Device, Result, Tensor};

/// Radius in training.
const EPSILON: f64 = 8.0 / 255.0;
/// In evaluation less, so that attacks leave some images right.
const EVALUATED: Number = Number::Fraction(2, 255);
/// Of the attacks in evaluation.
const STEPS: usize = 5;

fn recipe() -> Recipe {
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.network.width = 4;
    recipe.network.projection = 32;
    recipe.train.batch_size = 32;
    recipe.train.epochs = 8;
    recipe.attack.steps = 2;
    recipe.linear_eval.epochs = 20;
    recipe.linear_eval.milestones = vec![];
    recipe.linear_eval.batch_size = 64;
    recipe.evaluate.batch_size = 50;
    recipe.evaluate.epsilon = EVALUATED;
    recipe.evaluate.step_size = Number::Fraction(1, 255);
    recipe.evaluate.steps = STEPS as u32;
    recipe.check().unwrap();
    recipe
}

fn images(split: Split, len: usize) -> Dataset {
    textures::render(textures::SEED, split, len)
}

/// Both the loss, in all its places, and the attack.
fn ingredients<R: Real>(device: &Device, recipe: &Recipe) -> Result<Ingredients<R>> {
    let (batch, dimensions) = (recipe.train.batch_size as usize, recipe.network.projection as usize);
    let loss = |views: usize| -> Result<Box<dyn EmbeddingLoss<R>>> {
        Ok(Box::new(AlignmentUniformity::new(device, views * batch, dimensions)?))
    };
    let attack = Box::new(Momentum::new(device, batch, EPSILON, recipe.attack.steps as usize, 1.0)?);
    Ok(Ingredients { loss: loss(3)?, attack_loss: loss(2)?, regularizer: loss(2)?, attack })
}

/// Which test images a linear classifier on the encoder gets right: clean, under PGD and under the own attack.
fn judged(device: &Device, recipe: &Recipe, encoder: &Encoder<f32>, train: &Dataset, test: &Dataset) -> Right {
    let head = encoder.new_head(train.classes.len(), 64, 0).unwrap();
    let features = encoder.features(train, |_| Ok(())).unwrap();
    fit_head(device, &recipe.linear_eval, &features, &train.labels, &head, 0, |_, _| Ok(())).unwrap();
    let named = [NamedAttack::from(&recipe.evaluate)];
    let evaluation =
        Evaluation::new(device, encoder.inference(), &head, test, &named, recipe.evaluate.batch_size as usize, 0).unwrap();
    let evaluation = evaluation
        .and(ClassifierLoss::CrossEntropy, |batch, _| Momentum::new(device, batch, EVALUATED.value(), STEPS, 1.0))
        .unwrap();
    let mut batches = 0;
    let clean: Vec<f64> = test.images.iter().map(|byte| f64::from(*byte) / 255.0).collect();
    let right = evaluation.run_and_show(|crafted| {
        batches += 1;
        let found = crafted.images.rows(0..crafted.batch.valid)?.to_vec()?;
        let clean = &clean[crafted.batch.start * 3072..][..found.len()];
        // One rounding of the clean pixel, one of its sum with the radius.
        let inside =
            |(x, clean): (&f32, &f64)| (f64::from(*x) - clean).abs() <= EVALUATED.value() + 2e-7 && (0.0..=1.0).contains(x);
        assert!(found.iter().zip(clean).all(inside), "attack {}", crafted.attack);
        Ok(())
    });
    assert_eq!(batches, 2 * test.len().div_ceil(recipe.evaluate.batch_size as usize));
    right.unwrap()
}

#[test]
fn an_own_loss_and_attack_train_an_encoder_that_beats_an_untrained_one() {
    let device = Device::host().unwrap();
    let (recipe, train, test) = (recipe(), images(Split::Train, 320), images(Split::Test, 120));
    let folder = tempfile::tempdir().unwrap();
    let mut training = Training::<f32>::with(&device, &recipe, &train, |_| ingredients(&device, &recipe)).unwrap();
    let options = RunOptions { out: folder.path().to_owned(), label: "own".to_owned(), quiet: true };
    let first = {
        training.advance().unwrap();
        training.pretraining().losses(1).unwrap()
    };
    let last = training.run(&options).unwrap().losses;
    assert!(last.main < first.main, "the loss went from {} to {}", first.main, last.main);

    let encoder = Encoder::new(&device, &recipe, training.pretraining().network()).unwrap();
    let trained = judged(&device, &recipe, &encoder, &train, &test);
    let untrained = judged(&device, &recipe, &Encoder::untrained(&device, &recipe).unwrap(), &train, &test);
    let [clean, pgd, own] = [&trained.clean, &trained.attacked[0], &trained.attacked[1]].map(|right| share(right));
    let before = share(&untrained.clean);
    println!("clean {clean}, PGD {pgd}, own {own}; untrained {before}, {}", share(&untrained.attacked[1]));
    // Of 120 images of ten classes; chance is 0.1, and two of these accuracies differ by 0.13 in one of twenty cases where there is no difference.
    assert!(clean > before + 0.13, "{clean} is not above the untrained encoder's {before}");
    // The attack is one: it is as good as PGD of as many steps, but for some images.
    assert!(own < clean - 0.13 && (own - pgd).abs() < 0.13, "{own} under the own attack, {pgd} under PGD, {clean} clean");
}

#[test]
fn a_run_with_own_ingredients_goes_on_to_the_same_bits() {
    for device in &devices::in_type::<f32>() {
        let mut recipe = recipe();
        recipe.network.width = 2;
        recipe.train.batch_size = 8;
        let data = images(Split::Train, 16);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CHECKPOINT);
        let own = |_: &Tensor<i64>| ingredients(device, &recipe);
        let parameters = |training: &Training<f32>| training.pretraining().network().parameters().values().to_vec().unwrap();

        let mut whole = Training::with(device, &recipe, &data, own).unwrap();
        whole.advance().unwrap();
        whole.save(&path).unwrap();
        whole.advance().unwrap();
        let checkpoint = Checkpoint::load(&path, Kind::Pretrain).unwrap();
        let mut resumed = Training::resume_with(device, &recipe, &data, &checkpoint, own).unwrap();
        resumed.advance().unwrap();
        assert!(parameters(&whole) == parameters(&resumed));
    }
}

/// Losses and attacks compute in f32 where activations are stored in 16 bits.
#[test]
fn sixteen_bits_take_the_same_loss_and_attack() {
    let device = Device::host().unwrap();
    let (mut recipe, data) = (recipe(), images(Split::Train, 64));
    recipe.train.epochs = 1;
    fn losses<T: Element>(device: &Device, recipe: &Recipe, data: &Dataset) -> [f64; 3] {
        let run = Pretraining::<T>::with(device, recipe, data, |_| ingredients(device, recipe)).unwrap();
        run.begin_epoch(0, 0).unwrap();
        run.step().unwrap();
        let losses = run.losses(1).unwrap();
        [losses.main, losses.regularizer, losses.attack]
    }
    let (narrow, wide) = (losses::<f16>(&device, &recipe, &data), losses::<f32>(&device, &recipe, &data));
    for (narrow, wide) in narrow.into_iter().zip(wide) {
        // Activations of 17 layers, each rounded to 11 bits: a thousandth in their mean.
        assert!((narrow - wide).abs() <= 0.01 * wide.abs().max(0.1), "{narrow} in f16, {wide} in f32");
    }
}

#[test]
fn the_kernels_say_where_they_are_from() {
    let names: Vec<&str> = own::KERNELS.iter().map(|kernel| kernel.name).collect();
    for name in ["unit_rows", "distances_of_rows", "alignment_uniformity", "alignment_uniformity_gradient", "momentum_linf_step"]
    {
        assert!(
            names.contains(&name),
            "{name} is not in {names:?}; is ROCL_KERNELS set to another folder than examples/kernels?"
        );
    }
    assert!(own::KERNELS.iter().all(|kernel| std::path::Path::new(kernel.file).is_absolute()));
}
