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

    /// The loss of the last evaluation, `[1]`.
    pub fn loss(&self) -> &Tensor<T::Real> {
        &self.loss
    }

    /// Room for what is said of `n` images.
    pub(super) fn outcome(&self, n: usize) -> Result<Outcome<T::Real>> {
        self.outcome.rows(n)
    }

    /// The classification that a divergence is from.
    pub(super) fn refer_to(&self, logits: &Tensor<T::Real>) -> Result<()> {
        self.reference.rows(0..logits.rows_len())?.copy_from(logits)
    }

    /// The loss that is increased, summed over the first `valid` images.
    pub(super) fn evaluate(
        &self,
        increased: ClassifierLoss,
        logits: &Tensor<T::Real>,
        labels: &Tensor<i32>,
        valid: usize,
        d_logits: Option<&Tensor<T::Real>>,
        outcome: &Outcome<T::Real>,
    ) -> Result<()> {
        // Of the mean, which makes it the sum: an image's gradient does not depend on how full its batch is.
        let weight = valid as f64;
        let (row_loss, loss) = (&outcome.loss, &self.loss);
        match increased {
            ClassifierLoss::CrossEntropy => {
                ops::cross_entropy(logits, labels, valid, weight, d_logits, row_loss, Some(&outcome.correct), loss)
            }
            ClassifierLoss::Margin => ops::margin_loss(logits, labels, valid, weight, d_logits, row_loss, loss),
            ClassifierLoss::KlDivergence => {
                let reference = self.reference.rows(0..logits.rows_len())?;
                ops::kl_divergence(logits, &reference, valid, weight, d_logits, None, row_loss, loss)
            }
        }
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
            self.buffers.refer_to(&self.logits(clean)?)?;
        }
        Ok(Self { increased: loss, ..self })
    }

    /// For each image of `x`, `[n]`, whether the classifier gets it right, after everything launched has finished.
    pub fn correct(&self, x: &Tensor<T::Real>) -> Result<Vec<bool>> {
        let outcome = self.buffers.outcome(x.rows_len())?;
        self.evaluate(ClassifierLoss::CrossEntropy, &self.logits(x)?, None, &outcome)?;
        outcome.right(self.valid)
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

    /// Each image's loss that is increased.
    pub(super) fn increased(&self, logits: &Tensor<T::Real>, outcome: &Outcome<T::Real>) -> Result<()> {
        self.evaluate(self.increased, logits, None, outcome)
    }

    fn evaluate(
        &self,
        increased: ClassifierLoss,
        logits: &Tensor<T::Real>,
        d_logits: Option<&Tensor<T::Real>>,
        outcome: &Outcome<T::Real>,
    ) -> Result<()> {
        self.buffers.evaluate(increased, logits, &self.labels, self.valid, d_logits, outcome)
    }

    /// The gradient of the loss by the features.
    fn d_features(&self, features: &Tensor<T>) -> Result<RowScaled<T>> {
        let n = features.rows_len();
        let (logits, d_logits) = (self.head.forward(features)?, self.head.d_logits(n)?);
        self.evaluate(self.increased, &logits, Some(&d_logits), &self.buffers.outcome(n)?)?;
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
        self.evaluate(ClassifierLoss::CrossEntropy, &logits, None, outcome)?;
        match self.increased {
            ClassifierLoss::CrossEntropy => Ok(()),
            increased => self.evaluate(increased, &logits, None, outcome),
        }
    }
}
