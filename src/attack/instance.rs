//! The instance-wise objective of RoCL (section 3.2): dissimilarity of an image's embedding to that of its other view.

use super::{Objective, step_by_step};
use crate::element::Element;
use crate::loss::EmbeddingLoss;
use crate::nn::{Inference, Projector, RowScaled};
use crate::ops::PgdStep;
use crate::{Device, Result, Tensor};

/// Contrastive loss over [f(x), f(target)], as a function of x.
///
/// Batch normalisation uses running statistics, so that f(target) depends on the target alone: it is the same in every step of an attack, and no
/// gradient reaches x through it. Hence the target is embedded **once** and only x is propagated back: the same adversary as with both in every
/// step, for little more than half the work. [`InstanceBuffers::for_both`] has it done the long way.
pub struct InstanceObjective<'a, T: Element> {
    model: &'a Inference<T>,
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
    both: Option<Both<T>>,
}

/// x | target, and the gradient of either, `[2 · batch, 32, 32, 3]`.
struct Both<T: Element> {
    images: Tensor<T::Real>,
    gradients: Tensor<T::Real>,
}

impl<T: Element> InstanceBuffers<T> {
    /// For batches of exactly `batch` images and embeddings of `projection` dimensions.
    pub fn new(device: &Device, batch: usize, projection: usize) -> Result<Self> {
        Ok(Self {
            batch,
            embeddings: Tensor::zeros(device, [2 * batch, projection])?,
            d_embeddings: Tensor::zeros(device, [2 * batch, projection])?,
            loss: Tensor::zeros(device, [1])?,
            both: None,
        })
    }

    /// Like [`InstanceBuffers::new`], for an objective that embeds the target along with x in every evaluation and propagates both back, as
    /// the released code does. Model and projector have to have room for 2 · `batch` images.
    pub fn for_both(device: &Device, batch: usize, projection: usize) -> Result<Self> {
        let images = || Tensor::zeros(device, [2 * batch, 32, 32, 3]);
        Ok(Self { both: Some(Both { images: images()?, gradients: images()? }), ..Self::new(device, batch, projection)? })
    }

    /// The loss of the last evaluation, `[1]`.
    pub fn loss(&self) -> &Tensor<T::Real> {
        &self.loss
    }
}

impl<'a, T: Element> InstanceObjective<'a, T> {
    /// Embeds `target` (or keeps it, to be embedded in every evaluation) and is ready to be attacked.
    pub fn new(
        model: &'a Inference<T>,
        projector: &'a Projector<T>,
        loss_function: &'a dyn EmbeddingLoss<T::Real>,
        buffers: &'a InstanceBuffers<T>,
        target: &Tensor<T::Real>,
    ) -> Result<Self> {
        let objective = Self { model, projector, loss_function, buffers };
        let rows = buffers.batch..2 * buffers.batch;
        match &buffers.both {
            Some(both) => both.images.rows(rows)?.copy_from(target)?,
            None => objective.embed(target, &buffers.embeddings.rows(rows)?)?,
        }
        Ok(objective)
    }

    /// f(images).
    fn embed(&self, images: &Tensor<T::Real>, embeddings: &Tensor<T::Real>) -> Result<()> {
        self.projector.forward_into(&self.model.forward(images)?, embeddings)
    }

    /// Loss over all embeddings, and the gradient of the features of the first `rows` images, those of the last forward.
    fn d_features(&self, rows: usize) -> Result<RowScaled<T>> {
        let InstanceBuffers { embeddings, d_embeddings, loss, .. } = self.buffers;
        self.loss_function.evaluate(embeddings, 2, 1.0, d_embeddings, rows, loss)?;
        self.projector.backward_input(&d_embeddings.rows(0..rows)?)
    }

    fn propagate_back(&self, d_images: &Tensor<T::Real>) -> Result<()> {
        self.model.backward(&self.d_features(d_images.rows_len())?, d_images)
    }
}

impl<T: Element> Objective<T::Real> for InstanceObjective<'_, T> {
    fn gradient(&mut self, x: &Tensor<T::Real>, gradient: &Tensor<T::Real>) -> Result<()> {
        let InstanceBuffers { batch, embeddings, both, .. } = self.buffers;
        match both {
            None => {
                self.embed(x, &embeddings.rows(0..*batch)?)?;
                self.propagate_back(gradient)
            }
            Some(Both { images, gradients }) => {
                images.rows(0..*batch)?.copy_from(x)?;
                self.embed(images, embeddings)?;
                self.propagate_back(gradients)?;
                gradient.copy_from(&gradients.rows(0..*batch)?)
            }
        }
    }

    fn ascend(
        &mut self,
        step: &PgdStep<T::Real>,
        steps: usize,
        clean: &Tensor<T::Real>,
        x: &Tensor<T::Real>,
        gradient: &Tensor<T::Real>,
    ) -> Result<()> {
        let InstanceBuffers { batch, embeddings, both, .. } = self.buffers;
        let Some(in_the_stem) = step.linf().filter(|_| both.is_none() && self.model.steps_in_the_stem()) else {
            return step_by_step(self, step, steps, clean, x, gradient);
        };
        self.model.ascend(&in_the_stem, steps, clean, x, |features| {
            self.projector.forward_into(features, &embeddings.rows(0..*batch)?)?;
            self.d_features(*batch)
        })
    }

    fn loss(&self) -> &Tensor<T::Real> {
        &self.buffers.loss
    }
}
