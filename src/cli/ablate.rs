//! `rocl ablate`.

use super::common::{Common, Computing, Settings, at_least_one};
use super::output::{note, print, print_json};
use super::precision::in_precision;
use crate::bench::machine::Machine;
use crate::data::validation::Validation;
use crate::data::{Source, Split};
use crate::element::Element;
use crate::recipe::ablation::cell::Task;
use crate::recipe::ablation::document::{About, DOCUMENT, Data, Document, PLOT, State};
use crate::recipe::ablation::{Cell, Grid, study};
use crate::recipe::head::HeadKind;
use crate::recipe::rehearsal;
use crate::recipe::settings::NamedAttack;
use crate::run::interrupt;
use crate::{Error, Result};
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Each cell is pretrained, given a linear head and attacked, in a folder of its
own; ablate.json and ablate.svg have the results (docs/ablations.md).

Examples:
  rocl ablate examples/grids/lambda.toml --out lambda
  rocl ablate examples/grids/lambda.toml --out lambda --resume";

/// Run a grid of recipes: one row for each combination of values
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The grid: a recipe, and lists of values of its keys
    #[arg(value_name = "GRID.toml")]
    grid: PathBuf,
    /// textures (the default), or a path: rocl fetch -h
    #[arg(long, value_name = "DATA")]
    data: Option<Source>,
    /// Folder for all results
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on in --out; cells that are done stay as they are
    #[arg(long, requires = "out")]
    resume: bool,
    /// Measure on training images that are held out instead
    #[arg(long, value_name = "PART")]
    val: Option<Validation>,
    /// Use only the first N images of each split
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<NonZeroUsize>,
    #[command(flatten)]
    computing: Computing,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the grid.
///
/// # Errors
/// [`Error::Usage`] for a grid that cannot be meant or a folder that holds another; [`Error::Interrupted`] after a requested stop; [`Error::Numeric`] when
/// cells failed, after all others.
pub fn run(args: Args) -> Result<()> {
    let Args { grid, data, out, resume, val, limit, computing, json, quiet } = args;
    let grid = Grid::load(&grid)?;
    let out = out.unwrap_or_else(|| "rocl-ablate".into());
    let document = out.join(DOCUMENT);
    match (document.exists(), resume) {
        (true, false) => {
            let out = out.display();
            return Err(Error::Usage(format!(
                "{out} holds an ablation already; add --resume to go on with it, or choose another --out"
            )));
        }
        (false, true) => return Err(Error::file(document, "there is no such ablation; leave out --resume to begin one")),
        _ => {}
    }
    let common =
        Common { data, out: None, recipe: None, computing, seed: None, batch_size: None, limit, json, quiet, verbose: false };
    let settings = common.settle(grid.base.clone(), out)?;
    in_precision!(settings.computing.precision(), T => carry_out::<T>(&settings, &grid, val, resume))
}

fn carry_out<T: Element>(settings: &Settings, grid: &Grid, val: Option<Validation>, resume: bool) -> Result<()> {
    let (device, out, precision) = (settings.device()?, &settings.out, settings.computing.precision().name());
    let (train, test) = match val {
        Some(validation) => validation.split(&settings.data(Split::Train)?)?,
        None => (settings.data(Split::Train)?, settings.data(Split::Test)?),
    };
    NamedAttack::check_classes(&grid.attacks, test.classes.len())?;
    let data = Data::of(&train, &test);
    if resume {
        study::check_same(out, &data, precision)?;
    }
    interrupt::install()?;
    let (folders, count) = (study::folders(out, &grid.cells), grid.cells.len());
    let task = |(place, (cell, folder)): (usize, (&Cell, &String))| Task {
        folder: out.join(folder),
        attacks: grid.attacks_on(cell),
        kinds: if grid.robust { &HeadKind::ALL } else { &[HeadKind::Plain] },
        label: format!("[{}/{count}]", place + 1),
        quiet: settings.quiet,
        recipe: cell.recipe.clone(),
    };
    let tasks: Vec<Task> = grid.cells.iter().zip(&folders).enumerate().map(task).collect();
    let found = |task: &Task| task.found(&test).map_or(State::Pending, |found| State::Done(Box::new(found)));
    let mut states: Vec<State> = tasks.iter().map(found).collect();
    let open: Vec<usize> = (0..count).filter(|&place| states[place] == State::Pending).collect();
    let needs = |&place: &usize| {
        let (Task { recipe, attacks, kinds, .. }, name) = (&tasks[place], named(&grid.cells[place]));
        match rehearsal::ablated::<T>(&device, recipe, &train, &test, attacks, kinds) {
            Ok(needs) => Ok((name, needs)),
            Err(Error::Usage(message)) => Err(Error::Usage(format!("{name}: {message}"))),
            Err(error) => Err(error),
        }
    };
    settings.computing.make_room_for_all(&device, &open.iter().map(needs).collect::<Result<Vec<_>>>()?, settings.quiet)?;

    let machine = serde_json::to_value(Machine::of(&device))
        .map_err(|error| Error::Device(format!("the machine has no description ({error}); please report it")))?;
    let about = About { grid, folders: &folders, data: &data, precision, machine: &machine };
    Document::new(about, &states).save(out)?;
    for place in open {
        let done = interrupt::check().and_then(|()| tasks[place].run::<T>(&device, &train, &test));
        states[place] = match done {
            Ok(found) => State::Done(Box::new(found)),
            Err(Error::Interrupted(_)) => {
                let done = states.iter().filter(|state| matches!(state, State::Done(_))).count();
                return Err(Error::Interrupted(format!("stopped; {done} of {count} cells are done, and --resume goes on")));
            }
            Err(error) => {
                note(format!("{}: {error}", named(&grid.cells[place])));
                State::Failed(error.to_string())
            }
        };
        Document::new(about, &states).save(out)?;
    }

    let document = Document::new(about, &states);
    if settings.json {
        print_json(&document)?;
    } else {
        let (table, path) = (document.table(), |name| out.join(name).display().to_string());
        print(format!("{table}{data}; everything is in {}, a plot in {}", path(DOCUMENT), path(PLOT)))?;
    }
    match states.iter().filter(|state| matches!(state, State::Failed(_))).count() {
        0 => Ok(()),
        failed => Err(Error::Numeric(format!(
            "{failed} of {count} cells failed; {} says why, and --resume tries them again",
            out.join(DOCUMENT).display()
        ))),
    }
}

/// For messages.
fn named(cell: &Cell) -> String {
    format!("cell {}", cell.name())
}
