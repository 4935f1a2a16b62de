//! The supervised objective: cross-entropy of a classifier.

use super::{Objective, step_by_step};
use crate::element::{Element, Real};
use crate::nn::{Classifier, Inference, RowScaled};
use crate::ops::{self, LinfStep};
use crate::{Device, Result, Tensor};

/// Cross-entropy of head(encoder(x)) against the labels, summed over the valid images of a batch.
pub struct ClassifierObjective<'a, T: Element> {
    model: &'a Inference<T>,
    head: &'a Classifier<T>,
    buffers: &'a ClassifierBuffers<T>,
    labels: Tensor<i32>,
    valid: usize,
}

/// What the objective writes to.
pub struct ClassifierBuffers<T: Element> {
    d_features: Tensor<T>,
    row_loss: Tensor<T::Real>,
    correct: Tensor<T::Real>,
    loss: Tensor<T::Real>,
}

impl<T: Element> ClassifierBuffers<T> {
    /// For batches of up to `max_batch` images and `features` features.
    pub fn new(device: &Device, max_batch: usize, features: usize) -> Result<Self> {
        Ok(Self {
            d_features: Tensor::zeros(device, [max_batch, features])?,
            row_loss: Tensor::zeros(device, [max_batch])?,
            correct: Tensor::zeros(device, [max_batch])?,
            loss: Tensor::zeros(device, [1])?,
        })
    }
}

impl<'a, T: Element> ClassifierObjective<'a, T> {
    /// `labels` is `[n]`; images from `valid` on only fill the batch and count for nothing.
    pub fn new(
        model: &'a Inference<T>,
        head: &'a Classifier<T>,
        buffers: &'a ClassifierBuffers<T>,
        labels: &Tensor<i32>,
        valid: usize,
    ) -> Self {
        Self { model, head, buffers, labels: labels.clone(), valid }
    }

    /// For each image of `x`, `[n]`, whether the classifier gets it right, after everything launched has finished.
    pub fn correct(&self, x: &Tensor<T::Real>) -> Result<Vec<bool>> {
        self.evaluate(&self.model.forward(x)?, false)?;
        let correct = self.buffers.correct.rows(0..self.valid)?.to_vec()?;
        Ok(correct.iter().map(|&one| one > T::Real::ZERO).collect())
    }

    fn evaluate(&self, features: &Tensor<T>, with_gradient: bool) -> Result<()> {
        let n = features.rows_len();
        let logits = self.head.forward(features)?;
        let d_logits = if with_gradient { Some(self.head.d_logits(n)?) } else { None };
        // The sum, not the mean: an image's gradient does not depend on how full its batch is.
        let weight = self.valid as f64;
        let (row_loss, correct) = (self.buffers.row_loss.rows(0..n)?, self.buffers.correct.rows(0..n)?);
        ops::cross_entropy(
            &logits,
            &self.labels,
            self.valid,
            weight,
            d_logits.as_ref(),
            &row_loss,
            Some(&correct),
            &self.buffers.loss,
        )
    }

    /// The gradient of the loss by the features.
    fn d_features(&self, features: &Tensor<T>) -> Result<RowScaled<T>> {
        self.evaluate(features, true)?;
        self.head.backward_input(&self.buffers.d_features.rows(0..features.rows_len())?)
    }
}

impl<T: Element> Objective<T::Real> for ClassifierObjective<'_, T> {
    fn gradient(&mut self, x: &Tensor<T::Real>, gradient: &Tensor<T::Real>) -> Result<()> {
        let d_features = self.d_features(&self.model.forward(x)?)?;
        self.model.backward(&d_features, gradient)
    }

    fn ascend(
        &mut self,
        step: &LinfStep<T::Real>,
        steps: usize,
        clean: &Tensor<T::Real>,
        x: &Tensor<T::Real>,
        gradient: &Tensor<T::Real>,
    ) -> Result<()> {
        if !self.model.steps_in_the_stem() {
            return step_by_step(self, step, steps, clean, x, gradient);
        }
        self.model.ascend(step, steps, clean, x, |features| self.d_features(features))
    }

    fn loss(&self) -> &Tensor<T::Real> {
        &self.buffers.loss
    }
}
