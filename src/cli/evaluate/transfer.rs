//! `rocl evaluate --transfer-from`: models under each other's adversaries.

use super::report::save;
use super::{Asked, HeldOut, has_classes_of, load, says_what_it_is_of};
use crate::bench::machine::Machine;
use crate::cli::common::recipe_of;
use crate::cli::output::{print, print_json};
use crate::data::Dataset;
use crate::element::Element;
use crate::recipe::rehearsal;
use crate::recipe::settings::Recipe;
use crate::recipe::trained::Encoder;
use crate::recipe::transfer_matrix::{Participant, transfer_matrix};
use crate::report::statistics::{Interval, wilson};
use crate::report::table::Table;
use crate::run::checkpoint::Checkpoint;
use crate::run::interrupt;
use crate::run::progress::Progress;
use crate::{Device, Error, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::str::FromStr;

/// An encoder and its head: `ENCODER:HEAD`.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    encoder: PathBuf,
    head: PathBuf,
}

impl FromStr for Pair {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((encoder, head)) if !encoder.is_empty() && !head.is_empty() => {
                Ok(Self { encoder: encoder.into(), head: head.into() })
            }
            _ => Err(Error::Usage(format!("`{text}` is no model; give an encoder and its head as ENCODER:HEAD"))),
        }
    }
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    kind: &'static str,
    data: String,
    /// Of the images' pixels, then their labels.
    sha256: String,
    machine: Machine,
    precision: &'static str,
    seed: u64,
    n: usize,
    models: Vec<String>,
    attacks: Vec<Matrix>,
}

#[derive(Serialize)]
struct Matrix {
    attack: String,
    /// By source, then by target.
    accuracy: Vec<Vec<Cell>>,
}

#[derive(Clone, Copy, Serialize)]
struct Cell {
    accuracy: f64,
    #[serde(flatten)]
    interval: Interval,
}

/// What takes part is of one device, but may be of any architecture.
fn participant<T: Element>(
    device: &Device,
    (name, recipe): (String, Recipe),
    (checkpoint, head): (&Checkpoint, &Checkpoint),
    classes: usize,
) -> Result<Participant<T>> {
    let encoder = Encoder::<T>::load(device, &recipe, checkpoint)?;
    let head = encoder.load_head(head, classes, recipe.evaluate.batch_size as usize)?;
    Ok(Participant { name, encoder, head })
}

pub(super) fn run<T: Element>(asked: &Asked, others: &[Pair], data: &Dataset, held_out: Option<&HeldOut>) -> Result<()> {
    let Asked { path, checkpoint, head, attacks, settings, out, .. } = asked;
    let (device, classes) = (settings.device()?, data.classes.len());
    let name = |path: &PathBuf| path.display().to_string();
    let this = (name(path), settings.recipe.clone());
    let other = |Pair { encoder, head }: &Pair| {
        let (checkpoint, head) = load(encoder, Some(head))?;
        held_out.map_or(Ok(()), |held_out| held_out.check(&checkpoint, &head))?;
        let mut recipe = recipe_of(&checkpoint)?;
        recipe.evaluate = settings.recipe.evaluate.clone();
        Ok((name(encoder), recipe, checkpoint, head))
    };
    let others = others.iter().map(other).collect::<Result<Vec<_>>>()?;
    let recipes: Vec<Recipe> = others.iter().map(|(_, recipe, ..)| recipe.clone()).collect();
    let held =
        others.iter().map(|(.., checkpoint, _)| checkpoint.bytes()).sum::<usize>() + checkpoint.bytes() + data.images.len();
    let once = rehearsal::one_step_each(attacks);
    asked.make_room::<T>(&device, &recipes, held, classes, |dry, models, batch| {
        transfer_matrix(dry, models, &once, data, batch, 0, |_| Ok(())).map(drop)
    })?;
    has_classes_of(head, data)?;
    says_what_it_is_of(head, data)?;
    let mut models = vec![participant::<T>(&device, this, (checkpoint, head), classes)?];
    for (name, recipe, checkpoint, head) in others {
        has_classes_of(&head, data)?;
        says_what_it_is_of(&head, data)?;
        models.push(participant(&device, (name, recipe), (&checkpoint, &head), classes)?);
    }
    interrupt::install()?;
    let total = data.len() * attacks.len() * models.len();
    let mut progress = Progress::new("transfer", total as u64, settings.quiet);
    let batch = settings.recipe.evaluate.batch_size as usize;
    let right = transfer_matrix(&device, &models, attacks, data, batch, settings.seed, |images| {
        progress.advance(images as u64, "");
        interrupt::check()
    })?;
    progress.finish();
    let n = data.len();
    let cell = |right: &usize| {
        let share = *right as f64 / n as f64;
        Cell { accuracy: 100.0 * share, interval: wilson(share, n) }
    };
    let matrices = attacks.iter().zip(&right).map(|(attack, of_attack)| Matrix {
        attack: attack.to_string(),
        accuracy: of_attack.iter().map(|of_source| of_source.iter().map(cell).collect()).collect(),
    });
    let report = Report {
        schema: 1,
        kind: "transfer",
        data: data.name.clone(),
        sha256: data.sha256(),
        machine: Machine::of(&device),
        precision: settings.computing.precision().name(),
        seed: settings.seed,
        n,
        models: models.iter().map(|model| model.name.clone()).collect(),
        attacks: matrices.collect(),
    };
    out.as_ref().map_or(Ok(()), |out| save(out, &report))?;
    if settings.json { print_json(&report) } else { report.print() }
}

impl Report {
    /// A table for each attack, in which models are numbers.
    fn print(&self) -> Result<()> {
        for Matrix { attack, accuracy } in &self.attacks {
            let targets = (0..self.models.len()).map(|target| format!("on model {}", target + 1));
            let mut table = Table::new(std::iter::once(attack.clone()).chain(targets));
            for (source, row) in accuracy.iter().enumerate() {
                let cells = row.iter().map(|cell| format!("{:.2} %", cell.accuracy));
                table.row(std::iter::once(format!("made against model {}", source + 1)).chain(cells));
            }
            print(&table)?;
        }
        let models = self.models.iter().enumerate().map(|(model, name)| format!("model {} is {name}", model + 1));
        let models = models.collect::<Vec<_>>().join(", ");
        print(format!("{} images of {}, seed {}; {models}", self.n, self.data, self.seed))
    }
}
