//! `rocl evaluate`.

use super::common::{Common, recipe_of};
use super::output::{print, print_json};
use crate::Result;
use crate::data::Split;
use crate::recipe::evaluate::{Accuracy, evaluate};
use crate::recipe::settings::{Number, Overrides};
use crate::recipe::trained::Encoder;
use crate::report::table::Table;
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::run::progress::Progress;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Hyper-parameters are the checkpoint's; --recipe takes [evaluate] from another recipe.

Examples:
  rocl evaluate --checkpoint run/checkpoint.safetensors --head run/head.safetensors
  rocl evaluate --checkpoint run/checkpoint.safetensors --head run/head.safetensors \\
                --epsilon 16/255 --json";

/// Measure clean accuracy and accuracy under PGD
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The encoder, from `rocl pretrain`
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// The classifier, from `rocl linear-eval`
    #[arg(long, value_name = "FILE")]
    head: PathBuf,
    /// Radius of the L-infinity ball, such as 8/255
    #[arg(long, value_name = "NUMBER")]
    epsilon: Option<Number>,
    /// Step size of the attack, such as 2/255
    #[arg(long, value_name = "NUMBER")]
    step_size: Option<Number>,
    /// Steps of the attack
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    #[command(flatten)]
    common: Common,
}

#[derive(serde::Serialize)]
struct Report {
    schema: u32,
    data: String,
    seed: u64,
    epsilon: String,
    step_size: String,
    steps: u32,
    #[serde(flatten)]
    accuracy: Accuracy,
}

/// Measures the accuracies.
///
/// # Errors
/// [`crate::Error::File`] for an unusable checkpoint, [`crate::Error::Usage`] for settings out of range.
pub fn run(args: Args) -> Result<()> {
    let Args { checkpoint: path, head, common, epsilon, step_size, steps } = args;
    let checkpoint = Checkpoint::load(&path, Kind::Pretrain)?;
    let head = Checkpoint::load(&head, Kind::LinearHead)?;
    let mut recipe = recipe_of(&checkpoint)?;
    if common.recipe.is_some() {
        recipe.evaluate = common.recipe_or("")?.evaluate;
    }
    let overrides = Overrides { epsilon, step_size, steps, evaluate_batch_size: common.batch_size, ..Overrides::default() };
    let settings = common.settle(recipe.with(&overrides)?, path.parent().unwrap_or(Path::new("")))?;
    let (device, data) = (settings.device()?, settings.data(Split::Test)?);
    let encoder = Encoder::<f32>::load(&device, &settings.recipe, &checkpoint)?;
    let evaluation = &settings.recipe.evaluate;
    let head = encoder.load_head(&head, data.classes.len(), evaluation.batch_size as usize)?;
    let mut progress = Progress::new("evaluate", data.len() as u64, settings.quiet);
    let accuracy = evaluate(&device, evaluation, encoder.inference(), &head, &data, settings.seed, |images| {
        progress.advance(images as u64, "");
        Ok(())
    })?;
    progress.finish();
    let (epsilon, step_size) = (evaluation.epsilon.to_string(), evaluation.step_size.to_string());
    if settings.json {
        let (seed, steps) = (settings.seed, evaluation.steps);
        return print_json(&Report { schema: 1, data: data.name, seed, epsilon, step_size, steps, accuracy });
    }
    let mut table = Table::new(["attack", "accuracy", "images"]);
    let row = |name: String, percent: f64| [name, format!("{percent:.2} %"), accuracy.n.to_string()];
    table.row(row("none".to_owned(), accuracy.clean));
    table.row(row(format!("PGD-{}, L∞ {epsilon}, step {step_size}", evaluation.steps), accuracy.pgd));
    print(table.to_string().trim_end())
}
