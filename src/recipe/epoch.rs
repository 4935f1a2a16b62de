//! What varies from step to step, in device memory.
//!
//! The host draws a whole epoch at once (the order of the images, the parameters of every view, the learning rates) and uploads it; kernels
//! find their part by the step counter, which the last kernel of a step increments. So the launches of all steps are the same. While the
//! device works on an epoch, the next one is drawn.

use crate::data::Dataset;
use crate::data::augmentation::{Augmentation, AugmentationSettings};
use crate::data::sampling::{EpochPlan, EpochShape};
use crate::element::Real;
use crate::{Device, Result, Tensor, ops};
use std::cell::RefCell;
use std::thread::JoinHandle;

/// Images per step, views per image, and how many values a step logs.
pub struct EpochBuffers<R: Real> {
    shape: EpochShape,
    images: Tensor<u8>,
    permutation: Tensor<i32>,
    augmentations: Tensor<i32>,
    learning_rates: Tensor<R>,
    clock: Tensor<i64>,
    log: Tensor<R>,
    ahead: RefCell<Option<Ahead>>,
}

/// An epoch that is being drawn on another thread.
struct Ahead {
    seed: u64,
    epoch: u32,
    settings: AugmentationSettings,
    plan: JoinHandle<EpochPlan>,
}

impl<R: Real> EpochBuffers<R> {
    /// Uploads the images and allocates the rest. Fails when the data do not fill one batch.
    pub fn new(device: &Device, data: &Dataset, batch: usize, views: usize, logged: usize) -> Result<Self> {
        let shape = EpochShape::new(data.len(), batch, views)?;
        let rows = shape.steps() * views * batch;
        Ok(Self {
            images: Tensor::from_slice(device, [data.len(), 32, 32, 3], &data.images)?,
            permutation: Tensor::zeros(device, [data.len()])?,
            augmentations: Tensor::zeros(device, [rows, Augmentation::WORDS])?,
            learning_rates: Tensor::zeros(device, [shape.steps()])?,
            clock: Tensor::zeros(device, [2])?,
            log: Tensor::zeros(device, [shape.steps(), logged])?,
            shape,
            ahead: RefCell::default(),
        })
    }

    /// Steps of an epoch; a last partial batch is dropped.
    pub fn steps(&self) -> usize {
        self.shape.steps()
    }

    /// `[2]`: the step within the epoch, and the global step.
    pub fn clock(&self) -> &Tensor<i64> {
        &self.clock
    }

    /// The rate of each step of the epoch.
    pub fn learning_rates(&self) -> &Tensor<R> {
        &self.learning_rates
    }

    /// Draws and uploads an epoch, and sets the counters to the step it begins at: 0, unless a run resumes within the epoch.
    pub fn begin(&self, seed: u64, epoch: u32, at: usize, settings: &AugmentationSettings, learning_rate: f64) -> Result<()> {
        let plan = self.draw(seed, epoch, settings);
        self.permutation.write(&plan.permutation)?;
        self.augmentations.write(bytemuck::cast_slice(&plan.augmentations))?;
        self.learning_rates.write(&vec![R::from_f64(learning_rate); self.steps()])?;
        self.clock.write(&[at as i64, i64::from(epoch) * self.steps() as i64 + at as i64])
    }

    /// The plan of an epoch, drawn already if it is the one that was foreseen; foresees the one after it.
    fn draw(&self, seed: u64, epoch: u32, settings: &AugmentationSettings) -> EpochPlan {
        let (shape, next, settings) = (self.shape, epoch + 1, *settings);
        let foreseen = self.ahead.take().filter(|a| (a.seed, a.epoch) == (seed, epoch) && a.settings == settings);
        let plan = foreseen.and_then(|ahead| ahead.plan.join().ok());
        let plan = plan.unwrap_or_else(|| EpochPlan::draw(seed, epoch, shape, &settings));
        // Where no thread is to be had, the next plan is drawn when its epoch begins.
        let drawing = std::thread::Builder::new().spawn(move || EpochPlan::draw(seed, next, shape, &settings));
        self.ahead.replace(drawing.ok().map(|plan| Ahead { seed, epoch: next, settings, plan }));
        plan
    }

    /// Writes this step's augmented views to `views`, `[views · batch, 32, 32, 3]`, the rows of a view together.
    pub fn augment(&self, views: &Tensor<R>) -> Result<()> {
        let EpochShape { batch_size, views: count, .. } = self.shape;
        ops::augment(&self.images, &self.permutation, &self.augmentations, &self.clock, batch_size, count, views)
    }

    /// Writes the labels of this step's images, out of those of all images, to `labels` (`[batch]`).
    pub fn gather_labels(&self, all: &Tensor<i32>, labels: &Tensor<i32>) -> Result<()> {
        ops::gather_labels(all, &self.permutation, &self.clock, labels)
    }

    /// Ends a step: notes `values` and moves the counters on.
    pub fn record(&self, values: &Tensor<R>) -> Result<()> {
        ops::record_step(values, &self.log, &self.clock)
    }

    /// What the first `steps` steps of this epoch noted, `[steps, values]`.
    pub fn noted(&self, steps: usize) -> Result<Tensor<R>> {
        self.log.rows(0..steps)
    }
}
