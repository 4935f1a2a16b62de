//! A training run: epochs, the log, checkpoints, interruption and resumption.

use super::engines::{self, Tuning};
use super::pretrain::{Ingredients, Losses, Pretraining};
use super::saved;
use super::settings::Recipe;
use super::supervised::Supervised;
use super::training_run::{Means, TrainingRun};
use crate::data::Dataset;
use crate::device::Graph;
use crate::element::{Element, Real};
use crate::ops::LossScaleState;
use crate::run::checkpoint::{Checkpoint, Meta};
use crate::run::interrupt;
use crate::run::metrics::Metrics;
use crate::run::progress::{Progress, clock};
use crate::{Device, Error, Result, Tensor};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The encoder, in a run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The log, in a run's folder.
pub const METRICS: &str = "metrics.jsonl";
/// Where a checkpoint keeps the losses of an unfinished epoch.
const NOTED: &str = "run/losses";

/// At the end of an epoch the state is saved when this much time has passed since it last was.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// How often progress shows a new loss, which has to be read from the device.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// How a run is carried out; nothing here changes its result.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Folder for checkpoint and log.
    pub out: PathBuf,
    /// What progress is labelled with.
    pub label: String,
    /// Show no progress.
    pub quiet: bool,
}

/// What a finished run reports.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Outcome<M = Losses> {
    /// Means of the last epoch.
    pub losses: M,
    /// Optimiser steps of the whole run.
    pub steps: u64,
    /// Training images per second, over the part of the run done now.
    pub images_per_second: f64,
    /// Wall time of the part of the run done now.
    pub seconds: f64,
}

/// One line of the log.
#[derive(serde::Serialize)]
struct EpochRecord<M> {
    #[serde(flatten)]
    losses: M,
    learning_rate: f64,
    images_per_second: f64,
    /// In 16 bits: the scale at the epoch's end, and how many of its steps were skipped because gradients overflowed.
    #[serde(flatten)]
    loss_scale: Option<LossScaleState>,
}

/// A run that is about to start, or to go on from a checkpoint.
pub struct Training<T: Element, R: TrainingRun<T> = Pretraining<T>> {
    run: R,
    /// A step's launches, the same every time.
    graph: Graph,
    data: String,
    step: u64,
    /// The epoch whose plan is on the device.
    drawn: Option<u32>,
    /// What people should know, a sentence each.
    remarks: Vec<String>,
    /// Until the first step is done, in which all engines are measured.
    tuning: Option<Tuning>,
    device: Device,
    element: PhantomData<T>,
}

/// What a checkpoint calls the data: their name and number, which a resumed run must have again.
pub fn data_name(data: &Dataset) -> String {
    format!("{}, {} images", data.name, data.len())
}

/// Refuses a checkpoint that a run of this recipe, on these data and in the precision of `device`, would not go on from.
///
/// # Errors
/// [`Error::Usage`] when recipe, precision or data are not those of the checkpoint.
pub fn check_resumable<T: Element>(device: &Device, recipe: &Recipe, data: &Dataset, checkpoint: &Checkpoint) -> Result<()> {
    let saved = Recipe::from_json(&checkpoint.meta.recipe)?;
    let differences = recipe.differences(&saved);
    if !differences.is_empty() {
        let list = differences.join("; ");
        return Err(Error::Usage(format!(
            "the run cannot go on with another recipe: {list}; leave these flags out, or start anew in another --out"
        )));
    }
    let (trained_in, asked) = (&checkpoint.meta.precision, device.precision::<T>());
    if trained_in != asked {
        return Err(Error::Usage(format!("the run was trained in {trained_in}, not in {asked}; give --precision {trained_in}")));
    }
    if checkpoint.meta.data != data_name(data) {
        let unlabeled = if recipe.train.method.trains_a_classifier() { " and --val" } else { ", --val and --unlabeled" };
        return Err(Error::Usage(format!(
            "the run was trained on {}, not on {}; give the same --data, --limit{unlabeled}",
            checkpoint.meta.data,
            data_name(data)
        )));
    }
    let most = u64::from(recipe.train.epochs) * (data.len() as u64 / u64::from(recipe.train.batch_size));
    if checkpoint.meta.step > most {
        let step = checkpoint.meta.step;
        return Err(Error::Usage(format!(
            "the checkpoint is at step {step} of a run of {most}; it is damaged, so use an earlier one"
        )));
    }
    Ok(())
}

