//! `rocl linear-eval`.

use std::path::{Path, PathBuf};

use super::common::{Common, recipe_of};
use crate::recipe::settings::Overrides;
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::{Error, Result};

const EXAMPLES: &str = "\
Hyper-parameters are the checkpoint's; --recipe takes [linear_eval] from another recipe.

Examples:
  rocl linear-eval --checkpoint run/checkpoint.safetensors
  rocl linear-eval --checkpoint run/checkpoint.safetensors --recipe reference --epochs 20";

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
    #[command(flatten)]
    common: Common,
}

/// Fits the classifier.
///
/// # Errors
/// [`Error::File`] for an unusable checkpoint, [`Error::Usage`] for settings out of range.
pub fn run(args: Args) -> Result<()> {
    let Args { checkpoint: path, common, epochs } = args;
    let checkpoint = Checkpoint::load(&path, Kind::Pretrain)?;
    let mut recipe = recipe_of(&checkpoint)?;
    if common.recipe.is_some() {
        recipe.linear_eval = common.recipe_or("")?.linear_eval;
    }
    let overrides = Overrides { linear_epochs: epochs, linear_batch_size: common.batch_size, ..Overrides::default() };
    let _settings = common.settle(recipe.with(&overrides)?, path.parent().unwrap_or(Path::new("")))?;
    Err(Error::Device("this build has no engine to run on; update rocl".to_owned()))
}
