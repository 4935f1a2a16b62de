//! `rocl bench`: one file per benchmark.

#[cfg(feature = "access")]
mod access;
mod attack;
mod compare;
mod format;
mod kernels;
mod model;
mod scaling;
mod settings;
mod step;

use crate::Result;
use clap::Subcommand;

const EXAMPLES: &str = "\
Examples:
  rocl bench step --json > step.json
  rocl bench attack --width 64 --batch-size 32
  rocl bench kernels --only conv_dgrad --shape 32×32
  rocl bench kernels --access --batch-size 8
  rocl bench model --gpu h200 --precision fp16
  rocl bench compare before.json after.json";

/// Measure what a step costs, and why
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    Step(step::Args),
    Attack(attack::Args),
    Kernels(kernels::Args),
    Model(model::Args),
    Compare(compare::Args),
}

/// Runs a benchmark.
///
/// # Errors
/// Those of the benchmark.
pub fn run(args: Args) -> Result<()> {
    match args.benchmark {
        Benchmark::Step(args) => step::run(args),
        Benchmark::Attack(args) => attack::run(args),
        Benchmark::Kernels(args) => kernels::run(args),
        Benchmark::Model(args) => model::run(args),
        Benchmark::Compare(args) => compare::run(args),
    }
}