impl<T: Element> Training<T> {
    /// A new run that pretrains.
    pub fn new(device: &Device, recipe: &Recipe, data: &Dataset) -> Result<Self> {
        Ok(Self::of(device, Pretraining::new(device, recipe, data)?, data))
    }

    /// A new run that pretrains with losses or an attack of your own; `ingredients` is given the run's step counter.
    pub fn with(
        device: &Device,
        recipe: &Recipe,
        data: &Dataset,
        ingredients: impl FnOnce(&Tensor<i64>) -> Result<Ingredients<T::Real>>,
    ) -> Result<Self> {
        Ok(Self::of(device, Pretraining::with(device, recipe, data, ingredients)?, data))
    }

    /// A run that goes on where `checkpoint` was saved: same parameters, same order of images, same engines, same bits.
    ///
    /// # Errors
    /// Those of [`check_resumable`]; [`Error::File`] when the checkpoint is of another network.
    pub fn resume(device: &Device, recipe: &Recipe, data: &Dataset, checkpoint: &Checkpoint) -> Result<Self> {
        Self::resumed(device, recipe, data, checkpoint, || Pretraining::new(device, recipe, data))
    }

    /// As [`Training::resume`], for a run that was begun by [`Training::with`] and these `ingredients`: a checkpoint does not hold which they were.
    ///
    /// # Errors
    /// Those of [`Training::resume`].
    pub fn resume_with(
        device: &Device,
        recipe: &Recipe,
        data: &Dataset,
        checkpoint: &Checkpoint,
        ingredients: impl FnOnce(&Tensor<i64>) -> Result<Ingredients<T::Real>>,
    ) -> Result<Self> {
        Self::resumed(device, recipe, data, checkpoint, || Pretraining::with(device, recipe, data, ingredients))
    }

    /// The model as it is.
    pub fn pretraining(&self) -> &Pretraining<T> {
        &self.run
    }
}

impl<T: Element> Training<T, Supervised<T>> {
    /// A new run that trains with labels: from scratch, or an `encoder` that was trained before.
    ///
    /// # Errors
    /// [`Error::File`] when the encoder is of another network.
    pub fn supervised(device: &Device, recipe: &Recipe, data: &Dataset, encoder: Option<&Checkpoint>) -> Result<Self> {
        let run = Supervised::new(device, recipe, data)?;
        encoder.map_or(Ok(()), |encoder| run.start_from(encoder))?;
        Ok(Self::of(device, run, data))
    }

    /// As [`Training::resume`], of a run that trains with labels.
    ///
    /// # Errors
    /// Those of [`Training::resume`].
    pub fn resume_supervised(device: &Device, recipe: &Recipe, data: &Dataset, checkpoint: &Checkpoint) -> Result<Self> {
        Self::resumed(device, recipe, data, checkpoint, || Supervised::new(device, recipe, data))
    }

    /// What is trained, as it is.
    pub fn classifier(&self) -> &Supervised<T> {
        &self.run
    }
}

impl<T: Element, R: TrainingRun<T>> Training<T, R> {
    fn of(device: &Device, run: R, data: &Dataset) -> Self {
        let (graph, data, device) = (Graph::new(device), data_name(data), device.clone());
        Self { run, graph, data, step: 0, drawn: None, remarks: Vec::new(), tuning: None, device, element: PhantomData }
    }

