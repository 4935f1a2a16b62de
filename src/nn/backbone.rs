//! What every model that is trained has: an encoder in training form, and the arena of all parameters.

use super::image_input::ImageInput;
use super::parameters::{ParameterSpec, Parameters};
pub use super::resnet::Encoder;
use super::topology::Topology;
use super::weights::Weights;
use crate::element::Element;
use crate::{Device, Result, Tensor};

/// An encoder over an arena that also holds what is put on it.
pub struct Backbone<T: Element> {
    encoder: Encoder<T>,
    input: ImageInput<T>,
}

impl<T: Element> Backbone<T> {
    /// Allocates encoder and arena for passes of up to `max_batch` images, and draws the initial parameters from `seed`. Those of `heads` lie behind the
    /// encoder's.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) for a network that has no training form.
    pub fn new(
        device: &Device,
        topology: &Topology,
        heads: impl IntoIterator<Item = ParameterSpec>,
        max_batch: usize,
        seed: u64,
    ) -> Result<Self> {
        Self::over(device, &Weights::new(device, topology, heads, seed)?, topology, max_batch)
    }

    /// Other activations over the same parameters and running statistics, so that the pass through one can be propagated back after one through the other.
    pub fn twin(&self, device: &Device, topology: &Topology, max_batch: usize) -> Result<Self> {
        Self::over(device, self.encoder.weights(), topology, max_batch)
    }

    fn over(device: &Device, weights: &Weights<T>, topology: &Topology, max_batch: usize) -> Result<Self> {
        Ok(Self {
            encoder: Encoder::new(device, weights, topology, max_batch)?,
            input: ImageInput::new(device, topology, max_batch)?,
        })
    }

    /// From now on every batch normalisation is by the running statistics, which stay as they are; its scale and shift are trained all the same.
    pub fn freeze_statistics(&mut self) {
        self.encoder.freeze_statistics();
    }

    /// The arena.
    pub fn parameters(&self) -> &Parameters<T> {
        self.encoder.weights().parameters()
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder<T> {
        &self.encoder
    }

    /// Features `[n, features]` of images `[n, 32, 32, 3]` in [0, 1], with batch statistics; moves the running statistics.
    pub fn forward(&self, images: &Tensor<T::Real>) -> Result<Tensor<T>> {
        self.encoder.forward(&self.input.store(images)?)
    }

    /// Begins a training step: gradients are zero, and where there is a loss scale, the running statistics are noted.
    pub fn begin_step(&self) -> Result<()> {
        self.parameters().clear_gradients()?;
        self.encoder.weights().statistics.note()
    }

    /// Ends a training step, behind the optimiser: if that skipped it, the running statistics are those noted.
    pub fn end_step(&self) -> Result<()> {
        self.encoder.weights().statistics.undo_if_skipped(self.parameters().loss_scale())
    }

    /// Adds the gradients of the encoder's parameters for the images of the last forward; both are times the loss scale, if there is one.
    pub fn backward(&self, images: &Tensor<T::Real>, d_features: &Tensor<T>) -> Result<()> {
        self.encoder.backward(&self.input.store(images)?, d_features)
    }

    /// The gradient of the images of the last forward, through the batch statistics; times the loss scale, if there is one. The parameters' gradients are
    /// of no use afterwards.
    pub fn backward_images(&self, d_features: &Tensor<T>, d_images: &Tensor<T::Real>) -> Result<()> {
        self.encoder.backward_images(d_features, &self.input.gradient_space(d_images)?)?;
        self.input.deliver_gradient(None, d_images)
    }
}

impl<T: Element> AsRef<Weights<T>> for Backbone<T> {
    fn as_ref(&self) -> &Weights<T> {
        self.encoder.weights()
    }
}
