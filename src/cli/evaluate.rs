//! `rocl evaluate`.

use std::path::{Path, PathBuf};

use super::common::{Common, recipe_of};
use crate::recipe::settings::{Number, Overrides};
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::{Error, Result};

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

/// Measures the accuracies.
///
/// # Errors
/// [`Error::File`] for an unusable checkpoint, [`Error::Usage`] for settings out of range.
pub fn run(args: Args) -> Result<()> {
    let Args { checkpoint: path, head, common, epsilon, step_size, steps } = args;
    let checkpoint = Checkpoint::load(&path, Kind::Pretrain)?;
    let _head = Checkpoint::load(&head, Kind::LinearHead)?;
    let mut recipe = recipe_of(&checkpoint)?;
    if common.recipe.is_some() {
        recipe.evaluate = common.recipe_or("")?.evaluate;
    }
    let overrides = Overrides { epsilon, step_size, steps, evaluate_batch_size: common.batch_size, ..Overrides::default() };
    let _settings = common.settle(recipe.with(&overrides)?, path.parent().unwrap_or(Path::new("")))?;
    Err(Error::Device("this build has no engine to run on; update rocl".to_owned()))
}
