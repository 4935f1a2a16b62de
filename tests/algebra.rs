//! The attack's short cuts against the released code's own sequence of operations: the target embedded once or in every step, batch
//! normalisation folded or not. `docs/algebra.md` has the argument, and the figures that these tests print.

mod common;

use rocl::attack::Objective;
use rocl::data::{Split, textures};
use rocl::element::{Element, Real};
use rocl::nn::Network;
use rocl::recipe::Recipe;
use rocl::recipe::attacked::Attacked;
use rocl::recipe::pretrain::{Ingredients, Pretraining};
use rocl::recipe::verify::{Recording, median, relative_l2};
use rocl::{Device, Tensor};

/// What is attacked: a network, images and their target views.
struct Case<T: Element> {
    name: String,
    device: Device,
    recipe: Recipe,
    /// Owns the network.
    run: Pretraining<T>,
    clean: Tensor<T::Real>,
    target: Tensor<T::Real>,
}

/// One of the four ways.
#[derive(Clone, Copy, Debug)]
struct Way {
    reuse_target: bool,
    fold_batch_norm: bool,
}

const SHORT: Way = Way { reuse_target: true, fold_batch_norm: true };
const UNFOLDED: Way = Way { reuse_target: true, fold_batch_norm: false };
const RELEASED: Way = Way { reuse_target: false, fold_batch_norm: false };

/// `values` as numbers to compute with.
fn widened<T: Element>(tensor: &Tensor<T>) -> Vec<f64> {
    tensor.to_vec().unwrap().into_iter().map(|v| v.to_real().to_f64()).collect()
}

fn is_f64<T: Element>() -> bool {
    T::NAME == "f64"
}

impl<T: Element> Case<T> {
    /// The weights, views and settings recorded from the authors' code.
    fn recorded() -> Self {
        let recording = Recording::open(&common::committed("resnet18_w8_b4.safetensors")).unwrap();
        let (device, recipe) = (Device::host().unwrap(), recording.recipe().unwrap());
        let data = textures::render(textures::SEED, Split::Train, recipe.train.batch_size as usize);
        let run = Pretraining::new(&device, &recipe, &data).unwrap();
        recording.load(run.network()).unwrap();
        let batch = recipe.train.batch_size as usize;
        let [clean, target] = ["in/x1", "in/x2"].map(|name| recording.images(&device, name, batch).unwrap());
        Self { name: format!("recorded, {}", T::NAME), device, recipe, run, clean, target }
    }

    /// A small network after a few steps of RoCL, its last views, and an attack that starts at random.
    fn trained() -> Self {
        Self::of(toy(SHORT), STEPS)
    }

    /// A network after `steps` steps of its recipe, and the views of the last.
    fn of(recipe: Recipe, steps: usize) -> Self {
        let device = Device::host().unwrap();
        let run = trained(&device, &recipe, steps);
        let batch = recipe.train.batch_size as usize;
        let [clean, target] = [0, 1].map(|view| run.images().rows(view * batch..(view + 1) * batch).unwrap());
        Self { name: format!("{steps} steps, {}", T::NAME), device, recipe, run, clean, target }
    }

    fn network(&self) -> &Network<T> {
        self.run.network()
    }

    fn model(&self, way: Way) -> Attacked<T> {
        let recipe = with(self.recipe.clone(), way);
        let model = Attacked::new(&self.device, &recipe, self.network()).unwrap();
        model.copy_from(self.network()).unwrap();
        model
    }

    fn ingredients(&self) -> Ingredients<T::Real> {
        Ingredients::new(&self.device, &self.recipe, &Tensor::zeros(&self.device, [2]).unwrap()).unwrap()
    }

    /// The final adversary, and the loss at the last step.
    fn adversary(&self, way: Way) -> (Vec<f64>, Vec<f64>) {
        let (model, ingredients) = (self.model(way), self.ingredients());
        let mut objective = model.objective(&*ingredients.attack_loss, &self.target).unwrap();
        let x = Tensor::zeros(&self.device, self.clean.shape()).unwrap();
        ingredients.attack.perturb(&self.clean, &mut objective, &x).unwrap();
        (widened(&x), widened(objective.loss()))
    }

    /// The gradients of two ways at the images that the first one comes through: relative L2 distances, step by step.
    fn gradient_distances(&self, along: Way, other: Way) -> Vec<f64> {
        let ingredients = self.ingredients();
        let models = [along, other].map(|way| self.model(way));
        let mut objectives = models.each_ref().map(|m| m.objective(&*ingredients.attack_loss, &self.target).unwrap());
        let x = Tensor::<T::Real>::zeros(&self.device, self.clean.shape()).unwrap();
        x.copy_from(&self.clean).unwrap();
        let gradient = Tensor::zeros(&self.device, x.shape()).unwrap();
        let settings = &self.recipe.attack;
        let [step_size, epsilon] = [settings.step_size, settings.epsilon].map(|number| T::Real::from_f64(number.value()));
        let mut distances = Vec::new();
        for _ in 0..settings.steps {
            let [found, expected] = [1, 0].map(|way| {
                objectives[way].gradient(&x, &gradient).unwrap();
                widened(&gradient)
            });
            distances.push(relative_l2(&found, &expected));
            rocl::ops::pgd_linf_step(&x, &gradient, &self.clean, step_size, epsilon).unwrap();
        }
        distances
    }

