//! `rocl linear-eval`.

use super::common::{Common, Settings, data_is_known, recipe_of, whole};
use super::output::{counted, print, print_json};
use super::precision::in_precision;
use super::room::{Job, Leeway};
use crate::data::validation::Validation;
use crate::element::Element;
use crate::recipe::head::{HeadJob, HeadKind, stage};
use crate::recipe::linear_eval::Fit;
use crate::recipe::rehearsal;
use crate::recipe::settings::{Overrides, Recipe};
use crate::recipe::trained::HEAD;
use crate::run::checkpoint::Checkpoint;
use crate::run::progress::Progress;
use crate::run::{atomic, interrupt};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Hyper-parameters are the checkpoint's, or [linear_eval] of --recipe and, for
the attack of --robust, its [supervised].

Examples:
  rocl linear-eval --checkpoint run/checkpoint.safetensors
  rocl linear-eval --checkpoint run/checkpoint.safetensors --robust --out robust";

/// Fit a classifier on a frozen encoder (SLF; with --robust ALF)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The encoder, from `rocl pretrain`
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Fit it on images attacked through encoder and head
    #[arg(long)]
    robust: bool,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = whole)]
    epochs: Option<u32>,
    /// Hold out training images: a fraction, or how many
    #[arg(long, value_name = "PART")]
    val: Option<Validation>,
    #[command(flatten)]
    common: Common,
}

impl Args {
    /// The same with `--robust`.
    pub(super) fn robust(self) -> Self {
        Self { robust: true, ..self }
    }
}

#[derive(serde::Serialize)]
struct Report {
    schema: u32,
    head: PathBuf,
    n: usize,
    #[serde(flatten)]
    fit: Fit,
}

/// Fits the classifier.
///
/// # Errors
/// [`crate::Error::File`] for an unusable checkpoint, [`crate::Error::Usage`] for settings out of range.
pub fn run(args: Args) -> Result<()> {
    let Args { checkpoint: path, robust, common, epochs, val } = args;
    let checkpoint = Checkpoint::load_encoder(&path)?;
    data_is_known(&common, &checkpoint)?;
    let mut recipe = recipe_of(&checkpoint)?;
    if common.recipe.is_some() {
        Recipe { linear_eval: recipe.linear_eval, supervised: recipe.supervised, .. } = common.recipe_or("")?;
    }
    let overrides = Overrides { linear_epochs: epochs, ..batches(&recipe, common.batch_size) };
    let precision = common.computing.precision();
    let settings = common.settle(recipe.with(&overrides)?, path.parent().unwrap_or(Path::new("")))?;
    let kind = if robust { HeadKind::Robust } else { HeadKind::Plain };
    in_precision!(precision, T => fit::<T>(&settings, &checkpoint, val, kind))
}

fn fit<T: Element>(settings: &Settings, checkpoint: &Checkpoint, val: Option<Validation>, kind: HeadKind) -> Result<()> {
    let path = settings.out.join(HEAD);
    if path.exists() {
        return Err(Error::Usage(format!("{} is there already; choose another --out, or delete it", path.display())));
    }
    let (device, data) = (settings.device()?, settings.training_data(val)?);
    atomic::probe(&path)?;
    let recipe = &settings.recipe;
    let job = HeadJob { device: &device, recipe, encoder: checkpoint, data: &data, kind, seed: settings.seed };
    let needs = |batch| {
        let recipe = in_batches(recipe, batch)?;
        rehearsal::head::<T>(&HeadJob { recipe: &recipe, ..job })
    };
    settings.make_room(&device, &Job { batch_size: recipe.linear_eval.batch_size, leeway: Leeway::Batch, needs: &needs })?;
    interrupt::install()?;
    let passes = kind.passes(&recipe.linear_eval);
    let mut progress = Progress::new("linear-eval", data.len() as u64 * passes, settings.quiet);
    let (head, fit) = job.run::<T>(|images, loss| {
        progress.advance(images as u64, stage(loss));
        interrupt::check()
    })?;
    progress.finish();
    head.save(&path)?;
    if settings.json {
        return print_json(&Report { schema: 1, head: path, n: data.len(), fit });
    }
    let Fit { loss, train_accuracy } = fit;
    print(format!(
        "linear head on {}: loss {loss:.4}, {train_accuracy:.1} % right in training; in {}",
        counted(data.len() as u64, "image"),
        path.display()
    ))
}

/// `--batch-size`: of the fit, and of the other passes through the encoder, which need more memory, as far as it makes these smaller.
pub(super) fn batches(recipe: &Recipe, batch_size: Option<u32>) -> Overrides {
    let evaluate_batch_size = batch_size.map(|batch| batch.min(recipe.evaluate.batch_size));
    Overrides { linear_batch_size: batch_size, evaluate_batch_size, ..Overrides::default() }
}

/// The recipe with another batch size, as `--batch-size` gives it one; with its own, as it is.
pub(super) fn in_batches(recipe: &Recipe, batch: u32) -> Result<Recipe> {
    let changed = batch != recipe.linear_eval.batch_size;
    recipe.clone().with(&batches(recipe, changed.then_some(batch)))
}
