//! `rocl recipe`.

use super::output::print;
use crate::Result;
use crate::recipe::Recipe;
use crate::recipe::settings::{preset, preset_names};

const EXAMPLES: &str = "\
Examples:
  rocl recipe
  rocl recipe cifar-small > mine.toml
  rocl pretrain --recipe mine.toml";

/// List the presets, or print a recipe with every key
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A preset, printed with its comments, or a TOML file, completed and checked
    #[arg(value_name = "NAME|FILE")]
    name: Option<String>,
}

/// Prints the recipe or the presets' names.
///
/// # Errors
/// Those of [`Recipe::load`].
pub fn run(args: Args) -> Result<()> {
    let Some(name) = args.name else {
        return preset_names().try_for_each(print);
    };
    let recipe = Recipe::load(&name)?;
    match preset(&name) {
        Some((_, text)) => print(text.trim_end()),
        None => print(recipe.to_toml()?.trim_end()),
    }
}
