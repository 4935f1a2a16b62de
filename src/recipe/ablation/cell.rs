//! One cell: pretraining, linear evaluation, accuracy under attack; and what it left in its folder.

use crate::data::Dataset;
use crate::element::Element;
use crate::recipe::Recipe;
use crate::recipe::evaluate::{Evaluation, Right};
use crate::recipe::head::{HeadJob, HeadKind, encoder_of, stage};
use crate::recipe::per_image::{PER_IMAGE, PerImage};
use crate::recipe::pretrain::Losses;
use crate::recipe::settings::NamedAttack;
use crate::recipe::trained::{Encoder, HEAD};
use crate::recipe::training::{CHECKPOINT, METRICS, RunOptions, Training, check_resumable};
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::run::progress::Progress;
use crate::run::{atomic, interrupt, metrics};
use crate::{Device, Error, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The cell's recipe, in its folder.
pub const RECIPE: &str = "recipe.toml";
/// Where the robust head and its results are, in the cell's folder.
const ROBUST: &str = "robust";

/// What is done in a cell.
#[derive(Clone, Debug)]
pub struct Task {
    /// The cell's recipe.
    pub recipe: Recipe,
    /// Its folder.
    pub folder: PathBuf,
    /// What it is measured by.
    pub attacks: Vec<NamedAttack>,
    /// The heads that are fitted; a plain one is among them.
    pub kinds: &'static [HeadKind],
    /// What progress is labelled with.
    pub label: String,
    /// Show no progress.
    pub quiet: bool,
}

/// What came of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Mean losses of the last epoch.
    pub losses: Losses,
    /// Wall time of a step of pretraining, by the mean of its epochs.
    pub seconds_per_step: f64,
    /// Which test images the plain head gets right.
    pub plain: Right,
    /// Which the robust head gets right, if there is one.
    pub robust: Option<Right>,
}

/// Of a line of the log.
#[derive(Deserialize)]
struct Epoch {
    #[serde(flatten)]
    losses: Losses,
    images_per_second: f64,
}

impl Task {
    /// What the folder has of a cell that is finished; none where something is missing, or was measured otherwise.
    pub fn found(&self, test: &Dataset) -> Option<Found> {
        let right = |folder: &Path| {
            let results = PerImage::load(&folder.join(PER_IMAGE)).ok().filter(|results| results.is_on(test).is_ok())?;
            results.results(&self.attacks)
        };
        let plain = right(&self.folder)?;
        let has_robust = self.kinds.contains(&HeadKind::Robust);
        let robust = if has_robust { Some(right(&self.folder_of(HeadKind::Robust))?) } else { None };
        let epochs: Vec<Epoch> = metrics::read(&self.folder.join(METRICS)).ok()?;
        let settings = &self.recipe.train;
        // The log is shorter where training began anew.
        let last = epochs.last().filter(|_| epochs.len() == settings.epochs as usize)?;
        let seconds = epochs.iter().map(|epoch| f64::from(settings.batch_size) / epoch.images_per_second).sum::<f64>();
        Some(Found { losses: last.losses, seconds_per_step: seconds / epochs.len() as f64, plain, robust })
    }

    /// Does what is not done yet.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the user asks to stop; those of pretraining, fitting and evaluation.
    pub fn run<T: Element>(&self, device: &Device, train: &Dataset, test: &Dataset) -> Result<Found> {
        let text = self.recipe.to_toml()?;
        atomic::write(&self.folder.join(RECIPE), |file| file.write_all(text.as_bytes()))?;
        self.pretrain::<T>(device, train)?;
        let checkpoint = Checkpoint::load(&self.folder.join(CHECKPOINT), Kind::Pretrain)?;
        for &kind in self.kinds {
            let head = self.head::<T>(device, train, &checkpoint, kind)?;
            self.evaluate::<T>(device, test, &checkpoint, &head, kind)?;
        }
        let changed = "what was written there changed while it was measured; choose another --out";
        self.found(test).ok_or_else(|| Error::file(&self.folder, changed))
    }

    /// Where a head and its results are.
    fn folder_of(&self, kind: HeadKind) -> PathBuf {
        match kind {
            HeadKind::Plain => self.folder.clone(),
            HeadKind::Robust => self.folder.join(ROBUST),
        }
    }

    /// As `rocl pretrain`, with `--resume` where there is a checkpoint.
    fn pretrain<T: Element>(&self, device: &Device, train: &Dataset) -> Result<()> {
        let (path, recipe) = (self.folder.join(CHECKPOINT), &self.recipe);
        let checkpoint = path.exists().then(|| Checkpoint::load(&path, Kind::Pretrain)).transpose()?;
        let mut training = match &checkpoint {
            Some(checkpoint) => {
                check_resumable::<T>(device, recipe, train, checkpoint)?;
                if checkpoint.meta.epoch >= recipe.train.epochs {
                    return Ok(());
                }
                Training::<T>::resume(device, recipe, train, checkpoint)?
            }
            None => Training::new(device, recipe, train)?,
        };
        drop(checkpoint);
        let label = format!("{} pretrain", self.label);
        training.run(&RunOptions { out: self.folder.clone(), label, quiet: self.quiet }).map(drop)
    }

    /// As `rocl linear-eval`: the head that is there, if it was fitted on this encoder, or a new one.
    fn head<T: Element>(&self, device: &Device, train: &Dataset, encoder: &Checkpoint, kind: HeadKind) -> Result<Checkpoint> {
        let path = self.folder_of(kind).join(HEAD);
        let there = path.exists().then(|| Checkpoint::load_head(&path)).transpose()?;
        // That of another encoder is of a run that was done anew.
        if let Some(head) = there.filter(|head| encoder_of(head).is_ok_and(|digest| digest == Some(encoder.digest()))) {
            return Ok(head);
        }
        let recipe = &self.recipe;
        let total = train.len() as u64 * kind.passes(&recipe.linear_eval);
        let mut progress = Progress::new(format!("{} {} head", self.label, kind.name()), total, self.quiet);
        let job = HeadJob { device, recipe, encoder, data: train, kind, seed: recipe.train.seed };
        let (head, _) = job.run::<T>(|images, loss| {
            progress.advance(images as u64, stage(loss));
            interrupt::check()
        })?;
        progress.finish();
        head.save(&path)?;
        Ok(head)
    }

    /// As `rocl evaluate`.
    fn evaluate<T: Element>(
        &self,
        device: &Device,
        test: &Dataset,
        checkpoint: &Checkpoint,
        head: &Checkpoint,
        kind: HeadKind,
    ) -> Result<()> {
        let (recipe, attacks) = (&self.recipe, &self.attacks);
        let batch = recipe.evaluate.batch_size as usize;
        let encoder = Encoder::<T>::load(device, recipe, checkpoint)?;
        let head = encoder.load_head(head, test.classes.len(), batch)?;
        let name = format!("{} evaluate {} head", self.label, kind.name());
        let mut progress = Progress::new(name, (test.len() * attacks.len()) as u64, self.quiet);
        let evaluation = Evaluation::new(device, encoder.inference(), &head, test, attacks, batch, recipe.train.seed)?;
        let right = evaluation.run(|images| {
            progress.advance(images as u64, "");
            interrupt::check()
        })?;
        progress.finish();
        PerImage::new(&self.folder.join(CHECKPOINT), test, attacks, &right).save(&self.folder_of(kind))
    }
}
