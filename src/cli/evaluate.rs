//! `rocl evaluate`.

use super::common::{Common, Settings, data_is_known, recipe_of};
use super::output::{print, print_json};
use super::precision::in_precision;
use super::room::Job;
use crate::data::{Dataset, Split};
use crate::element::Element;
use crate::nn::LINEAR;
use crate::recipe::evaluate::{Accuracy, evaluate};
use crate::recipe::rehearsal;
use crate::recipe::settings::{Number, Overrides};
use crate::recipe::trained::{ENCODER, Encoder};
use crate::report::table::Table;
use crate::run::atomic;
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::run::progress::Progress;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The result, in the folder that --out names.
const RESULT: &str = "evaluate.json";

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
    checkpoint: PathBuf,
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
    fitted_on(&head, &checkpoint)?;
    data_is_known(&common, &checkpoint)?;
    let out = common.out.clone();
    let mut recipe = recipe_of(&checkpoint)?;
    if common.recipe.is_some() {
        recipe.evaluate = common.recipe_or("")?.evaluate;
    }
    // The step follows the radius unless it is given too.
    let step_size = step_size.or(epsilon.map(Number::tenth));
    let overrides = Overrides { epsilon, step_size, steps, evaluate_batch_size: common.batch_size, ..Overrides::default() };
    let precision = common.computing.precision();
    let settings = common.settle(recipe.with(&overrides)?, path.parent().unwrap_or(Path::new("")))?;
    let (data, evaluation) = (settings.data(Split::Test)?, &settings.recipe.evaluate);
    let accuracy = in_precision!(precision, T => measure::<T>(&settings, &checkpoint, &head, &data))?;
    let report = Report {
        schema: 1,
        checkpoint: path,
        data: data.name,
        seed: settings.seed,
        epsilon: evaluation.epsilon.to_string(),
        step_size: evaluation.step_size.to_string(),
        steps: evaluation.steps,
        accuracy,
    };
    if let Some(out) = out {
        let text = serde_json::to_vec_pretty(&report)
            .map_err(|error| Error::Numeric(format!("the accuracies have no JSON form ({error}); leave out --out")))?;
        atomic::write(&out.join(RESULT), |file| file.write_all(&text))?;
    }
    if settings.json {
        return print_json(&report);
    }
    let mut table = Table::new(["attack", "accuracy", "images"]);
    let row = |name: String, percent: f64| [name, format!("{percent:.2} %"), accuracy.n.to_string()];
    table.row(row("none".to_owned(), accuracy.clean));
    table.row(row(format!("PGD-{}, L∞ {}, step {}", report.steps, report.epsilon, report.step_size), accuracy.pgd));
    print(format!("{table}{}, seed {}, {}", report.data, report.seed, report.checkpoint.display()))
}

fn measure<T: Element>(settings: &Settings, checkpoint: &Checkpoint, head: &Checkpoint, data: &Dataset) -> Result<Accuracy> {
    let (device, evaluation) = (settings.device()?, &settings.recipe.evaluate);
    let needs = |batch| {
        let overrides = Overrides { evaluate_batch_size: Some(batch), ..Overrides::default() };
        rehearsal::evaluation::<T>(&device, &settings.recipe.clone().with(&overrides)?, checkpoint, data)
    };
    settings.make_room(&device, &Job { batch_size: evaluation.batch_size, adjustable: true, needs: &needs })?;
    let encoder = Encoder::<T>::load(&device, &settings.recipe, checkpoint)?;
    has_classes_of(head, data)?;
    let head = encoder.load_head(head, data.classes.len(), evaluation.batch_size as usize)?;
    let mut progress = Progress::new("evaluate", data.len() as u64, settings.quiet);
    let accuracy = evaluate(&device, evaluation, encoder.inference(), &head, data, settings.seed, |images| {
        progress.advance(images as u64, "");
        Ok(())
    })?;
    progress.finish();
    Ok(accuracy)
}

/// A head of CIFAR-10 has nothing to say about CIFAR-100.
fn has_classes_of(head: &Checkpoint, data: &Dataset) -> Result<()> {
    let (fitted, classes) = (head.get(&format!("{LINEAR}.bias")).map(|bias| bias.shape.clone()), data.classes.len());
    match fitted.as_deref() {
        // What else is wrong with it is said where it is loaded.
        Some(&[fitted]) if fitted != classes => Err(Error::Usage(format!(
            "the head tells {fitted} classes apart, but {} has {classes}; give the --data that it was fitted on",
            data.name
        ))),
        _ => Ok(()),
    }
}

/// A head says which encoder it was fitted on; one that was imported does not.
fn fitted_on(head: &Checkpoint, encoder: &Checkpoint) -> Result<()> {
    if head.get(ENCODER).is_some() && head.i64(ENCODER, &[1])? != [encoder.digest()] {
        return Err(Error::Usage(
            "the head was fitted on another encoder; fit one on this encoder with `rocl linear-eval`".to_owned(),
        ));
    }
    Ok(())
}
