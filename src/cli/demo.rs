//! `rocl demo`.

use super::common::Common;
use crate::recipe::settings::Overrides;
use crate::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  rocl demo
  rocl demo --out demo --seed 1 --json";

/// Train SimCLR and RoCL on textures, attack both, compare; takes minutes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Passes over the training images, per method
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Channels of the network's first stage
    #[arg(long, value_name = "N")]
    width: Option<u32>,
    #[command(flatten)]
    common: Common,
}

/// Runs the demonstration.
///
/// # Errors
/// [`Error::Usage`] for settings out of range.
pub fn run(args: Args) -> Result<()> {
    let Args { common, epochs, width } = args;
    let overrides = Overrides { seed: common.seed, batch_size: common.batch_size, epochs, width, ..Overrides::default() };
    let recipe = common.recipe_or("demo@1")?.with(&overrides)?;
    let _settings = common.settle(recipe, "rocl-demo")?;
    Err(Error::Device("this build has no engine to run on; update rocl".to_owned()))
}
