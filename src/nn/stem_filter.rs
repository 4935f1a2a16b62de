//! The stem's filters as [`ImageInput`](super::image_input::ImageInput) needs them in a 16-bit type.

use super::topology::ConvSpec;
use crate::element::Element;
use crate::{Device, Result, Tensor, ops};

/// Filters over a pixel's rounded value and its rest: the same twice, `[k, r, s, 8]`. Parameters, optimiser and checkpoints know those over three channels.
pub(super) struct StemFilter<T: Element> {
    repeated: Tensor<T>,
    gradient: Tensor<T::Real>,
}

impl<T: Element> StemFilter<T> {
    /// For the stem; none in a type that holds a pixel in one number.
    pub fn new(device: &Device, stem: &ConvSpec) -> Result<Option<Self>> {
        if !T::NARROW {
            return Ok(None);
        }
        let shape = [stem.k, stem.r, stem.r, ops::STEM_CHANNELS];
        Ok(Some(Self { repeated: Tensor::zeros(device, shape)?, gradient: Tensor::zeros(device, shape)? }))
    }

    /// The filters, as last renewed.
    pub fn repeated(&self) -> &Tensor<T> {
        &self.repeated
    }

    /// Takes over `filter`, `[k, r, s, 3]`.
    pub fn renew(&self, filter: &Tensor<T>) -> Result<()> {
        ops::stem_filters(filter, &self.repeated)
    }

    /// Adds the filters' gradient, of both parts of the images `x` (`[n, h, w, 8]`), to `gradient`, `[k, r, s, 3]`.
    pub fn backward(&self, x: &Tensor<T>, dy: &Tensor<T>, stride: usize, pad: usize, gradient: &Tensor<T::Real>) -> Result<()> {
        ops::conv_wgrad(x, dy, stride, pad, false, &self.gradient)?;
        ops::stem_filters_backward(&self.gradient, gradient)
    }
}
