//! The model that is pretrained: encoder and projector over one parameter arena.

use super::backbone::{Backbone, Encoder};
use super::parameters::Parameters;
use super::projector::{Projection, Projector};
use super::topology::Topology;
use super::weights::Weights;
use crate::element::Element;
use crate::{Device, Result, Tensor};

/// Prefix of the projector's parameter names.
pub const PROJECTOR: &str = "projector/";

/// Encoder and projector in training form.
pub struct Network<T: Element> {
    backbone: Backbone<T>,
    projector: Projector<T>,
}

impl<T: Element> Network<T> {
    /// Allocates the network, with a projector of two layers, for passes of up to `max_batch` images, and draws its initial parameters from `seed`.
    pub fn new(
        device: &Device,
        topology: &Topology,
        hidden: usize,
        projection: usize,
        max_batch: usize,
        seed: u64,
    ) -> Result<Self> {
        Self::with(device, topology, Projection::Layers { hidden, out: projection }, max_batch, seed)
    }

    /// The same with any projection.
    pub fn with(device: &Device, topology: &Topology, projection: Projection, max_batch: usize, seed: u64) -> Result<Self> {
        let backbone = Backbone::new(device, topology, projection.specs(PROJECTOR, topology.features), max_batch, seed)?;
        let projector = Projector::of(device, projection, topology.features, backbone.parameters(), PROJECTOR, max_batch)?;
        Ok(Self { projector, backbone })
    }

    /// A projector over the same parameters with buffers of its own, for up to `max_batch` rows.
    pub fn another_projector(&self, device: &Device, max_batch: usize) -> Result<Projector<T>> {
        self.projector.twin(device, self.parameters(), PROJECTOR, max_batch)
    }

    /// The arena.
    pub fn parameters(&self) -> &Parameters<T> {
        self.backbone.parameters()
    }

    /// The encoder and the arena.
    pub fn backbone(&self) -> &Backbone<T> {
        &self.backbone
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder<T> {
        self.backbone.encoder()
    }

    /// Embeddings `[n, projection]` of images `[n, 32, 32, 3]` in [0, 1], with batch statistics; moves the running statistics.
    pub fn forward(&self, images: &Tensor<T::Real>) -> Result<Tensor<T::Real>> {
        self.projector.forward(&self.backbone.forward(images)?)
    }

    /// Begins a training step: see [`Backbone::begin_step`].
    pub fn begin_step(&self) -> Result<()> {
        self.backbone.begin_step()
    }

    /// Ends a training step: see [`Backbone::end_step`].
    pub fn end_step(&self) -> Result<()> {
        self.backbone.end_step()
    }

    /// Adds the gradients of all parameters, times the loss scale if there is one, for the images of the last forward.
    pub fn backward(&self, images: &Tensor<T::Real>, d_embedding: &Tensor<T::Real>) -> Result<()> {
        let features = self.encoder().features(images.rows_len())?;
        let d_features = self.projector.backward(&features, d_embedding, self.parameters().loss_scale())?;
        self.backbone.backward(images, &d_features)
    }
}

impl<T: Element> AsRef<Weights<T>> for Network<T> {
    fn as_ref(&self) -> &Weights<T> {
        self.backbone.as_ref()
    }
}
