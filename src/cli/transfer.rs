//! `rocl transfer`.

use super::common::{Common, Settings, data_is_known, recipe_of, whole};
use super::evaluate::report::{Trained, cells};
use super::evaluate::{at_least_one, may_have_seen};
use super::linear_eval::{batches, in_batches};
use super::output::{note, print, print_json, save_json};
use super::precision::in_precision;
use super::room::{Job, Leeway};
use crate::bench::machine::Machine;
use crate::data::validation::Validation;
use crate::data::{Dataset, Identity, Split};
use crate::element::Element;
use crate::recipe::accuracies::{Accuracies, Measured};
use crate::recipe::head::{HeadKind, stage};
use crate::recipe::linear_eval::Fit;
use crate::recipe::rehearsal;
use crate::recipe::settings::{NamedAttack, Overrides, Recipe};
use crate::recipe::transfer::Transfer;
use crate::report::table::Table;
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::run::progress::Progress;
use crate::run::{atomic, interrupt};
use crate::{Device, Error, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  rocl transfer --checkpoint run/checkpoint.safetensors \\
                --data data/cifar-100-binary";

/// The result, in the folder that --out names.
const RESULT: &str = "transfer.json";

/// Fit plain and robust heads of other data on an encoder; attack them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The encoder; --out is transfer/ beside it by default
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// One head alone: plain or robust
    #[arg(long, value_enum, value_name = "HEAD", hide_possible_values = true)]
    only: Option<Only>,
    /// Attacks instead of the recipe's, as `rocl evaluate` has them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    attack: Vec<NamedAttack>,
    /// Attack with N seeds, from --seed on, and average
    #[arg(long, value_name = "N", value_parser = whole, default_value_t = 1, hide_default_value = true)]
    seeds: u32,
    /// Passes of the fits over the training images
    #[arg(long, value_name = "N", value_parser = whole)]
    epochs: Option<u32>,
    /// Hold out training images, and measure on them
    #[arg(long, value_name = "PART")]
    val: Option<Validation>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Only {
    Plain,
    Robust,
}

/// `transfer.json`.
#[derive(Serialize)]
struct Report {
    schema: u32,
    kind: &'static str,
    checkpoint: PathBuf,
    /// What the encoder was trained by, and on.
    trained: Trained,
    /// What the heads are fitted on.
    train: Identity,
    /// What they are measured on.
    test: Identity,
    machine: Machine,
    precision: &'static str,
    seed: u64,
    seeds: u32,
    heads: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    head: HeadKind,
    file: PathBuf,
    /// What the fit reached, unless the head was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    fit: Option<Fit>,
    #[serde(flatten)]
    accuracies: Accuracies,
}

/// Fits the heads and measures them.
///
/// # Errors
/// [`Error::File`] for an unusable encoder, [`Error::Usage`] for settings out of range or an --out with other heads in it.
pub fn run(args: Args) -> Result<()> {
    let Args { checkpoint: path, only, attack, seeds, epochs, val, common } = args;
    let checkpoint = Checkpoint::load_encoder(&path)?;
    data_is_known(&common, &checkpoint)?;
    let mut recipe = recipe_of(&checkpoint)?;
    if common.recipe.is_some() {
        Recipe { linear_eval: recipe.linear_eval, supervised: recipe.supervised, evaluate: recipe.evaluate, .. } =
            common.recipe_or("")?;
    }
    let overrides = Overrides { linear_epochs: epochs, ..batches(&recipe, common.batch_size) };
    let precision = common.computing.precision();
    let settings = common.settle(recipe.with(&overrides)?, path.parent().unwrap_or(Path::new("")).join("transfer"))?;
    let attacks = if attack.is_empty() { vec![NamedAttack::from(&settings.recipe.evaluate)] } else { attack };
    NamedAttack::all_different(&attacks)?;
    at_least_one("--seeds", seeds)?;
    if let Some(attack) = attacks.iter().find(|attack| attack.expectation) {
        return Err(Error::Usage(format!(
            "attack `{attack}` goes through random views, which no head here has; attack it by `rocl evaluate --smooth`"
        )));
    }
    let kinds = match only {
        None => HeadKind::ALL.to_vec(),
        Some(Only::Plain) => vec![HeadKind::Plain],
        Some(Only::Robust) => vec![HeadKind::Robust],
    };
    atomic::probe(&settings.out.join(RESULT))?;
    let (train, test) = images(&settings, val)?;
    NamedAttack::check_classes(&attacks, test.classes.len())?;
    if val.is_some() {
        may_have_seen(&checkpoint, &train);
    }
    let device = settings.device()?;
    let heads =
        in_precision!(precision, T => transfer::<T>(&settings, &device, &checkpoint, &kinds, [&train, &test], &attacks, seeds))?;
    let report = Report {
        schema: 1,
        kind: "heads",
        checkpoint: path,
        trained: Trained::of(&checkpoint)?,
        train: train.identity(),
        test: test.identity(),
        machine: Machine::of(&device),
        precision: precision.name(),
        seed: settings.seed,
        seeds,
        heads,
    };
    save_json(&settings.out.join(RESULT), &report)?;
    if settings.json { print_json(&report) } else { report.print() }
}

/// What heads are fitted on, and what they are measured on.
fn images(settings: &Settings, held_out: Option<Validation>) -> Result<(Dataset, Dataset)> {
    let train = settings.data(Split::Train)?;
    match held_out {
        Some(validation) => validation.split(&train),
        None => Ok((train, settings.data(Split::Test)?)),
    }
}

fn transfer<T: Element>(
    settings: &Settings,
    device: &Device,
    encoder: &Checkpoint,
    kinds: &[HeadKind],
    [train, test]: [&Dataset; 2],
    attacks: &[NamedAttack],
    seeds: u32,
) -> Result<Vec<Row>> {
    interrupt::install()?;
    let recipe = &settings.recipe;
    let transfer = Transfer { device, recipe, encoder, train, test, attacks, seed: settings.seed, seeds };
    let file = |kind: HeadKind| settings.out.join(format!("{}.safetensors", kind.name()));
    let mut there = Vec::new();
    for &kind in kinds {
        let path = file(kind);
        let head = path.exists().then(|| Checkpoint::load(&path, Kind::LinearHead)).transpose()?;
        head.as_ref().map_or(Ok(()), |head| transfer.head(kind).check_is::<T>(&path, head))?;
        there.push((kind, path, head));
    }
    let missing: Vec<HeadKind> = there.iter().filter(|(.., head)| head.is_none()).map(|(kind, ..)| *kind).collect();
    let needs = |batch| {
        let recipe = in_batches(recipe, batch)?;
        rehearsal::transfer::<T>(&Transfer { recipe: &recipe, ..transfer }, &missing)
    };
    settings.make_room(device, &Job { batch_size: recipe.linear_eval.batch_size, leeway: Leeway::Batch, needs: &needs })?;
    let go_on = || match interrupt::requested() {
        true => Err(Error::Interrupted(format!(
            "stopped; heads that are fitted stay in {}, and the same command goes on with them",
            settings.out.display()
        ))),
        false => Ok(()),
    };
    let mut rows = Vec::new();
    for (kind, file, head) in there {
        let name = kind.name();
        let (head, fit) = match head {
            Some(head) => {
                note(format!("the {name} head is there already, in {}", file.display()));
                (head, None)
            }
            None => {
                let total = train.len() as u64 * kind.passes(&recipe.linear_eval);
                let mut progress = Progress::new(format!("{name} head"), total, settings.quiet);
                let (head, fit) = transfer.head(kind).run::<T>(|images, loss| {
                    progress.advance(images as u64, stage(loss));
                    go_on()
                })?;
                progress.finish();
                head.save(&file)?;
                (head, Some(fit))
            }
        };
        let mut progress = Progress::new(format!("{name} head, attacked"), transfer.attacked_images(), settings.quiet);
        let right = transfer.measure::<T>(&head, |images| {
            progress.advance(images as u64, "");
            go_on()
        })?;
        progress.finish();
        rows.push(Row { head: kind, file, fit, accuracies: Accuracies::new(attacks, &right) });
    }
    Ok(rows)
}

impl Report {
    /// As a table: a head's accuracies in a row, and their intervals in the next.
    fn print(&self) -> Result<()> {
        let names = |row: &Row| row.accuracies.attacks.iter().map(|found| found.attack.clone()).collect::<Vec<_>>();
        let attacks = self.heads.first().map_or_else(Vec::new, names);
        let worst = (attacks.len() > 1).then(|| "worst case".to_owned());
        let mut table = Table::new(["head", "clean"].map(str::to_owned).into_iter().chain(attacks).chain(worst));
        for Row { head, accuracies: Accuracies { clean, attacks, worst_case, .. }, .. } in &self.heads {
            let attacked = attacks.iter().map(|found| &found.measured);
            let measured: Vec<&Measured> = [clean].into_iter().chain(attacked).chain([worst_case]).collect();
            let row = |line: usize| measured.iter().map(move |measured| cells(measured)[line].clone());
            table.row(std::iter::once(head.name().to_owned()).chain(row(0)));
            table.row(std::iter::once(String::new()).chain(row(1)));
        }
        let n = self.heads.first().map_or(0, |row| row.accuracies.n);
        let seeds = if self.seeds == 1 { String::new() } else { format!(", attacks with {} seeds from there on", self.seeds) };
        print(format!(
            "{table}{n} images of {}, with 95 % intervals; heads fitted on {} more, seed {}{seeds}\nencoder {}, trained on {}",
            self.test.name,
            self.train.images,
            self.seed,
            self.checkpoint.display(),
            self.trained.data
        ))
    }
}
