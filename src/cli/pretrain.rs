//! `rocl pretrain`.

use super::common::{Common, Settings, recipe_of};
use super::output::{note, print, print_json};
use super::precision::in_precision;
use super::room::Job;
use super::tune::Tune;
use crate::data::validation::Validation;
use crate::element::Element;
use crate::recipe::settings::{Method, Overrides, Recipe};
use crate::recipe::training::{CHECKPOINT, Outcome, RunOptions, Training, check_resumable, duration};
use crate::recipe::{engines, rehearsal};
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::run::interrupt;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  rocl pretrain --data data/cifar-10-batches-bin --recipe cifar-small --out run
  rocl pretrain --recipe demo --method simclr --limit 4000 --out run
  rocl pretrain --data data/cifar-10-batches-bin --out run --resume";

/// Train an encoder without labels
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// rocl or simclr; the recipe's by default
    #[arg(long, value_enum, value_name = "METHOD", hide_possible_values = true)]
    method: Option<Method>,
    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Channels of the network's first stage
    #[arg(long, value_name = "N")]
    width: Option<u32>,
    /// Continue the run in --out from its last checkpoint
    #[arg(long, requires = "out")]
    resume: bool,
    #[command(flatten)]
    tune: Tune,
    /// Hold out training images: a fraction, or how many
    #[arg(long, value_name = "PART")]
    val: Option<Validation>,
    #[command(flatten)]
    common: Common,
}

#[derive(serde::Serialize)]
struct Report {
    schema: u32,
    recipe: String,
    checkpoint: PathBuf,
    #[serde(flatten)]
    outcome: Outcome,
    peak_memory_bytes: usize,
}

/// Pretrains an encoder.
///
/// # Errors
/// [`Error::Usage`] for settings out of range or a folder that holds a run already; those of [`Training::run`].
pub fn run(args: Args) -> Result<()> {
    let Args { mut common, method, epochs, width, resume, tune, val } = args;
    let out = common.out.clone().unwrap_or_else(|| "rocl-run".into());
    let path = out.join(CHECKPOINT);
    let checkpoint = started(&path, resume)?;
    let overrides = Overrides { seed: common.seed, batch_size: common.batch_size, method, epochs, width, ..Overrides::default() };
    let recipe = base(&common, checkpoint.as_ref())?.with(&overrides)?;
    if let Some(checkpoint) = &checkpoint {
        common.computing.resume(checkpoint);
    }
    let settings = common.settle(recipe, out)?;
    in_precision!(settings.computing.precision(), T => train::<T>(&settings, checkpoint.as_ref(), tune, val))
}

fn train<T: Element>(settings: &Settings, checkpoint: Option<&Checkpoint>, tune: Tune, val: Option<Validation>) -> Result<()> {
    let (out, path) = (settings.out.clone(), settings.out.join(CHECKPOINT));
    let (device, data) = (settings.device()?, settings.training_data(val)?);
    interrupt::install()?;
    let tuning = tune.start::<T>(&device)?;
    if let Some(checkpoint) = checkpoint {
        check_resumable::<T>(&device, &settings.recipe, &data, checkpoint)?;
        // Before anything is planned. Why it cannot be is said when the run goes on.
        engines::replay(&device, &checkpoint.meta);
    }
    let needs = |batch| {
        let overrides = Overrides { batch_size: Some(batch), ..Overrides::default() };
        rehearsal::pretraining::<T>(&device, &settings.recipe.clone().with(&overrides)?, &data)
    };
    let batch_size = settings.recipe.train.batch_size;
    settings.make_room(&device, &Job { batch_size, adjustable: checkpoint.is_none(), needs: &needs })?;
    let mut training = match checkpoint {
        Some(checkpoint) => Training::<T>::resume(&device, &settings.recipe, &data, checkpoint)?,
        None => Training::new(&device, &settings.recipe, &data)?,
    };
    // The device has them now.
    drop(data);
    remark(training.take_remarks());
    if training.is_finished() {
        let steps = training.steps();
        let sentence = format!("the run is finished, after {steps} steps; encoder in {}", path.display());
        return if settings.json {
            print_json(&serde_json::json!({ "schema": 1, "recipe": settings.recipe.name, "checkpoint": path, "steps": steps }))
        } else {
            print(sentence)
        };
    }
    if let Some(tuning) = tuning {
        training.keep(tuning);
    }
    let outcome = training.run(&RunOptions { out, label: settings.recipe.name.clone(), quiet: settings.quiet });
    remark(training.take_remarks());
    let outcome = outcome?;
    let (_, peak) = device.memory_use();
    if settings.json {
        let recipe = settings.recipe.name.clone();
        return print_json(&Report { schema: 1, recipe, checkpoint: path, outcome, peak_memory_bytes: peak });
    }
    print(format!(
        "{} steps in {}, {:.1} images/s, at most {}; loss {:.4}; encoder in {}",
        outcome.steps,
        duration(outcome.seconds),
        outcome.images_per_second,
        mebibytes(peak),
        outcome.losses.main,
        path.display()
    ))
}

fn remark(remarks: Vec<String>) {
    remarks.iter().for_each(|remark| note(format!("note: {remark}")));
}

fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The checkpoint to resume from, if any; a run that is there is never overwritten.
fn started(path: &Path, resume: bool) -> Result<Option<Checkpoint>> {
    match (resume, path.exists()) {
        (true, _) => Checkpoint::load(path, Kind::Pretrain).map(Some),
        (false, true) => Err(Error::Usage(format!(
            "{} holds a run already; add --resume to go on with it, or choose another --out",
            path.display()
        ))),
        (false, false) => Ok(None),
    }
}

/// The recipe named on the command line, else that of the run that is resumed, else the paper's.
fn base(common: &Common, checkpoint: Option<&Checkpoint>) -> Result<Recipe> {
    match checkpoint {
        Some(checkpoint) if common.recipe.is_none() => recipe_of(checkpoint),
        _ => common.recipe_or("paper@1"),
    }
}