    fn resumed(
        device: &Device,
        recipe: &Recipe,
        data: &Dataset,
        checkpoint: &Checkpoint,
        build: impl FnOnce() -> Result<R>,
    ) -> Result<Self> {
        check_resumable::<T>(device, recipe, data, checkpoint)?;
        // Before the first convolution is planned.
        let remarks = engines::replay(device, &checkpoint.meta).into_iter().collect();
        let training = Self { step: checkpoint.meta.step, remarks, ..Self::of(device, build()?, data) };
        let backbone = training.run.backbone();
        saved::load_network(checkpoint, backbone)?;
        saved::load_optimizer(checkpoint, training.run.optimizer(), backbone.parameters())?;
        if let Some(scale) = backbone.parameters().loss_scale() {
            saved::load_loss_scale(checkpoint, scale)?;
        }
        let done = training.step_in_epoch();
        let losses = checkpoint.f32(NOTED, &[done, R::Means::NOTED])?;
        let losses: Vec<T::Real> = losses.iter().map(|&l| T::Real::from_f64(f64::from(l))).collect();
        training.run.noted(done)?.write(&losses)?;
        Ok(training)
    }

    /// Whether all epochs are done.
    pub fn is_finished(&self) -> bool {
        self.epoch() >= self.run.recipe().train.epochs
    }

    /// Optimiser steps done.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// What people should know and has not been taken yet, a sentence each: why a resumed run does not go on to the same bits as it would have, or
    /// why engines are measured anew the next time.
    pub fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// Keeps what is measured for the next run, as soon as it is known. Not of a run that goes on: its engines are those that it had, fast or not.
    pub fn keep(&mut self, tuning: Tuning) {
        self.tuning = (self.step == 0).then_some(tuning);
    }

    fn epoch(&self) -> u32 {
        (self.step / self.run.steps() as u64) as u32
    }

    fn step_in_epoch(&self) -> usize {
        (self.step % self.run.steps() as u64) as usize
    }

    /// One step of the run.
    pub fn advance(&mut self) -> Result<()> {
        let epoch = self.epoch();
        if self.drawn != Some(epoch) {
            self.run.begin_epoch(epoch, self.step_in_epoch())?;
            self.drawn = Some(epoch);
        }
        self.graph.run(|| self.run.step())?;
        self.step += 1;
        // Every step asks for the same convolutions, so that after the first there is nothing more to learn.
        self.remarks.extend(self.tuning.take().and_then(|tuning| tuning.keep(&self.device)));
        self.remarks.extend(self.device.take_engine_remarks());
        Ok(())
    }

    /// Trains to the end of the recipe, logging and saving into the run's folder. When the user asks to stop, the run is saved first.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a requested stop; [`Error::Numeric`] when a loss is no longer finite, in which case the last checkpoint stays.
    pub fn run(&mut self, options: &RunOptions) -> Result<Outcome<R::Means>> {
        let recipe = self.run.recipe().clone();
        let (steps, batch) = (self.run.steps(), u64::from(recipe.train.batch_size));
        let path = options.out.join(CHECKPOINT);
        let seed = recipe.train.seed;
        let precision = self.device.precision::<T>();
        let header = serde_json::json!({ "recipe": recipe.name, "data": self.data, "seed": seed, "precision": precision });
        let mut metrics = Metrics::resume(&options.out.join(METRICS), &header, self.epoch())?;
        let total = u64::from(recipe.train.epochs) * steps as u64;
        let mut progress = Progress::new(&options.label, (total - self.step) * batch, options.quiet);
        let (start, first) = (Instant::now(), self.step);
        let (mut saved, mut shown, mut note) = (start, None::<Instant>, String::new());
        let mut losses = R::Means::new(&vec![f64::NAN; R::Means::NOTED]);

        while self.step < total {
            let (epoch, at) = (self.epoch(), self.step_in_epoch());
            let epoch_start = Instant::now();
            for step in at..steps {
                self.advance()?;
                if shown.is_none_or(|last| last.elapsed() >= SHOW_EVERY) {
                    shown = Some(Instant::now());
                    note = format!("epoch {}/{}  loss {:.3}", epoch + 1, recipe.train.epochs, self.run.means(step + 1)?.shown());
                }
                progress.advance(batch, &note);
                if interrupt::requested() && step + 1 < steps {
                    finite::<T, _>(self.run.means(step + 1)?, epoch)?;
                    self.save(&path)?;
                    return Err(stopped(&path, epoch, recipe.train.epochs));
                }
            }
            losses = self.run.means(steps)?;
            finite::<T, _>(losses, epoch)?;
            let rate = ((steps - at) as u64 * batch) as f64 / epoch_start.elapsed().as_secs_f64();
            let loss_scale = self.run.backbone().parameters().loss_scale().map(|scale| scale.state()).transpose()?;
            let learning_rate = recipe.learning_rate(epoch);
            let record = EpochRecord { losses, learning_rate, images_per_second: rate, loss_scale };
            metrics.log(epoch, &record)?;
            let stop = interrupt::requested();
            if self.step == total || stop || saved.elapsed() >= SAVE_EVERY {
                self.save(&path)?;
                saved = Instant::now();
            }
            if stop && self.step < total {
                return Err(stopped(&path, epoch + 1, recipe.train.epochs));
            }
        }
        progress.finish();
        let seconds = start.elapsed().as_secs_f64();
        let images_per_second = ((self.step - first) * batch) as f64 / seconds;
        Ok(Outcome { losses, steps: self.step, images_per_second, seconds })
    }

