//! The supervised objectives: losses of a classifier.

use super::{Judge, Objective, step_by_step};
use crate::element::Element;
use crate::nn::{Classifier, Inference, RowScaled};
use crate::ops::{self, Outcome, PgdStep};
use crate::{Device, Result, Tensor};

/// What an attack on a classifier increases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassifierLoss {
    /// The cross-entropy against the labels.
    #[default]
    CrossEntropy,
    /// How far another class is ahead of the label's; unlike the cross-entropy it does not fade where the classifier is sure.
    Margin,
    /// The divergence from the classification of the clean image, KL(p(clean) ‖ p(x)), as in TRADES. Labels play no part, and at the clean
    /// image its gradient is zero.
    KlDivergence,
}

/// A loss of head(encoder(x)), summed over the valid images of a batch.
pub struct ClassifierObjective<'a, T: Element> {
    model: &'a Inference<T>,
    head: &'a Classifier<T>,
    buffers: &'a ClassifierBuffers<T>,
    labels: Tensor<i32>,
    valid: usize,
    increased: ClassifierLoss,
}

/// What the objective writes to.
pub struct ClassifierBuffers<T: Element> {
    d_features: Tensor<T>,
    reference: Tensor<T::Real>,
    outcome: Outcome<T::Real>,
    loss: Tensor<T::Real>,
}

impl<T: Element> ClassifierBuffers<T> {
    /// For batches of up to `max_batch` images, and a head like this one.
    pub fn new(device: &Device, max_batch: usize, head: &Classifier<T>) -> Result<Self> {
        Ok(Self {
            d_features: Tensor::zeros(device, [max_batch, head.features()])?,
            reference: Tensor::zeros(device, [max_batch, head.classes()])?,
            outcome: Outcome { loss: Tensor::zeros(device, [max_batch])?, correct: Tensor::zeros(device, [max_batch])? },
            loss: Tensor::zeros(device, [1])?,
        })
    }
}

impl<'a, T: Element> ClassifierObjective<'a, T> {
    /// The cross-entropy. `labels` is `[n]`; images from `valid` on only fill the batch and count for nothing.
    pub fn new(
        model: &'a Inference<T>,
        head: &'a Classifier<T>,
        buffers: &'a ClassifierBuffers<T>,
        labels: &Tensor<i32>,
        valid: usize,
    ) -> Self {
        Self { model, head, buffers, labels: labels.clone(), valid, increased: ClassifierLoss::CrossEntropy }
    }

    /// Another loss instead, of adversaries of `clean` (`[n, 32, 32, 3]`).
    pub fn increasing(self, loss: ClassifierLoss, clean: &Tensor<T::Real>) -> Result<Self> {
        if loss == ClassifierLoss::KlDivergence {
            let logits = self.logits(clean)?;
            self.buffers.reference.rows(0..clean.rows_len())?.copy_from(&logits)?;
        }
        Ok(Self { increased: loss, ..self })
    }

    /// For each image of `x`, `[n]`, whether the classifier gets it right, after everything launched has finished.
    pub fn correct(&self, x: &Tensor<T::Real>) -> Result<Vec<bool>> {
        let outcome = self.buffers.outcome.rows(x.rows_len())?;
        self.cross_entropy(&self.logits(x)?, None, &outcome)?;
        outcome.right(self.valid)
    }

    fn cross_entropy(
        &self,
        logits: &Tensor<T::Real>,
        d_logits: Option<&Tensor<T::Real>>,
        outcome: &Outcome<T::Real>,
    ) -> Result<()> {
        let (loss, correct) = (&outcome.loss, Some(&outcome.correct));
        ops::cross_entropy(logits, &self.labels, self.valid, self.weight(), d_logits, loss, correct, &self.buffers.loss)
    }

    /// The class scores of `x`, `[n, classes]`, until the next evaluation.
    pub(super) fn logits(&self, x: &Tensor<T::Real>) -> Result<Tensor<T::Real>> {
        self.head.forward(&self.model.forward(x)?)
    }

    /// `[n]`
    pub(super) fn labels(&self) -> &Tensor<i32> {
        &self.labels
    }

    /// Images that count.
    pub(super) fn valid(&self) -> usize {
        self.valid
    }

    /// Of the mean, which makes it the sum: an image's gradient does not depend on how full its batch is.
    fn weight(&self) -> f64 {
        self.valid as f64
    }

    /// The loss that is increased.
    fn evaluate(&self, logits: &Tensor<T::Real>, d_logits: Option<&Tensor<T::Real>>, outcome: &Outcome<T::Real>) -> Result<()> {
        let Self { labels, valid, buffers, .. } = self;
        let (row_loss, loss) = (&outcome.loss, &buffers.loss);
        match self.increased {
            ClassifierLoss::CrossEntropy => self.cross_entropy(logits, d_logits, outcome),
            ClassifierLoss::Margin => ops::margin_loss(logits, labels, *valid, self.weight(), d_logits, row_loss, loss),
            ClassifierLoss::KlDivergence => {
                let reference = buffers.reference.rows(0..logits.rows_len())?;
                ops::kl_divergence(logits, &reference, *valid, self.weight(), d_logits, None, row_loss, loss)
            }
        }
    }

    /// The gradient of the loss by the features.
    fn d_features(&self, features: &Tensor<T>) -> Result<RowScaled<T>> {
        let n = features.rows_len();
        self.evaluate(&self.head.forward(features)?, Some(&self.head.d_logits(n)?), &self.buffers.outcome.rows(n)?)?;
        self.head.backward_input(&self.buffers.d_features.rows(0..n)?)
    }
}

impl<T: Element> Objective<T::Real> for ClassifierObjective<'_, T> {
    fn gradient(&mut self, x: &Tensor<T::Real>, gradient: &Tensor<T::Real>) -> Result<()> {
        let d_features = self.d_features(&self.model.forward(x)?)?;
        self.model.backward(&d_features, gradient)
    }

    fn ascend(
        &mut self,
        step: &PgdStep<T::Real>,
        steps: usize,
        clean: &Tensor<T::Real>,
        x: &Tensor<T::Real>,
        gradient: &Tensor<T::Real>,
    ) -> Result<()> {
        match step.linf() {
            Some(step) if self.model.steps_in_the_stem() => {
                self.model.ascend(&step, steps, clean, x, |features| self.d_features(features))
            }
            _ => step_by_step(self, step, steps, clean, x, gradient),
        }
    }

    fn loss(&self) -> &Tensor<T::Real> {
        &self.buffers.loss
    }
}

impl<T: Element> Judge<T::Real> for ClassifierObjective<'_, T> {
    fn judge(&mut self, x: &Tensor<T::Real>, outcome: &Outcome<T::Real>) -> Result<()> {
        let logits = self.logits(x)?;
        self.cross_entropy(&logits, None, outcome)?;
        match self.increased {
            ClassifierLoss::CrossEntropy => Ok(()),
            _ => self.evaluate(&logits, None, outcome),
        }
    }
}
