//! What `rocl evaluate` prints.

use crate::Result;
use crate::bench::machine::Machine;
use crate::cli::common::recipe_of;
use crate::cli::output::{print, save_json};
use crate::recipe::accuracies::{Accuracies, Measured};
use crate::recipe::head::{HeadKind, kind_of};
use crate::recipe::per_image::Comparison;
use crate::recipe::settings::{Method, NamedAttack, Recipe};
use crate::report::statistics::Interval;
use crate::report::table::Table;
use crate::run::atomic;
use crate::run::checkpoint::Checkpoint;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The result, in the folder that --out names.
const RESULT: &str = "evaluate.json";
/// Version of its format.
pub(super) const SCHEMA: u32 = 2;

#[derive(Serialize)]
pub(super) struct Report {
    pub schema: u32,
    pub kind: &'static str,
    pub checkpoint: PathBuf,
    pub head: PathBuf,
    /// What the checkpoint was trained by, and on.
    pub trained: Trained,
    /// What the classifier was fitted on, unless it was trained with the encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitted: Option<Fitted>,
    pub data: String,
    /// Of the images' pixels, then their labels.
    pub sha256: String,
    pub machine: Machine,
    pub precision: &'static str,
    pub seed: u64,
    pub seeds: usize,
    /// Random views of each image that are classified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smooth: Option<u32>,
    #[serde(flatten)]
    pub accuracies: Accuracies,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Versus>,
}

/// Where a checkpoint is from.
#[derive(Serialize)]
pub(in crate::cli) struct Trained {
    /// The recipe's name.
    pub recipe: String,
    pub method: Method,
    pub data: String,
    /// Epochs completed.
    pub epochs: u32,
    pub seed: u64,
}

impl Trained {
    /// As the checkpoint says it.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let (Recipe { name, train, .. }, meta) = (recipe_of(checkpoint)?, &checkpoint.meta);
        Ok(Self { recipe: name, method: train.method, data: meta.data.clone(), epochs: meta.epoch, seed: meta.seed })
    }
}

/// Where a linear head is from.
#[derive(Serialize)]
pub(super) struct Fitted {
    pub head: HeadKind,
    pub data: String,
    pub epochs: u32,
    pub seed: u64,
}

impl Fitted {
    /// As its file says it; none of a head that was not fitted here.
    pub fn of(head: &Checkpoint) -> Result<Option<Self>> {
        let Some(kind) = kind_of(head) else { return Ok(None) };
        let (epochs, meta) = (recipe_of(head)?.linear_eval.epochs, &head.meta);
        Ok(Some(Self { head: kind, data: meta.data.clone(), epochs, seed: meta.seed }))
    }
}

/// Another model on the same images.
#[derive(Serialize)]
pub(super) struct Versus {
    pub checkpoint: PathBuf,
    pub comparisons: Vec<Comparison>,
}

/// Finds out whether a result can be written into `folder`.
pub(super) fn probe(folder: &Path) -> Result<()> {
    atomic::probe(&folder.join(RESULT))
}

/// Writes a result into `folder`.
pub(super) fn save(folder: &Path, report: &impl Serialize) -> Result<()> {
    save_json(&folder.join(RESULT), report)
}

/// `41.02 %`, and its interval.
pub(in crate::cli) fn cells(measured: &Measured) -> [String; 2] {
    let Interval { low, high } = measured.interval;
    [measured.shown(), format!("{low:.2} to {high:.2} %")]
}

impl Report {
    /// As a table.
    pub fn print(&self, attacks: &[NamedAttack]) -> Result<()> {
        let Accuracies { n, clean, attacks: attacked, worst_case } = &self.accuracies;
        let mut table = Table::new(["attack", "accuracy", "95 % interval", "images"]);
        let mut row = |name: String, measured: &Measured| {
            let [accuracy, interval] = cells(measured);
            table.row([name, accuracy, interval, n.to_string()]);
        };
        row("none".to_owned(), clean);
        attacks.iter().zip(attacked).for_each(|(attack, found)| row(attack.title(), &found.measured));
        if attacks.len() > 1 {
            row("the worst of these for each image".to_owned(), worst_case);
        }
        let seeds = match self.seeds {
            1 => format!("seed {}", self.seed),
            n => format!("seeds {} to {}", self.seed, self.seed.wrapping_add(n as u64 - 1)),
        };
        let smoothed = self.smooth.map_or_else(String::new, |views| format!(", mean scores of {views} random views"));
        print(format!("{table}{}, {seeds}, {}{smoothed}", self.data, self.checkpoint.display()))?;
        self.against.as_ref().map_or(Ok(()), Versus::print)
    }
}

impl Versus {
    fn print(&self) -> Result<()> {
        let mut table = Table::new(["attack", "right here only", "right there only", "p"]);
        for Comparison { attack, only_here, only_there, p } in &self.comparisons {
            table.row([attack.clone(), only_here.to_string(), only_there.to_string(), format!("{p:.2e}")]);
        }
        let there = self.checkpoint.display();
        print(format!(
            "\n{table}there: {there}; p by McNemar's exact test on the first seed: how often equally good models differ as much"
        ))
    }
}
