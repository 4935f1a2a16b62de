//! An attack of your own, with a kernel of its own: the momentum iterative fast gradient method (MI-FGSM, Dong et al. 2018), in training and evaluation.
//!
//! ```sh
//! cargo run --release --example own_attack            # on the CPU
//! cargo run --release --features cuda --example own_attack -- cuda
//! ```
//!
//! trains RoCL encoders on the built-in textures, one on PGD's adversaries and one on those of the own attack, fits a linear classifier on each and on
//! an untrained one, and has both attacks on all three. `attack.rs` has the attack, `../kernels/momentum.cu` its kernel; `docs/extending.md` explains both.

mod attack;

use attack::Momentum;
use rocl::attack::ClassifierLoss;
use rocl::data::{Dataset, Split, textures};
use rocl::recipe::Recipe;
use rocl::recipe::evaluate::{Evaluation, share};
use rocl::recipe::linear_eval::fit_head;
use rocl::recipe::pretrain::Ingredients;
use rocl::recipe::settings::{NamedAttack, Overrides};
use rocl::recipe::trained::Encoder;
use rocl::recipe::training::{RunOptions, Training};
use rocl::report::table::Table;
use rocl::{Device, Result, Tensor};

/// Steps of the attack in evaluation; in training it has as many as the recipe says.
const STEPS: usize = 10;
/// What the paper's experiments have.
const DECAY: f64 = 1.0;

fn main() -> Result<()> {
    let device = if std::env::args().nth(1).as_deref() == Some("cuda") { Device::cuda(0)? } else { Device::host()? };
    let recipe = Recipe::load("demo@1")?.with(&Overrides { epochs: Some(3), ..Overrides::default() })?;
    let (train, test) =
        (textures::render(textures::SEED, Split::Train, 2000), textures::render(textures::SEED, Split::Test, 500));
    let own = |clock: &Tensor<i64>| with_own_attack(&device, &recipe, clock);

    let mut table = Table::new(["trained on", "clean", "PGD-20", "MI-FGSM-10"]);
    let mut row = |name: &str, encoder: &Encoder<f32>| -> Result<()> {
        let accuracies = accuracies(&device, &recipe, encoder, &train, &test)?;
        table.row(std::iter::once(name.to_owned()).chain(accuracies.map(|share| format!("{:.1} %", 100.0 * share))));
        Ok(())
    };
    row("nothing", &Encoder::untrained(&device, &recipe)?)?;
    row("PGD", &trained("PGD", Training::new(&device, &recipe, &train)?, &device, &recipe)?)?;
    row("MI-FGSM", &trained("MI-FGSM", Training::with(&device, &recipe, &train, own)?, &device, &recipe)?)?;
    println!("\n{table}");
    Ok(())
}

/// The recipe's ingredients with another attack.
fn with_own_attack(device: &Device, recipe: &Recipe, clock: &Tensor<i64>) -> Result<Ingredients<f32>> {
    let (batch, settings) = (recipe.train.batch_size as usize, &recipe.attack);
    let attack = Momentum::new(device, batch, settings.epsilon.value(), settings.steps as usize, DECAY)?;
    Ok(Ingredients { attack: Box::new(attack), ..Ingredients::new(device, recipe, clock)? })
}

/// Trains to the end, with log and checkpoints in a temporary folder.
fn trained(label: &str, mut training: Training<f32>, device: &Device, recipe: &Recipe) -> Result<Encoder<f32>> {
    let out = std::env::temp_dir().join("rocl-own-attack").join(label);
    training.run(&RunOptions { out, label: label.to_owned(), quiet: false })?;
    Encoder::new(device, recipe, training.pretraining().network())
}

/// Of a linear classifier on the encoder: clean, under the recipe's PGD, and under the own attack.
fn accuracies(device: &Device, recipe: &Recipe, encoder: &Encoder<f32>, train: &Dataset, test: &Dataset) -> Result<[f64; 3]> {
    let (evaluate, seed) = (&recipe.evaluate, recipe.train.seed);
    let batch = recipe.linear_eval.batch_size.max(evaluate.batch_size) as usize;
    let head = encoder.new_head(train.classes.len(), batch, seed)?;
    let features = encoder.features(train, |_| Ok(()))?;
    fit_head(device, &recipe.linear_eval, &features, &train.labels, &head, seed, |_, _| Ok(()))?;

    let pgd = [NamedAttack::from(evaluate)];
    let right = Evaluation::new(device, encoder.inference(), &head, test, &pgd, evaluate.batch_size as usize, seed)?
        .and(ClassifierLoss::CrossEntropy, |batch, _| Momentum::new(device, batch, evaluate.epsilon.value(), STEPS, DECAY))?
        .run(|_| Ok(()))?;
    Ok([share(&right.clean), share(&right.attacked[0]), share(&right.attacked[1])])
}
