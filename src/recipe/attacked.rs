//! The model as the attack of pretraining sees it.

use super::Recipe;
use crate::attack::{InstanceBuffers, InstanceObjective};
use crate::element::Element;
use crate::loss::EmbeddingLoss;
use crate::nn::{Inference, Network, Projector};
use crate::{Device, Result, Tensor};

/// Encoder in inference form, projector, and the buffers of the objective, in the way that `attack.reuse_target` and
/// `attack.fold_batch_norm` ask for.
pub struct Attacked<T: Element> {
    encoder: Inference<T>,
    projector: Projector<T>,
    buffers: InstanceBuffers<T>,
}

impl<T: Element> Attacked<T> {
    /// Allocates what batches of the recipe need. The projector is the network's; call [`Attacked::copy_from`] for the encoder.
    pub fn new(device: &Device, recipe: &Recipe, network: &Network<T>) -> Result<Self> {
        let (batch, projection) = (recipe.train.batch_size as usize, recipe.embedding());
        let (images, buffers) = if recipe.attack.reuse_target {
            (batch, InstanceBuffers::new(device, batch, projection)?)
        } else {
            (2 * batch, InstanceBuffers::for_both(device, batch, projection)?)
        };
        let form = if recipe.attack.fold_batch_norm { Inference::folded } else { Inference::unfolded };
        let encoder = form(device, &recipe.topology(), images)?;
        Ok(Self { encoder, projector: network.another_projector(device, images)?, buffers })
    }

    /// Takes over the encoder's current parameters and running statistics.
    pub fn copy_from(&self, network: &Network<T>) -> Result<()> {
        self.encoder.copy_from(network)
    }

    /// The loss of an image against `target`, `[batch, 32, 32, 3]`.
    pub fn objective<'a>(
        &'a self,
        loss: &'a dyn EmbeddingLoss<T::Real>,
        target: &Tensor<T::Real>,
    ) -> Result<InstanceObjective<'a, T>> {
        InstanceObjective::new(&self.encoder, &self.projector, loss, &self.buffers, target)
    }

    /// The loss of the objective's last evaluation, `[1]`.
    pub fn loss(&self) -> &Tensor<T::Real> {
        self.buffers.loss()
    }

    /// The encoder.
    pub fn encoder(&self) -> &Inference<T> {
        &self.encoder
    }

    /// The projector.
    pub fn projector(&self) -> &Projector<T> {
        &self.projector
    }
}
