//! `ablate.json`: all that is known of a grid.

use super::cell::Found;
use super::grid::{Cell, Grid};
use crate::data::{Dataset, Identity};
use crate::recipe::Recipe;
use crate::recipe::accuracies::Accuracies;
use crate::recipe::evaluate::Right;
use crate::recipe::pretrain::Losses;
use crate::recipe::settings::NamedAttack;
use crate::run::atomic;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The document, in the folder that --out names.
pub const DOCUMENT: &str = "ablate.json";
/// The plot, beside it.
pub const PLOT: &str = "ablate.svg";
const SCHEMA: u32 = 1;

/// What the cells of a folder are trained and measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    train: Identity,
    test: Identity,
}

/// What a document says besides how far its cells are.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// The grid.
    pub grid: &'a Grid,
    /// The folder of each cell.
    pub folders: &'a [String],
    /// The images.
    pub data: &'a Data,
    /// As `--precision` says it.
    pub precision: &'static str,
    /// What computes.
    pub machine: &'a Value,
}

/// A grid with what came of its cells so far.
#[derive(Serialize)]
pub struct Document<'a> {
    schema: u32,
    kind: &'static str,
    /// What all cells begin with.
    pub(super) recipe: &'a Recipe,
    pub(super) keys: &'a [String],
    pub(super) robust: bool,
    pub(super) data: &'a Data,
    precision: &'static str,
    machine: &'a Value,
    cells: Vec<CellEntry<'a>>,
    pub(super) rows: Vec<Row<'a>>,
    /// What columns of attacks are called.
    #[serde(skip)]
    pub(super) attacks: Vec<String>,
}

/// By key.
pub(super) type Values<'a> = BTreeMap<&'a str, &'a toml::Value>;

/// How far a cell is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Not begun, or interrupted.
    Pending,
    /// Ended in this sentence.
    Failed(String),
    /// Finished.
    Done(Box<Found>),
}

#[derive(Serialize)]
struct CellEntry<'a> {
    folder: &'a str,
    values: Values<'a>,
    seed: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    losses: Option<Losses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_per_step: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plain: Option<Accuracies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    robust: Option<Accuracies>,
}

/// Cells that differ in their seed only.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    pub values: Values<'a>,
    /// Of the cells that are done.
    pub seeds: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain: Option<Accuracies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robust: Option<Accuracies>,
    /// Cells that failed.
    pub failed: usize,
}

impl Data {
    /// Of the images that are trained on, and those that are measured on.
    pub fn of(train: &Dataset, test: &Dataset) -> Self {
        Self { train: train.identity(), test: test.identity() }
    }
}

/// `textures, 64 and 64 images`, with the beginning of either checksum.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sums = [&self.train, &self.test].map(|part| part.sha256.get(..8).unwrap_or_default());
        write!(f, "{}, {} and {} images ({}, {})", self.train.name, self.train.images, self.test.images, sums[0], sums[1])
    }
}

impl<'a> Document<'a> {
    /// Of a grid whose cells are in these states.
    pub fn new(about: About<'a>, states: &'a [State]) -> Self {
        let About { grid, folders, data, precision, machine } = about;
        let cells: Vec<(&Cell, &State)> = grid.cells.iter().zip(states).collect();
        let entry = |(&(cell, state), folder): (&(&'a Cell, &'a State), &'a String)| CellEntry::new(grid, cell, folder, state);
        Self {
            schema: SCHEMA,
            kind: "ablation",
            recipe: &grid.base,
            keys: &grid.keys,
            robust: grid.robust,
            data,
            precision,
            machine,
            cells: cells.iter().zip(folders).map(entry).collect(),
            rows: rows(grid, &cells),
            attacks: headings(grid),
        }
    }

    /// Writes document and plot into `folder`, in place of those that are there.
    ///
    /// # Errors
    /// [`Error::File`] when one cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(DOCUMENT);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::file(&path, format!("cannot be encoded ({error}); please report it")))?;
        atomic::write(&path, |file| file.write_all(&text))?;
        atomic::write(&folder.join(PLOT), |file| file.write_all(self.plot().to_svg().as_bytes()))
    }
}

impl<'a> CellEntry<'a> {
    fn new(grid: &Grid, cell: &'a Cell, folder: &'a str, state: &'a State) -> Self {
        let (found, error) = match state {
            State::Pending => (None, None),
            State::Failed(error) => (None, Some(error.as_str())),
            State::Done(found) => (Some(found), None),
        };
        let attacks = grid.attacks_on(cell);
        let accuracies = |right: &Right| Accuracies::new(&attacks, std::slice::from_ref(right));
        Self {
            folder,
            values: cell.values.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            seed: cell.recipe.train.seed,
            state: state.name(),
            error,
            losses: found.map(|found| found.losses),
            seconds_per_step: found.map(|found| found.seconds_per_step),
            plain: found.map(|found| accuracies(&found.plain)),
            robust: found.and_then(|found| found.robust.as_ref()).map(accuracies),
        }
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed(_) => "failed",
            Self::Done(_) => "done",
        }
    }
}

/// The cells by their values but for the seed, in the order of the grid.
fn rows<'a>(grid: &Grid, cells: &[(&'a Cell, &'a State)]) -> Vec<Row<'a>> {
    let mut groups: Vec<Vec<(&Cell, &State)>> = Vec::new();
    for &(cell, state) in cells {
        match groups.iter_mut().find(|group| group[0].0.without_seed().eq(cell.without_seed())) {
            Some(group) => group.push((cell, state)),
            None => groups.push(vec![(cell, state)]),
        }
    }
    let row = |group: Vec<(&'a Cell, &'a State)>| {
        let first = group[0].0;
        let done: Vec<(&Cell, &Found)> = group
            .iter()
            .filter_map(|(cell, state)| match state {
                State::Done(found) => Some((*cell, &**found)),
                _ => None,
            })
            .collect();
        let attacks = grid.attacks_on(first);
        let accuracies = |rights: Vec<Right>| (!rights.is_empty()).then(|| Accuracies::of_models(&attacks, &rights));
        Row {
            values: first.without_seed().map(|(key, value)| (key.as_str(), value)).collect(),
            seeds: done.iter().map(|(cell, _)| cell.recipe.train.seed).collect(),
            plain: accuracies(done.iter().map(|(_, found)| found.plain.clone()).collect()),
            robust: accuracies(done.iter().filter_map(|(_, found)| found.robust.clone()).collect()),
            failed: group.iter().filter(|(_, state)| matches!(state, State::Failed(_))).count(),
        }
    };
    groups.into_iter().map(row).collect()
}

/// What columns of attacks are called: by the attack where it is the same for all cells.
fn headings(grid: &Grid) -> Vec<String> {
    let attacks: Vec<Vec<NamedAttack>> = grid.cells.iter().map(|cell| grid.attacks_on(cell)).collect();
    match attacks.windows(2).all(|pair| pair[0] == pair[1]) {
        true => attacks.first().into_iter().flatten().map(ToString::to_string).collect(),
        false => vec!["attack of [evaluate]".to_owned()],
    }
}
