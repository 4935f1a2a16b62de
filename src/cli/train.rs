//! `rocl train` and `rocl finetune`: classifiers, from scratch or on a pretrained encoder.

use super::common::{Common, Settings, data_is_known, recipe_of, whole};
use super::precision::in_precision;
use super::training::{self, Job};
use super::tune::Tune;
use crate::data::validation::Validation;
use crate::element::Element;
use crate::recipe::rehearsal;
use crate::recipe::settings::{Method, Network, Overrides};
use crate::recipe::training::{CHECKPOINT, Training};
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  rocl train --data data/cifar-10-batches-bin --method trades --out trades
  rocl evaluate --data data/cifar-10-batches-bin \\
                --checkpoint trades/checkpoint.safetensors";

const FINETUNE_EXAMPLES: &str = "\
Examples:
  rocl finetune --checkpoint run/checkpoint.safetensors --method at --out at
  rocl finetune --out at --resume
  rocl evaluate --checkpoint at/checkpoint.safetensors";

/// Train a classifier with labels, from scratch
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Channels of the network's first stage
    #[arg(long, value_name = "N", value_parser = whole)]
    width: Option<u32>,
    #[command(flatten)]
    shared: Shared,
}

/// Train a pretrained encoder and a classifier with labels (AFF)
#[derive(Debug, clap::Args)]
#[command(after_help = FINETUNE_EXAMPLES)]
pub struct FinetuneArgs {
    /// The encoder; --out is finetune/ beside it by default
    #[arg(long, value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, clap::Args)]
struct Shared {
    /// ce, at, trades or at-ss: docs/methods.md
    #[arg(long, value_enum, value_name = "METHOD", hide_possible_values = true)]
    method: Option<Method>,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = whole)]
    epochs: Option<u32>,
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

/// Trains a classifier from scratch.
///
/// # Errors
/// [`Error::Usage`] for settings out of range or a folder that holds a run already; those of [`Training::run`].
pub fn run(args: Args) -> Result<()> {
    train(args.shared, args.width, None, "supervised@1", Path::new("rocl-run"))
}

/// Fine-tunes an encoder.
///
/// # Errors
/// Those of [`run`]; [`Error::File`] for an unusable encoder.
pub fn finetune(args: FinetuneArgs) -> Result<()> {
    let FinetuneArgs { checkpoint: path, shared } = args;
    let encoder = path.as_deref().map(Checkpoint::load_encoder).transpose()?;
    encoder.as_ref().map_or(Ok(()), |encoder| data_is_known(&shared.common, encoder))?;
    let beside = path.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).join("finetune");
    train(shared, None, encoder.as_ref(), "finetune@1", &beside)
}

fn train(shared: Shared, width: Option<u32>, encoder: Option<&Checkpoint>, default: &str, out: &Path) -> Result<()> {
    let Shared { method, epochs, resume, tune, val, mut common } = shared;
    let out = common.out.clone().unwrap_or_else(|| out.to_owned());
    let checkpoint = training::started(&out.join(CHECKPOINT), resume, Kind::Classifier)?;
    let overrides = Overrides { seed: common.seed, batch_size: common.batch_size, method, epochs, width, ..Overrides::default() };
    let mut recipe = training::base(&common, checkpoint.as_ref(), default)?;
    // Of the network there is one already.
    let given = encoder.or(checkpoint.as_ref()).map(recipe_of).transpose()?;
    recipe.network = given.map_or(recipe.network, |given| -> Network { given.network });
    let recipe = recipe.with(&overrides)?;
    let method = recipe.train.method;
    if !method.trains_a_classifier() {
        let name = method.name();
        return Err(Error::Usage(format!(
            "the method {name} trains no classifier; choose one of --method ce, at, trades and at-ss, or use `rocl pretrain`"
        )));
    }
    if let Some(checkpoint) = &checkpoint {
        common.computing.resume(checkpoint);
    }
    let settings = common.settle(recipe, out)?;
    let network_given = encoder.is_some();
    let job = Job { checkpoint: checkpoint.as_ref(), tune, val, unlabeled: false, network_given, trained: "classifier" };
    in_precision!(settings.computing.precision(), T => carry_out::<T>(&settings, job, encoder))
}

fn carry_out<T: Element>(settings: &Settings, job: Job, encoder: Option<&Checkpoint>) -> Result<()> {
    let (checkpoint, held) = (job.checkpoint, encoder.map_or(0, Checkpoint::bytes));
    let needs = |device: &_, recipe: &_, data: &_| rehearsal::supervised::<T>(device, recipe, data, held);
    training::carry_out::<T, _>(settings, job, needs, |device, recipe, data| match checkpoint {
        Some(checkpoint) => Training::resume_supervised(device, recipe, data, checkpoint),
        None => Training::supervised(device, recipe, data, encoder),
    })
}
