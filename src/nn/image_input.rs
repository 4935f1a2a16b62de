//! How images reach the stem, and how their gradient comes back: normalised if the model was trained so, and in the storage type.
//!
//! Normalisation is not folded into the stem's convolution: the zeros that pad the normalised image are not those that would pad the image, so that
//! pixels at the border would differ.

use super::staging::Staging;
use super::topology::{Normalization, Topology};
use crate::element::{Element, Real};
use crate::{Device, Result, Tensor, ops};

/// Images in [0, 1] of the arithmetic type, as the stem reads them. Where types agree and nothing is normalised, the very same tensors.
pub(super) struct ImageInput<T: Element> {
    /// The images, and later, when they are no longer needed, their gradient.
    staging: Staging<T>,
    normalization: Option<ChannelStatistics<T::Real>>,
}

/// `[3]` each.
struct ChannelStatistics<R: Real> {
    mean: Tensor<R>,
    std: Tensor<R>,
}

impl<R: Real> ChannelStatistics<R> {
    fn new(device: &Device, normalization: &Normalization) -> Result<Self> {
        let upload = |values: [f64; 3]| Tensor::from_slice(device, [3], &values.map(R::from_f64));
        Ok(Self { mean: upload(normalization.mean)?, std: upload(normalization.std)? })
    }
}

impl<T: Element> ImageInput<T> {
    /// For batches of up to `max_batch` images.
    pub fn new(device: &Device, topology: &Topology, max_batch: usize) -> Result<Self> {
        let shape = [max_batch, topology.image_size, topology.image_size, topology.stem.c];
        let normalization = topology.normalization.as_ref().map(|n| ChannelStatistics::new(device, n)).transpose()?;
        let staging = if normalization.is_some() { Staging::buffered(device, shape)? } else { Staging::new(device, shape)? };
        Ok(Self { staging, normalization })
    }

    /// The images as the stem reads them: (x − mean)/std.
    pub fn store(&self, images: &Tensor<T::Real>) -> Result<Tensor<T>> {
        let Some(ChannelStatistics { mean, std }) = &self.normalization else { return self.staging.store(images) };
        let stored = self.staging.space(images)?;
        ops::normalize(images, mean, std, &stored)?;
        Ok(stored)
    }

    /// Where to write the gradient of what [`ImageInput::store`] returned, overwriting that; [`ImageInput::deliver_gradient`] completes it.
    pub fn gradient_space(&self, d_images: &Tensor<T::Real>) -> Result<Tensor<T>> {
        self.staging.space(d_images)
    }

    /// The gradient of the images themselves: that of what the stem reads, divided by std.
    pub fn deliver_gradient(&self, d_images: &Tensor<T::Real>) -> Result<()> {
        match &self.normalization {
            Some(ChannelStatistics { std, .. }) => ops::normalize_backward(&self.staging.space(d_images)?, std, d_images),
            None => self.staging.deliver(d_images),
        }
    }
}
