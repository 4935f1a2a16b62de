//! The command line: one file per subcommand, each with its arguments and a `run`.

pub mod ablate;
pub mod bench;
pub mod common;
pub mod demo;
pub mod device;
pub mod doctor;
pub mod evaluate;
pub mod fetch;
pub mod linear_eval;
pub mod output;
pub mod precision;
pub mod pretrain;
pub mod recipe;
pub mod room;
pub mod train;
mod training;
pub mod transfer;
pub mod tune;
pub mod verify;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::Result;

const EXAMPLES: &str = "\
Examples:
  rocl pretrain --data data/cifar-10-batches-bin --recipe cifar-small --out run
  rocl evaluate --data data/cifar-10-batches-bin --head run/head.safetensors \\
                --checkpoint run/checkpoint.safetensors";

/// Adversarial self-supervised contrastive learning: train, attack, measure
#[derive(Debug, Parser)]
#[command(name = "rocl", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Fetch(fetch::Args),
    Pretrain(pretrain::Args),
    #[command(alias = "slf")]
    LinearEval(linear_eval::Args),
    /// Fit a linear classifier on a frozen encoder, on adversarial images
    #[command(name = "alf", hide = true)]
    RobustLinearEval(linear_eval::Args),
    #[command(alias = "aff")]
    Finetune(train::FinetuneArgs),
    Train(train::Args),
    Evaluate(evaluate::Args),
    Transfer(transfer::Args),
    Ablate(ablate::Args),
    #[command(alias = "recipes")]
    Recipe(recipe::Args),
    Doctor(doctor::Args),
    Verify(verify::Args),
    Bench(bench::Args),
}

/// What can be said on the command line, for who wants to know without doing it.
pub fn command() -> clap::Command {
    take_negatives(Cli::command())
}

/// The command line of this process; ends it where that is help, or cannot be meant.
pub fn parse() -> Cli {
    let mut command = command();
    let matches = command.get_matches_mut();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// So that `--batch-size -1` is a wrong value of that flag, and no flag `-1`.
fn take_negatives(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| match argument.get_action().takes_values() {
            true => argument.allow_negative_numbers(true),
            false => argument,
        })
        .mut_subcommands(take_negatives)
}

/// Does what the command line asks for.
///
/// # Errors
/// Those of the subcommand; [`crate::Error::exit_code`] is the exit code of the process.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Fetch(args) => fetch::run(args),
        Command::Pretrain(args) => pretrain::run(args),
        Command::LinearEval(args) => linear_eval::run(args),
        Command::RobustLinearEval(args) => linear_eval::run(args.robust()),
        Command::Finetune(args) => train::finetune(args),
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Transfer(args) => transfer::run(args),
        Command::Ablate(args) => ablate::run(args),
        Command::Recipe(args) => recipe::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Bench(args) => bench::run(args),
    }
}
