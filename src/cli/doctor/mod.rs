//! `rocl doctor`.

mod checks;
mod fusions;

use super::output::{print, print_json};
use crate::Result;
use crate::data::Source;
use checks::Check;

const EXAMPLES: &str = "\
Examples:
  rocl doctor
  rocl doctor --data data/cifar-10-batches-bin
  rocl doctor --json";

/// Say what this program and this machine can do, and what to do about the rest
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images to look at: `textures` (built in, the default), or a path: see `rocl fetch --help`
    #[arg(long, value_name = "DATA", default_value = "textures")]
    data: Source,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Report {
    schema: u32,
    version: &'static str,
    /// What `--device auto` takes.
    device: String,
    checks: Vec<Check>,
}

/// Looks at everything. What is missing is part of the answer, not a failure.
///
/// # Errors
/// Only those of printing.
pub fn run(args: Args) -> Result<()> {
    let mut checks = vec![checks::program(), checks::processor(), checks::gpu_code(), checks::kernels(), checks::driver()];
    let gpus = checks::gpus();
    let device = gpus.iter().find(|gpu| gpu.ok).map_or("cpu", |gpu| &gpu.name).to_owned();
    let usable: Vec<usize> =
        gpus.iter().filter(|gpu| gpu.ok).filter_map(|gpu| gpu.name.strip_prefix("cuda:")?.parse().ok()).collect();
    checks.extend(gpus);
    checks.extend(checks::libraries());
    checks.extend(checks::overrides());
    checks.extend(fusions::fusions(&usable));
    checks.extend([checks::data(&args.data), checks::recipes()]);
    if args.json {
        return print_json(&Report { schema: 1, version: env!("CARGO_PKG_VERSION"), device, checks });
    }
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    for Check { name, ok, text } in &checks {
        print(format!("{}  {name:width$}  {text}", if *ok { "ok" } else { "no" }))?;
    }
    print(format!("\nWithout --device, commands compute on {device}."))
}
