//! `rocl recipe` and `rocl recipes`.

use super::output::print;
use crate::Result;
use crate::recipe::Recipe;
use crate::recipe::settings::{preset, presets};
use crate::report::table::Table;

const EXAMPLES: &str = "\
A file with base = \"paper@1\" states only what it changes in that preset.

Examples:
  rocl recipes
  rocl recipe cifar-small > mine.toml
  rocl pretrain --recipe mine.toml
  rocl recipe paper-simclr --full";

/// List the presets (rocl recipes), or print a recipe
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A preset, printed with its comments, or a TOML file, completed and checked
    #[arg(value_name = "NAME|FILE")]
    name: Option<String>,
    /// Complete a preset too, without its comments
    #[arg(long, requires = "name")]
    full: bool,
}

/// Prints the recipe, or a list of the presets.
///
/// # Errors
/// Those of [`Recipe::load`].
pub fn run(args: Args) -> Result<()> {
    let Some(name) = args.name else {
        return print(list().to_string().trim_end());
    };
    let recipe = Recipe::load(&name)?;
    match preset(&name) {
        Some(preset) if !args.full => print(preset.text.trim_end()),
        _ => print(recipe.to_toml()?.trim_end()),
    }
}

/// A line for each preset.
fn list() -> Table {
    let mut table = Table::new(["preset", "command", "what it is"]);
    for preset in presets() {
        table.row([preset.name, preset.command, preset.about]);
    }
    table
}
