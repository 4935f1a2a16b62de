//! The model that is pretrained: encoder and projector over one parameter arena.

use super::image_input::ImageInput;
use super::init::initialize;
use super::parameters::Parameters;
use super::projector::Projector;
pub use super::resnet::Encoder;
use super::topology::Topology;
use crate::element::Element;
use crate::{Device, Result, Tensor};

/// Prefix of the encoder's parameter names.
pub const MODEL: &str = "model/";
/// Prefix of the projector's parameter names.
pub const PROJECTOR: &str = "projector/";

/// Encoder and projector in training form.
pub struct Network<T: Element> {
    parameters: Parameters<T>,
    encoder: Encoder<T>,
    projector: Projector<T>,
    input: ImageInput<T>,
}

impl<T: Element> Network<T> {
    /// Allocates the network for passes of up to `max_batch` images, and draws its initial parameters from `seed`.
    pub fn new(
        device: &Device,
        topology: &Topology,
        hidden: usize,
        projection: usize,
        max_batch: usize,
        seed: u64,
    ) -> Result<Self> {
        let mut specs = topology.parameters(MODEL);
        specs.extend(Projector::<T>::specs(PROJECTOR, topology.features, hidden, projection));
        let parameters = Parameters::new(device, specs)?;
        initialize(&parameters, seed)?;
        Ok(Self {
            encoder: Encoder::new(device, &parameters, MODEL, topology, max_batch)?,
            projector: Projector::new(device, &parameters, PROJECTOR, max_batch)?,
            input: ImageInput::new(device, topology, max_batch)?,
            parameters,
        })
    }

    /// The arena.
    pub fn parameters(&self) -> &Parameters<T> {
        &self.parameters
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder<T> {
        &self.encoder
    }

    /// Embeddings `[n, projection]` of images `[n, 32, 32, 3]` in [0, 1], with batch statistics; moves the running statistics.
    pub fn forward(&self, images: &Tensor<T::Real>) -> Result<Tensor<T::Real>> {
        let features = self.encoder.forward(&self.input.store(images)?)?;
        self.projector.forward(&features)
    }

    /// Begins a training step: gradients are zero, and where there is a loss scale, the running statistics are noted.
    pub fn begin_step(&self) -> Result<()> {
        self.parameters.clear_gradients()?;
        self.encoder.statistics.note()
    }

    /// Ends a training step, behind the optimiser: if that skipped it, the running statistics are those noted.
    pub fn end_step(&self) -> Result<()> {
        self.encoder.statistics.undo_if_skipped(self.parameters.loss_scale())
    }

    /// Adds the gradients of all parameters, times the loss scale if there is one, for the images of the last forward.
    pub fn backward(&self, images: &Tensor<T::Real>, d_embedding: &Tensor<T::Real>) -> Result<()> {
        let features = self.encoder.features(images.rows_len())?;
        let d_features = self.projector.backward(&features, d_embedding, self.parameters.loss_scale())?;
        self.encoder.backward(&self.input.store(images)?, &d_features)
    }
}
