//! The instance-wise objective of RoCL (section 3.2): dissimilarity of an image's embedding to that of its other view.

use super::Objective;
use crate::element::Element;
use crate::loss::EmbeddingLoss;
use crate::nn::{Folded, Projector, Staging};
use crate::{Device, Result, Tensor};

/// Contrastive loss over [f(x), f(target)], as a function of x.
///
/// Batch normalisation uses running statistics, and (with detached keys) no gradient reaches the target, so the target is embedded **once** and only x is
/// propagated back: the same adversary as embedding both in every step, for little more than half the work.
pub struct InstanceObjective<'a, T: Element> {
    model: &'a Folded<T>,
    projector: &'a Projector<T>,
    loss_function: &'a dyn EmbeddingLoss<T::Real>,
    buffers: &'a InstanceBuffers<T>,
}

/// What the objective writes to, for one batch size.
pub struct InstanceBuffers<T: Element> {
    batch: usize,
    embeddings: Tensor<T::Real>,
    d_embeddings: Tensor<T::Real>,
    loss: Tensor<T::Real>,
    images: Staging<T>,
    gradients: Staging<T>,
}

impl<T: Element> InstanceBuffers<T> {
    /// For batches of exactly `batch` images and embeddings of `projection` dimensions.
    pub fn new(device: &Device, batch: usize, projection: usize) -> Result<Self> {
        Ok(Self {
            batch,
            embeddings: Tensor::zeros(device, [2 * batch, projection])?,
            d_embeddings: Tensor::zeros(device, [2 * batch, projection])?,
            loss: Tensor::zeros(device, [1])?,
            images: Staging::new(device, [batch, 32, 32, 3])?,
            gradients: Staging::new(device, [batch, 32, 32, 3])?,
        })
    }

    /// The loss of the last evaluation, `[1]`.
    pub fn loss(&self) -> &Tensor<T::Real> {
        &self.loss
    }
}

impl<'a, T: Element> InstanceObjective<'a, T> {
    /// Embeds `target` and is ready to be attacked.
    pub fn new(
        model: &'a Folded<T>,
        projector: &'a Projector<T>,
        loss_function: &'a dyn EmbeddingLoss<T::Real>,
        buffers: &'a InstanceBuffers<T>,
        target: &Tensor<T::Real>,
    ) -> Result<Self> {
        let objective = Self { model, projector, loss_function, buffers };
        objective.embed(target, buffers.batch)?;
        Ok(objective)
    }

    /// Writes f(images) to the rows from `row` on.
    fn embed(&self, images: &Tensor<T::Real>, row: usize) -> Result<()> {
        let features = self.model.forward(&self.buffers.images.store(images)?)?;
        self.projector.forward_into(&features, &self.buffers.embeddings.rows(row..row + self.buffers.batch)?)
    }
}

impl<T: Element> Objective<T::Real> for InstanceObjective<'_, T> {
    fn gradient(&mut self, x: &Tensor<T::Real>, gradient: &Tensor<T::Real>) -> Result<()> {
        let InstanceBuffers { batch, embeddings, d_embeddings, loss, gradients, .. } = self.buffers;
        self.embed(x, 0)?;
        self.loss_function.evaluate(embeddings, 2, 1.0, d_embeddings, *batch, loss)?;
        let d_features = self.projector.backward_input(&d_embeddings.rows(0..*batch)?)?;
        self.model.backward(&d_features, &gradients.space(gradient)?)?;
        gradients.deliver(gradient)
    }

    fn loss(&self) -> &Tensor<T::Real> {
        &self.buffers.loss
    }
}
