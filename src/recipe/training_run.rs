//! What a driver repeats: the seam between the methods and what is common to their runs.

use super::epoch::EpochBuffers;
use super::settings::Recipe;
use crate::element::{Element, Real};
use crate::nn::Backbone;
use crate::optim::Optimizer;
use crate::run::checkpoint::Kind;
use crate::{Result, Tensor};
use std::fmt::Debug;

/// A method with everything that it needs on the device. [`Training`](super::training::Training) has it run: epochs, log, checkpoints, interruption, resumption
/// and capture know nothing else of it.
pub trait TrainingRun<T: Element> {
    /// What is told of an epoch.
    type Means: Means;
    /// What a checkpoint of it is.
    const KIND: Kind;

    /// What was asked for.
    fn recipe(&self) -> &Recipe;
    /// One step. Launches only, the same every time: nothing is read back.
    fn step(&self) -> Result<()>;
    /// What varies from step to step.
    fn epoch(&self) -> &EpochBuffers<T::Real>;
    /// What is trained.
    fn backbone(&self) -> &Backbone<T>;
    /// How.
    fn optimizer(&self) -> &Optimizer<T::Real>;
    /// Passes in a step that move the running statistics.
    fn passes_per_step(&self) -> i64;

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        self.epoch().steps()
    }

    /// Draws and uploads an epoch: its images' order, their augmentations and the learning rate. `at` is its first step, 0 unless a run resumes within the
    /// epoch.
    fn begin_epoch(&self, epoch: u32, at: usize) -> Result<()> {
        let recipe = self.recipe();
        if let (0, Some(scale)) = (at, self.backbone().parameters().loss_scale()) {
            scale.begin_epoch()?;
        }
        self.epoch().begin(recipe.train.seed, epoch, at, &recipe.augment, recipe.learning_rate(epoch))
    }

    /// What the first `steps` steps of the epoch noted, `[steps, values]`.
    fn noted(&self, steps: usize) -> Result<Tensor<T::Real>> {
        self.epoch().noted(steps)
    }

    /// The means over the first `steps` steps of the epoch, after everything launched has finished.
    fn means(&self, steps: usize) -> Result<Self::Means> {
        let (noted, values) = (self.noted(steps)?.to_vec()?, Self::Means::NOTED);
        let mean = |slot: usize| noted.iter().skip(slot).step_by(values).map(|l| l.to_f64()).sum::<f64>() / steps.max(1) as f64;
        Ok(Self::Means::new(&(0..values).map(mean).collect::<Vec<_>>()))
    }
}

/// The means of what a method's steps note.
pub trait Means: Copy + Debug + PartialEq + serde::Serialize {
    /// Values that a step notes.
    const NOTED: usize;
    /// Of those values.
    fn new(means: &[f64]) -> Self;
    /// What progress shows.
    fn shown(&self) -> f64;
    /// What is minimised; a run ends when it is not finite.
    fn objective(&self) -> f64;
}