    /// Writes everything a resumed run needs.
    pub fn save(&self, path: &Path) -> Result<()> {
        let recipe = self.run.recipe();
        let meta = Meta {
            epoch: self.epoch(),
            step: self.step,
            precision: self.device.precision::<T>().to_owned(),
            engines: engines::record(&self.device)?,
            ..Meta::new(R::KIND, recipe.to_json()?, recipe.train.seed, &self.data)
        };
        let mut checkpoint = Checkpoint::new(meta);
        let backbone = self.run.backbone();
        saved::save_network(&mut checkpoint, backbone, self.step as i64 * self.run.passes_per_step())?;
        saved::save_optimizer(&mut checkpoint, self.run.optimizer(), backbone.parameters())?;
        if let Some(scale) = backbone.parameters().loss_scale() {
            saved::save_loss_scale(&mut checkpoint, scale)?;
        }
        let noted = self.run.noted(self.step_in_epoch())?;
        let losses: Vec<f32> = noted.to_vec()?.iter().map(|l| l.to_f64() as f32).collect();
        checkpoint.put_f32(NOTED, noted.dims(), &losses)?;
        checkpoint.save(path)
    }
}

/// Weights that lead to a loss like this are not worth saving. No loss scale mends it: it is the forward pass that overflowed.
fn finite<T: Element, M: Means>(means: M, epoch: u32) -> Result<()> {
    let sum = means.objective();
    if sum.is_finite() {
        return Ok(());
    }
    let other = if T::PRECISION == "fp16" { ", or in bf16, which has a wider range" } else { "" };
    let epoch = epoch + 1;
    Err(Error::Numeric(format!(
        "the loss became {sum} in epoch {epoch}; start anew, in another --out, with a lower optimizer.learning_rate{other}"
    )))
}

fn stopped(path: &Path, epochs: u32, of: u32) -> Error {
    Error::Interrupted(format!(
        "stopped in epoch {} of {of}; the run is saved in {}, and --resume goes on",
        epochs + 1,
        path.display()
    ))
}

/// "2:30 min" or "1:02:30 h", for sentences.
pub fn duration(seconds: f64) -> String {
    let clock = clock(seconds);
    let unit = if clock.matches(':').count() == 1 { "min" } else { "h" };
    format!("{clock} {unit}")
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn hours_are_no_minutes() {
        assert_eq!([59.0, 3599.4, 3600.0].map(duration), ["0:59 min", "59:59 min", "1:00:00 h"]);
    }
}
