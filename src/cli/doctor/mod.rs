//! `rocl doctor`.

mod checks;
mod fusions;

use super::output::{print, print_json};
use crate::data::Source;
use crate::{Device, Result};
use checks::Check;

const EXAMPLES: &str = "\
Examples:
  rocl doctor
  rocl doctor --data data/cifar-10-batches-bin
  rocl doctor --json";

/// Say what this machine can do, and what to do about the rest
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// textures (the default), or a path: rocl fetch -h
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
    let mut checks = vec![checks::program(), checks::processor()];
    checks.extend(checks::memory());
    checks.extend([checks::gpu_code(), checks::kernels(), checks::driver()]);
    let (lines, gpus): (Vec<Check>, Vec<Option<Device>>) = checks::gpus().into_iter().unzip();
    let gpus: Vec<Device> = gpus.into_iter().flatten().collect();
    let device = lines.iter().find(|line| line.ok).map_or("cpu", |line| &line.name).to_owned();
    checks.extend(lines);
    checks.extend(checks::libraries());
    checks.extend(checks::overrides());
    checks.extend(fusions::fusions(&gpus));
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
