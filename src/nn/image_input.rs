//! How images reach the stem, and how their gradient comes back: normalised if the model was trained so, and in the storage type.
//!
//! Normalisation is not folded into the stem's convolution: the zeros that pad the normalised image are not those that would pad the image, so that
//! pixels at the border would differ.
//!
//! In a 16-bit type a pixel is two numbers, rounded value and rest, since one would lose the small steps of an attack; see [`ops::stem_images`] and
//! [`StemFilter`](super::stem_filter::StemFilter).

use super::topology::{Normalization, Topology};
use crate::element::{Element, Real};
use crate::{Device, Error, Result, Tensor, ops};

/// Images in [0, 1] of the arithmetic type, as the stem reads them. Where types agree and nothing is normalised, the very same tensors.
pub(super) struct ImageInput<T: Element> {
    /// The images, and later, when they are no longer needed, their gradient. None where both are the caller's tensors.
    buffer: Option<Tensor<T>>,
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
        let normalization = topology.normalization.as_ref().map(|n| ChannelStatistics::new(device, n)).transpose()?;
        let channels = if T::NARROW { ops::STEM_CHANNELS } else { topology.stem.c };
        let buffered = T::NARROW || normalization.is_some();
        let buffer = || Tensor::zeros(device, [max_batch, topology.image_size, topology.image_size, channels]);
        Ok(Self { buffer: buffered.then(buffer).transpose()?, normalization })
    }

    /// Whether the stem reads something other than the very same tensors.
    pub fn is_buffered(&self) -> bool {
        self.buffer.is_some()
    }

    /// Mean and standard deviation, where images are normalised.
    pub fn statistics(&self) -> Option<[&Tensor<T::Real>; 2]> {
        self.normalization.as_ref().map(|ChannelStatistics { mean, std }| [mean, std])
    }

    /// The images as the stem reads them: (x − mean)/std.
    pub fn store(&self, images: &Tensor<T::Real>) -> Result<Tensor<T>> {
        let stored = self.gradient_space(images)?;
        match self.statistics() {
            statistics if T::NARROW => ops::stem_images(images, statistics, &stored)?,
            Some([mean, std]) => ops::normalize(images, mean, std, &stored)?,
            None => {}
        }
        Ok(stored)
    }

    /// Where to write the gradient of what [`ImageInput::store`] returned, overwriting that; [`ImageInput::deliver_gradient`] completes it.
    pub fn gradient_space(&self, d_images: &Tensor<T::Real>) -> Result<Tensor<T>> {
        match (&self.buffer, d_images.same_type::<T>()) {
            (Some(buffer), _) => buffer.rows(0..d_images.rows_len()),
            (None, Some(same)) => Ok(same),
            (None, None) => Err(Error::shape("images", "a buffer is needed where the types differ")),
        }
    }

    /// The gradient of the images themselves: that of what the stem reads, divided by std, and each image's multiplied by its `unscale` (`[n]`).
    pub fn deliver_gradient(&self, unscale: Option<&Tensor<T::Real>>, d_images: &Tensor<T::Real>) -> Result<()> {
        let std = self.normalization.as_ref().map(|statistics| &statistics.std);
        match std {
            _ if T::NARROW => ops::stem_images_backward(&self.gradient_space(d_images)?, std, unscale, d_images),
            Some(std) => ops::normalize_backward(&self.gradient_space(d_images)?, std, d_images),
            None => Ok(()),
        }
    }
}
