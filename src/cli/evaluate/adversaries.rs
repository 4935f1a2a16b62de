//! `rocl evaluate --adversaries`: a model on images that were made adversarial before.

use super::Asked;
use super::report::{cells, save};
use crate::bench::machine::Machine;
use crate::cli::output::{print, print_json};
use crate::element::Element;
use crate::nn::LINEAR;
use crate::recipe::accuracies::Measured;
use crate::recipe::adversaries::Adversaries;
use crate::recipe::trained::Encoder;
use crate::recipe::transfer_matrix::Participant;
use crate::report::table::Table;
use crate::run::interrupt;
use crate::run::progress::Progress;
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Report {
    schema: u32,
    kind: &'static str,
    checkpoint: PathBuf,
    head: PathBuf,
    adversaries: PathBuf,
    data: String,
    machine: Machine,
    precision: &'static str,
    n: usize,
    attacks: Vec<Set>,
    worst_case: Measured,
}

#[derive(Serialize)]
struct Set {
    attack: String,
    #[serde(flatten)]
    measured: Measured,
}

pub(super) fn run<T: Element>(asked: &Asked, file: &Path) -> Result<()> {
    let Asked { path, head_path, checkpoint, head, settings, out, .. } = asked;
    let mut adversaries = Adversaries::load(file)?;
    if let Some(limit) = settings.limit {
        adversaries.keep_first(limit);
    }
    let (device, batch) = (settings.device()?, settings.recipe.evaluate.batch_size as usize);
    let classes = head.get(&format!("{LINEAR}.bias")).and_then(|bias| bias.shape.first().copied()).unwrap_or(0);
    if let Some(label) = adversaries.labels.iter().find(|&&label| usize::from(label) >= classes) {
        let message = format!("has the label {label}, but the head tells {classes} classes apart; give a head of its data");
        return Err(Error::file(file, message));
    }
    let held = adversaries.bytes() + checkpoint.bytes();
    asked.make_room::<T>(&device, &[], held, classes, |dry, models, batch| {
        let [Participant { encoder, head, .. }] = models else { return Ok(()) };
        adversaries.right(dry, encoder.inference(), head, batch, |_| Ok(())).map(drop)
    })?;
    let encoder = Encoder::<T>::load(&device, &settings.recipe, checkpoint)?;
    let head = encoder.load_head(head, classes, batch)?;
    interrupt::install()?;
    let n = adversaries.labels.len();
    let mut progress = Progress::new("evaluate", (n * adversaries.sets.len()) as u64, settings.quiet);
    let right = adversaries.right(&device, encoder.inference(), &head, batch, |images| {
        progress.advance(images as u64, "");
        interrupt::check()
    })?;
    progress.finish();
    let always: Vec<bool> = (0..n).map(|image| right.iter().all(|set| set[image])).collect();
    let measured = |right: &[bool]| Measured::of(std::iter::once(right));
    let sets = adversaries.sets.iter().zip(&right);
    let report = Report {
        schema: 1,
        kind: "adversaries",
        checkpoint: path.clone(),
        head: head_path.clone(),
        adversaries: file.to_owned(),
        data: adversaries.data.clone(),
        machine: Machine::of(&device),
        precision: settings.computing.precision().name(),
        n,
        attacks: sets.map(|((attack, _), right)| Set { attack: attack.clone(), measured: measured(right) }).collect(),
        worst_case: measured(&always),
    };
    out.as_ref().map_or(Ok(()), |out| save(out, &report))?;
    if settings.json {
        return print_json(&report);
    }
    let mut table = Table::new(["adversaries", "accuracy", "95 % interval", "images"]);
    let mut row = |name: &str, measured: &Measured| {
        let [accuracy, interval] = cells(measured);
        table.row([name.to_owned(), accuracy, interval, n.to_string()]);
    };
    report.attacks.iter().for_each(|set| row(&set.attack, &set.measured));
    if report.attacks.len() > 1 {
        row("the worst of these for each image", &report.worst_case);
    }
    print(format!("{table}{} of {}, {}", file.display(), report.data, path.display()))
}