    /// The gradient at the clean images.
    fn gradient(&self, way: Way) -> Vec<f64> {
        let (model, ingredients) = (self.model(way), self.ingredients());
        let gradient = Tensor::zeros(&self.device, self.clean.shape()).unwrap();
        let mut objective = model.objective(&*ingredients.attack_loss, &self.target).unwrap();
        objective.gradient(&self.clean, &gradient).unwrap();
        widened(&gradient)
    }

    fn step_size(&self) -> f64 {
        self.recipe.attack.step_size.value()
    }

    /// Where the final adversaries of two ways differ.
    fn differing(&self, a: Way, b: Way) -> Differing {
        Differing::between(&self.adversary(a).0, &self.adversary(b).0, self.step_size())
    }
}

impl Case<f32> {
    /// The same network and images in f64.
    fn in_f64(&self) -> Case<f64> {
        let Self { device, recipe, clean, target, .. } = self;
        let data = textures::render(textures::SEED, Split::Train, recipe.train.batch_size as usize);
        let run = Pretraining::<f64>::new(device, recipe, &data).unwrap();
        let (from, to) = (self.network(), run.network());
        to.parameters().values().write(&widened(from.parameters().values())).unwrap();
        for ((_, from), (_, to)) in from.encoder().running_statistics().iter().zip(to.encoder().running_statistics()) {
            to.write(&widened(from)).unwrap();
        }
        let [clean, target] = [clean, target].map(|x| Tensor::from_slice(device, x.shape(), &widened(x)).unwrap());
        Case { name: self.name.clone(), device: device.clone(), recipe: recipe.clone(), run, clean, target }
    }
}

/// Fractions of pixels that went another way: that differ by more than half a step.
struct Differing {
    all: f64,
    median_image: f64,
    worst_image: f64,
}

impl Differing {
    fn between(a: &[f64], b: &[f64], step_size: f64) -> Self {
        let fraction = |(a, b): (&[f64], &[f64])| {
            a.iter().zip(b).filter(|(a, b)| (*a - *b).abs() > 0.5 * step_size).count() as f64 / a.len() as f64
        };
        let mut images: Vec<f64> = a.chunks(3072).zip(b.chunks(3072)).map(fraction).collect();
        images.sort_by(f64::total_cmp);
        // The lower of two medians: of four images, two may have met a rectifier that opens in one form only.
        let (median_image, worst_image) = (images[(images.len() - 1) / 2], images[images.len() - 1]);
        Self { all: fraction((a, b)), median_image, worst_image }
    }
}

impl std::fmt::Display for Differing {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { all, median_image, worst_image } = self;
        write!(f, "{all:.1e} of the final pixels, {median_image:.1e} of the median image, {worst_image:.1e} of the worst")
    }
}

fn with(mut recipe: Recipe, way: Way) -> Recipe {
    (recipe.attack.reuse_target, recipe.attack.fold_batch_norm) = (way.reuse_target, way.fold_batch_norm);
    recipe
}

/// Two groups, so that they are exercised too.
fn toy(way: Way) -> Recipe {
    let text = "schema = 1\nname = 'toy'\n[network]\nwidth = 4\nprojection_hidden = 32\nprojection = 16\n\
                [train]\nbatch_size = 16\n[attack]\ngroup = 8\n\
                [optimizer]\nkind = 'sgd'\nlearning_rate = 0.05\nmomentum = 0.9\nweight_decay = 0\n[schedule]\nkind = 'constant'";
    with(Recipe::from_toml(text).unwrap(), way)
}

/// After these the running statistics are 99.8 % those of training, two updates a step.
const STEPS: usize = 30;

fn trained<T: Element>(device: &Device, recipe: &Recipe, steps: usize) -> Pretraining<T> {
    let batch = recipe.train.batch_size as usize;
    let data = textures::render(textures::SEED, Split::Train, steps * batch);
    let run = Pretraining::new(device, recipe, &data).unwrap();
    run.begin_epoch(0, 0).unwrap();
    (0..steps).for_each(|_| run.step().unwrap());
    run
}

fn target_embedded_once<T: Element>(case: &Case<T>) {
    for fold_batch_norm in [true, false] {
        let [once, always] = [true, false].map(|reuse_target| case.adversary(Way { reuse_target, fold_batch_norm }));
        let moved = once.0.iter().zip(widened(&case.clean)).filter(|(x, clean)| **x != *clean).count();
        // All but saturated pixels and gradients of nought.
        assert!(2 * moved > once.0.len(), "{}: only {moved} pixels were attacked", case.name);
        // The same kernels on the same numbers: what is in a batch besides an image does not enter its sums.
        assert_eq!(once, always, "{}, fold_batch_norm = {fold_batch_norm}", case.name);
        println!("{}, fold_batch_norm = {fold_batch_norm}: adversaries of both are bitwise equal", case.name);
    }
}

