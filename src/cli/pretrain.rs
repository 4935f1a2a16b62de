//! `rocl pretrain`.

use super::common::{Common, Settings, whole};
use super::precision::in_precision;
use super::training::{self, Job};
use super::tune::Tune;
use crate::data::validation::Validation;
use crate::element::Element;
use crate::recipe::rehearsal;
use crate::recipe::settings::{Method, Overrides};
use crate::recipe::training::{CHECKPOINT, Training};
use crate::run::checkpoint::Kind;
use crate::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  rocl pretrain --data data/cifar-10-batches-bin --recipe cifar-small --out run
  rocl pretrain --data data/cifar-10-batches-bin --out run --resume";

/// Train an encoder by contrast, without labels but for scl
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// rocl, simclr or scl; the recipe's by default
    #[arg(long, value_enum, value_name = "METHOD", hide_possible_values = true)]
    method: Option<Method>,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = whole)]
    epochs: Option<u32>,
    /// Channels of the network's first stage
    #[arg(long, value_name = "N", value_parser = whole)]
    width: Option<u32>,
    /// Continue the run in --out from its last checkpoint
    #[arg(long, requires = "out")]
    resume: bool,
    #[command(flatten)]
    tune: Tune,
    /// Hold out training images: a fraction, or how many
    #[arg(long, value_name = "PART")]
    val: Option<Validation>,
    /// Add the images without labels, which STL-10 has
    #[arg(long, conflicts_with = "val")]
    unlabeled: bool,
    #[command(flatten)]
    common: Common,
}

/// Pretrains an encoder.
///
/// # Errors
/// [`Error::Usage`] for settings out of range or a folder that holds a run already; those of [`Training::run`].
pub fn run(args: Args) -> Result<()> {
    let Args { mut common, method, epochs, width, resume, tune, val, unlabeled } = args;
    let out = common.out.clone().unwrap_or_else(|| "rocl-run".into());
    let checkpoint = training::started(&out.join(CHECKPOINT), resume, Kind::Pretrain)?;
    let overrides = Overrides { seed: common.seed, batch_size: common.batch_size, method, epochs, width, ..Overrides::default() };
    let recipe = training::base(&common, checkpoint.as_ref(), "paper@1")?.with(&overrides)?;
    let method = recipe.train.method;
    if method.trains_a_classifier() {
        let name = method.name();
        return Err(Error::Usage(format!(
            "--method {name} trains a classifier; use `rocl train --method {name}`, or choose rocl, simclr or scl"
        )));
    }
    if unlabeled && method == Method::Scl {
        return Err(Error::Usage(
            "--method scl learns from labels, which --unlabeled images lack; leave one of the two out".to_owned(),
        ));
    }
    if let Some(checkpoint) = &checkpoint {
        common.computing.resume(checkpoint);
    }
    let settings = common.settle(recipe, out)?;
    let job = Job { checkpoint: checkpoint.as_ref(), tune, val, unlabeled, network_given: false, trained: "encoder" };
    in_precision!(settings.computing.precision(), T => train::<T>(&settings, job))
}

fn train<T: Element>(settings: &Settings, job: Job) -> Result<()> {
    let checkpoint = job.checkpoint;
    training::carry_out::<T, _>(settings, job, rehearsal::pretraining::<T>, |device, recipe, data| match checkpoint {
        Some(checkpoint) => Training::resume(device, recipe, data, checkpoint),
        None => Training::new(device, recipe, data),
    })
}
