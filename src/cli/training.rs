//! What the commands that train have in common: a folder with a run in it, begun or gone on with.

use super::common::{Common, Settings, recipe_of};
use super::output::{counted, note, print, print_json};
use super::room::{self, Leeway};
use super::tune::Tune;
use crate::data::Dataset;
use crate::data::validation::Validation;
use crate::device::Needs;
use crate::element::Element;
use crate::recipe::engines;
use crate::recipe::settings::{Overrides, Recipe};
use crate::recipe::training::{CHECKPOINT, Outcome, RunOptions, Training, check_resumable, duration};
use crate::recipe::training_run::{Means, TrainingRun};
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::run::interrupt;
use crate::{Device, Error, Result};
use std::path::{Path, PathBuf};

/// What is to be trained, besides what the settings say.
pub(super) struct Job<'a> {
    /// What is gone on with.
    pub checkpoint: Option<&'a Checkpoint>,
    pub tune: Tune,
    pub val: Option<Validation>,
    /// Whether images without labels are trained on too.
    pub unlabeled: bool,
    /// Whether the network is that of an encoder, so that no flag changes it.
    pub network_given: bool,
    /// What comes of it, for messages.
    pub trained: &'static str,
}

#[derive(serde::Serialize)]
struct Report<M> {
    schema: u32,
    recipe: String,
    checkpoint: PathBuf,
    #[serde(flatten)]
    outcome: Outcome<M>,
    peak_memory_bytes: usize,
}

/// Trains to the end and says what came of it. `needs` plans a run, `build` makes it.
pub(super) fn carry_out<T: Element, R: TrainingRun<T>>(
    settings: &Settings,
    job: Job,
    needs: impl Fn(&Device, &Recipe, &Dataset) -> Result<Needs>,
    build: impl FnOnce(&Device, &Recipe, &Dataset) -> Result<Training<T, R>>,
) -> Result<()> {
    let Job { checkpoint, tune, val, unlabeled, network_given, trained } = job;
    let (out, path) = (settings.out.clone(), settings.out.join(CHECKPOINT));
    let device = settings.device()?;
    let data = if unlabeled { settings.data_with_unlabeled()? } else { settings.training_data(val)? };
    interrupt::install()?;
    let tuning = tune.start::<T>(&device)?;
    if let Some(checkpoint) = checkpoint {
        check_resumable::<T>(&device, &settings.recipe, &data, checkpoint)?;
        // Before anything is planned. Why it cannot be is said when the run goes on.
        engines::replay(&device, &checkpoint.meta);
    }
    let needs = |batch| {
        let overrides = Overrides { batch_size: Some(batch), ..Overrides::default() };
        needs(&device, &settings.recipe.clone().with(&overrides)?, &data)
    };
    let batch_size = settings.recipe.train.batch_size;
    let leeway = match checkpoint {
        Some(_) => Leeway::Nothing("a resumed run keeps its batch size"),
        None if network_given => Leeway::Batch,
        None => Leeway::Network,
    };
    settings.make_room(&device, &room::Job { batch_size, leeway, needs: &needs })?;
    let mut training = build(&device, &settings.recipe, &data)?;
    // The device has them now.
    drop(data);
    remark(training.take_remarks());
    if training.is_finished() {
        let steps = training.steps();
        let sentence = format!("the run is finished, after {}; {trained} in {}", counted(steps, "step"), path.display());
        return if settings.json {
            print_json(&serde_json::json!({ "schema": 1, "recipe": settings.recipe.name, "checkpoint": path, "steps": steps }))
        } else {
            print(sentence)
        };
    }
    if let Some(tuning) = tuning {
        training.keep(tuning);
    }
    let outcome = training.run(&RunOptions { out, label: settings.recipe.name.clone(), quiet: settings.quiet });
    remark(training.take_remarks());
    let outcome = outcome?;
    let (_, peak) = device.memory_use();
    if settings.json {
        let recipe = settings.recipe.name.clone();
        return print_json(&Report { schema: 1, recipe, checkpoint: path, outcome, peak_memory_bytes: peak });
    }
    print(format!(
        "{} in {}, {:.1} images/s, at most {}; loss {:.4}; {trained} in {}",
        counted(outcome.steps, "step"),
        duration(outcome.seconds),
        outcome.images_per_second,
        mebibytes(peak),
        outcome.losses.shown(),
        path.display()
    ))
}

fn remark(remarks: Vec<String>) {
    remarks.iter().for_each(|remark| note(format!("note: {remark}")));
}

fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// The checkpoint to resume from, if any; a run that is there is never overwritten.
pub(super) fn started(path: &Path, resume: bool, kind: Kind) -> Result<Option<Checkpoint>> {
    match (resume, path.exists()) {
        (true, _) => Checkpoint::load(path, kind).map(Some),
        (false, true) => Err(Error::Usage(format!(
            "{} holds a run already; add --resume to go on with it, or choose another --out",
            path.display()
        ))),
        (false, false) => Ok(None),
    }
}

/// The recipe named on the command line, else that of the run that is resumed, else `default`.
pub(super) fn base(common: &Common, checkpoint: Option<&Checkpoint>, default: &str) -> Result<Recipe> {
    match checkpoint {
        Some(checkpoint) if common.recipe.is_none() => recipe_of(checkpoint),
        _ => common.recipe_or(default),
    }
}