#[test]
fn embedding_the_target_once_gives_the_same_adversary() {
    target_embedded_once(&Case::<f32>::recorded());
    target_embedded_once(&Case::<f64>::recorded());
    target_embedded_once(&Case::<f32>::trained());
    target_embedded_once(&Case::<f64>::trained());
}

fn folded<T: Element>(case: &Case<T>) {
    let distances = case.gradient_distances(SHORT, UNFOLDED);
    let worst = distances.iter().copied().fold(0.0, f64::max);
    let pixels = case.differing(SHORT, UNFOLDED);
    println!("{}: gradients differ by {:.1e} (median), {worst:.1e} (worst step); {pixels}", case.name, median(&distances));
    if is_f64::<T>() {
        // Twenty layers of 10⁻¹⁶ each, and no gradient near enough to nought for its sign to turn.
        assert!(worst <= 1e-10, "{}: {distances:?}", case.name);
        assert_eq!(pixels.all, 0.0, "{}", case.name);
    } else {
        // Rounding moves a gradient by some 10⁻⁶. A rectifier whose input is within rounding of nought can open in one form only, which moves
        // that step's gradient by up to 10⁻²; most steps have none.
        assert!(median(&distances) <= 1e-5 && worst <= 1e-2, "{}: {distances:?}", case.name);
        same_but_for_rounding(case, &pixels);
    }
}

/// Without such a rectifier, a pixel goes another way where its gradient is within rounding of nought: 1.7·10⁻⁴ of them in PyTorch. An image with
/// one goes on from other pixels, up to a quarter of them; hence the median image, which has none.
fn same_but_for_rounding<T: Element>(case: &Case<T>, pixels: &Differing) {
    assert!(pixels.median_image <= 1e-3, "{}: {pixels}", case.name);
}

#[test]
fn folding_changes_gradients_by_rounding_only() {
    folded(&Case::<f32>::recorded());
    folded(&Case::<f64>::recorded());
    folded(&Case::<f32>::trained());
    folded(&Case::<f64>::trained());
}

/// Both at once, as a run has them: the released code's way against ours.
#[test]
fn the_released_way_and_the_short_one() {
    for case in [Case::<f32>::recorded(), Case::<f32>::trained()] {
        let pixels = case.differing(SHORT, RELEASED);
        println!("{}: {pixels}", case.name);
        same_but_for_rounding(&case, &pixels);
        let [(_, short), (_, released)] = [SHORT, RELEASED].map(|way| case.adversary(way));
        // An image that goes another way finds about as good an adversary there.
        assert!((short[0] / released[0] - 1.0).abs() <= 1e-3, "{}: {short:?} {released:?}", case.name);
    }
}

/// A whole run may choose either: with the target embedded in every step it ends with the same bits.
#[test]
fn a_run_is_the_same_either_way() {
    let device = Device::host().unwrap();
    let parameters = |way| {
        let run = trained::<f32>(&device, &toy(way), STEPS);
        (run.network().parameters().values().to_vec().unwrap(), run.noted(run.steps()).unwrap().to_vec().unwrap())
    };
    assert_eq!(parameters(SHORT), parameters(Way { reuse_target: false, ..SHORT }));
}

/// The median over images of the distance between two gradients of a batch.
fn per_image(found: &[f64], expected: &[f64]) -> f64 {
    let distances: Vec<f64> = found.chunks(3072).zip(expected.chunks(3072)).map(|(f, e)| relative_l2(f, e)).collect();
    median(&distances)
}

/// More pixels than a test should take: 128 images, width 16, close to initialisation and a little later. In so large a batch some
/// rectifiers open in one form only, in every step; both f32 forms are then held against the same network in f64.
#[test]
#[ignore = "minutes; the figures of docs/algebra.md"]
fn measured_on_more_pixels() {
    let mut recipe = toy(SHORT);
    (recipe.network.width, recipe.network.projection_hidden, recipe.network.projection) = (16, None, 128);
    (recipe.train.batch_size, recipe.attack.group) = (128, 0);
    for steps in [1, STEPS] {
        let case = Case::<f32>::of(recipe.clone(), steps);
        let exact = case.in_f64();
        let truth = exact.gradient(SHORT);
        let [folded, unfolded] = [SHORT, UNFOLDED].map(|way| per_image(&case.gradient(way), &truth));
        println!("{}: gradients are off by {folded:.1e} (folded), {unfolded:.1e} (not), median over images", case.name);
        // Neither rounds worse than the other.
        assert!(folded <= 2.0 * unfolded, "{}", case.name);
        let exact = exact.adversary(SHORT).0;
        let [folded, unfolded] = [SHORT, UNFOLDED].map(|way| case.adversary(way).0);
        for (what, a, b) in [("both", &folded, &unfolded), ("folded, f64", &folded, &exact), ("unfolded, f64", &unfolded, &exact)]
        {
            println!("{}, {what}: {}", case.name, Differing::between(a, b, case.step_size()));
        }
        target_embedded_once(&case);
    }
}
