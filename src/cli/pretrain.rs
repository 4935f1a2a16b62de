//! `rocl pretrain`.

use super::common::Common;
use crate::recipe::settings::{Method, Overrides};
use crate::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  rocl pretrain --data cifar-10 --recipe cifar-small --out run
  rocl pretrain --recipe demo --method simclr --limit 4000 --out run
  rocl pretrain --data cifar-10 --out run --resume";

/// Train an encoder without labels
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What is learnt: rocl or simclr; the recipe's by default
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
    common: Common,
}

/// Pretrains an encoder.
///
/// # Errors
/// [`Error::Usage`] for settings out of range.
pub fn run(args: Args) -> Result<()> {
    let Args { common, method, epochs, width, resume: _ } = args;
    let overrides = Overrides { seed: common.seed, batch_size: common.batch_size, method, epochs, width, ..Overrides::default() };
    let recipe = common.recipe_or("paper@1")?.with(&overrides)?;
    let _settings = common.settle(recipe, "rocl-run")?;
    Err(Error::Device("this build has no engine to run on; update rocl".to_owned()))
}
