//! `rocl linear-eval`.

use super::common::{Common, Settings, data_is_known, recipe_of};
use super::output::{print, print_json};
use super::precision::in_precision;
use super::room::Job;
use crate::data::validation::Validation;
use crate::element::Element;
use crate::recipe::linear_eval::{Fit, fit_head};
use crate::recipe::rehearsal;
use crate::recipe::settings::{Overrides, Recipe};
use crate::recipe::trained::{Encoder, HEAD, save_head};
use crate::recipe::training::data_name;
use crate::run::atomic;
use crate::run::checkpoint::{Checkpoint, Kind, Meta};
use crate::run::progress::Progress;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Hyper-parameters are the checkpoint's, or [linear_eval] of --recipe.

Examples:
  rocl linear-eval --checkpoint run/checkpoint.safetensors
  rocl linear-eval --checkpoint run/checkpoint.safetensors --epochs 20";

/// Fit a linear classifier on a frozen encoder
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The encoder, from `rocl pretrain`
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Hold out training images: a fraction, or how many
    #[arg(long, value_name = "PART")]
    val: Option<Validation>,
    #[command(flatten)]
    common: Common,
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
    let Args { checkpoint: path, common, epochs, val } = args;
    let checkpoint = Checkpoint::load(&path, Kind::Pretrain)?;
    data_is_known(&common, &checkpoint)?;
    let mut recipe = recipe_of(&checkpoint)?;
    if common.recipe.is_some() {
        recipe.linear_eval = common.recipe_or("")?.linear_eval;
    }
    let overrides = Overrides { linear_epochs: epochs, ..batches(&recipe, common.batch_size) };
    let precision = common.computing.precision();
    let settings = common.settle(recipe.with(&overrides)?, path.parent().unwrap_or(Path::new("")))?;
    in_precision!(precision, T => fit::<T>(&settings, &checkpoint, val))
}

fn fit<T: Element>(settings: &Settings, checkpoint: &Checkpoint, val: Option<Validation>) -> Result<()> {
    let path = settings.out.join(HEAD);
    if path.exists() {
        return Err(Error::Usage(format!("{} is there already; choose another --out, or delete it", path.display())));
    }
    let (device, data) = (settings.device()?, settings.training_data(val)?);
    atomic::probe(&path)?;
    let linear = &settings.recipe.linear_eval;
    let needs = |batch| {
        let recipe = settings.recipe.clone().with(&batches(&settings.recipe, Some(batch)))?;
        rehearsal::linear_eval::<T>(&device, &recipe, checkpoint, &data)
    };
    settings.make_room(&device, &Job { batch_size: linear.batch_size, adjustable: true, needs: &needs })?;
    let encoder = Encoder::<T>::load_for_features(&device, &settings.recipe, checkpoint)?;
    let total = data.len() as u64 * (1 + u64::from(linear.epochs));
    let mut progress = Progress::new("linear-eval", total, settings.quiet);
    let features = encoder.features(&data, |images| {
        progress.advance(images as u64, "features");
        Ok(())
    })?;
    let head = encoder.new_head(data.classes.len(), linear.batch_size as usize, settings.seed)?;
    let fit = fit_head(&device, linear, &features, &data.labels, &head, settings.seed, |images, loss| {
        progress.advance(images as u64, format!("loss {loss:.4}"));
        Ok(())
    })?;
    progress.finish();
    let meta = Meta {
        precision: device.precision::<T>().to_owned(),
        ..Meta::new(Kind::LinearHead, settings.recipe.to_json()?, settings.seed, data_name(&data))
    };
    save_head(&head, meta, checkpoint, &path)?;
    if settings.json {
        return print_json(&Report { schema: 1, head: path, n: data.len(), fit });
    }
    let Fit { loss, train_accuracy } = fit;
    print(format!(
        "linear head on {} images: loss {loss:.4}, {train_accuracy:.1} % right in training; in {}",
        data.len(),
        path.display()
    ))
}

/// `--batch-size`: of the fit, and of the passes through the encoder, which need more memory, as far as it makes these smaller.
fn batches(recipe: &Recipe, batch_size: Option<u32>) -> Overrides {
    let evaluate_batch_size = batch_size.map(|batch| batch.min(recipe.evaluate.batch_size));
    Overrides { linear_batch_size: batch_size, evaluate_batch_size, ..Overrides::default() }
}
