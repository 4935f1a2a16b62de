//! The supervised objectives by the batch's own statistics: the model as it trains.

use super::Objective;
use super::classifier::{ClassifierBuffers, ClassifierLoss};
use crate::element::Element;
use crate::nn::ClassifierNetwork;
use crate::{Result, Tensor};

/// A loss of a network in training form, summed over a batch. Its images influence each other, through the statistics of batch normalisation; every evaluation
/// moves the running ones, as PyTorch's train mode has it, and leaves the parameters' gradients of no use.
pub struct BatchObjective<'a, T: Element> {
    network: &'a ClassifierNetwork<T>,
    buffers: &'a ClassifierBuffers<T>,
    labels: Tensor<i32>,
    increased: ClassifierLoss,
}

impl<'a, T: Element> BatchObjective<'a, T> {
    /// `labels` is `[n]`; `clean` (`[n, 32, 32, 3]`) is what adversaries are of.
    pub fn new(
        network: &'a ClassifierNetwork<T>,
        buffers: &'a ClassifierBuffers<T>,
        labels: &Tensor<i32>,
        increased: ClassifierLoss,
        clean: &Tensor<T::Real>,
    ) -> Result<Self> {
        if increased == ClassifierLoss::KlDivergence {
            buffers.refer_to(&network.forward(clean)?)?;
        }
        Ok(Self { network, buffers, labels: labels.clone(), increased })
    }
}

impl<T: Element> Objective<T::Real> for BatchObjective<'_, T> {
    fn gradient(&mut self, x: &Tensor<T::Real>, gradient: &Tensor<T::Real>) -> Result<()> {
        let n = x.rows_len();
        let (logits, outcome) = (self.network.forward(x)?, self.buffers.outcome(n)?);
        let d_logits = self.network.head().d_logits(n)?;
        self.buffers.evaluate(self.increased, &logits, &self.labels, n, Some(&d_logits), &outcome)?;
        self.network.backward_images(gradient)
    }

    fn loss(&self) -> &Tensor<T::Real> {
        self.buffers.loss()
    }
}
