//! A loss of your own, with kernels of its own: alignment and uniformity (Wang & Isola 2020) in the place of NT-Xent.
//!
//! ```sh
//! cargo run --release --example own_loss            # on the CPU
//! cargo run --release --features cuda --example own_loss -- cuda
//! ```
//!
//! trains RoCL encoders on the built-in textures with either loss, fits a linear classifier on each and on an untrained one, attacks all three with
//! PGD-20, and times the loss's kernels. `loss.rs` has the loss, `../kernels/alignment_uniformity.cu` its kernels; `docs/extending.md` explains both.

mod loss;

use loss::AlignmentUniformity;
use rocl::bench::calls::{CallCost, Filter, kinds};
use rocl::bench::ceilings::Ceilings;
use rocl::bench::measure::Repetitions;
use rocl::data::{Split, textures};
use rocl::loss::EmbeddingLoss;
use rocl::own;
use rocl::recipe::Recipe;
use rocl::recipe::demo::judge;
use rocl::recipe::pretrain::{Ingredients, Pretraining};
use rocl::recipe::settings::Overrides;
use rocl::recipe::trained::Encoder;
use rocl::recipe::training::{RunOptions, Training};
use rocl::report::table::Table;
use rocl::{Device, Result, Tensor};

fn main() -> Result<()> {
    let device = if std::env::args().nth(1).as_deref() == Some("cuda") { Device::cuda(0)? } else { Device::host()? };
    let recipe = Recipe::load("demo@1")?.with(&Overrides { epochs: Some(3), ..Overrides::default() })?;
    let (train, test) =
        (textures::render(textures::SEED, Split::Train, 2000), textures::render(textures::SEED, Split::Test, 500));
    let own = |clock: &Tensor<i64>| with_own_loss(&device, &recipe, clock);

    let mut table = Table::new(["loss", "clean", "PGD-20"]);
    let mut row = |name: &str, encoder: &Encoder<f32>| -> Result<()> {
        let accuracy = judge(&device, &recipe, encoder, &train, &test)?;
        table.row([name.to_owned(), format!("{:.1} %", accuracy.clean), format!("{:.1} %", accuracy.pgd)]);
        Ok(())
    };
    row("none: untrained", &Encoder::untrained(&device, &recipe)?)?;
    row("NT-Xent", &trained("NT-Xent", Training::new(&device, &recipe, &train)?, &device, &recipe)?)?;
    let training = Training::with(&device, &recipe, &train, own)?;
    row("alignment + uniformity", &trained("alignment + uniformity", training, &device, &recipe)?)?;
    println!("\n{table}");

    println!("{}", costs(&device, &Pretraining::with(&device, &recipe, &train, own)?)?);
    Ok(())
}

/// The recipe's ingredients with the loss in three places: over all views, in what the attack increases, and in the regulariser.
fn with_own_loss(device: &Device, recipe: &Recipe, clock: &Tensor<i64>) -> Result<Ingredients<f32>> {
    let (batch, dimensions) = (recipe.train.batch_size as usize, recipe.network.projection as usize);
    let of_views = |views: usize| -> Result<Box<dyn EmbeddingLoss<f32>>> {
        Ok(Box::new(AlignmentUniformity::new(device, views * batch, dimensions)?))
    };
    Ok(Ingredients {
        loss: of_views(3)?,
        attack_loss: of_views(2)?,
        regularizer: of_views(2)?,
        ..Ingredients::new(device, recipe, clock)?
    })
}

/// Trains to the end, with log and checkpoints in a temporary folder.
fn trained(label: &str, mut training: Training<f32>, device: &Device, recipe: &Recipe) -> Result<Encoder<f32>> {
    let out = std::env::temp_dir().join("rocl-own-loss").join(label);
    training.run(&RunOptions { out, label: label.to_owned(), quiet: false })?;
    Encoder::new(device, recipe, training.pretraining().network())
}

/// What the kernels from outside cost in a step.
fn costs(device: &Device, run: &Pretraining<f32>) -> Result<Table> {
    let mut kinds = kinds(run, &Filter::default())?;
    kinds.retain(|kind| own::KERNELS.iter().any(|kernel| kernel.name == kind.call.name));
    let ceilings = Ceilings::measure::<f32>(device)?;
    let mut table = Table::new(["kernel", "shape", "a step", "µs each", "µs at least"]);
    for cost in CallCost::measure(device, &kinds, Repetitions { warmup: 2, samples: 9 }, None)? {
        let [each, least] = [cost.time.median, cost.floor(&ceilings)].map(|seconds| format!("{:.1}", seconds * 1e6));
        table.row([cost.name.to_owned(), cost.shape, cost.calls.to_string(), each, least]);
    }
    Ok(table)
}
