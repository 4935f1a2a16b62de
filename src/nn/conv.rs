//! A 2-D convolution without bias (batch normalisation follows it).

use super::parameters::Parameter;
use super::stem_filter::StemFilter;
use super::topology::ConvSpec;
use super::weights::Weights;
use crate::element::Element;
use crate::ops;
use crate::{Device, Result, Tensor};

/// Filters `[k, r, s, c]` with their stride and padding.
pub struct Conv2d<T: Element> {
    pub(super) filter: Parameter<T>,
    /// What stands in for the filters where images are read in a 16-bit type.
    stem: Option<StemFilter<T>>,
    stride: usize,
    pad: usize,
}

impl<T: Element> Conv2d<T> {
    pub(super) fn new(weights: &Weights<T>, spec: &ConvSpec) -> Result<Self> {
        Ok(Self { filter: weights.filter(&spec.conv)?, stem: None, stride: spec.stride, pad: spec.pad() })
    }

    /// The same, reading images as [`ImageInput`](super::image_input::ImageInput) stores them.
    pub(super) fn of_images(self, device: &Device, spec: &ConvSpec) -> Result<Self> {
        Ok(Self { stem: StemFilter::new(device, spec)?, ..self })
    }

    /// As the last forward had it.
    fn filter(&self) -> &Tensor<T> {
        self.stem.as_ref().map_or(&self.filter.working, StemFilter::repeated)
    }

    pub(super) fn forward(&self, x: &Tensor<T>, y: &Tensor<T>) -> Result<()> {
        // Some hundred numbers: renewed for every pass, they are never those of an earlier step.
        self.stem.as_ref().map_or(Ok(()), |stem| stem.renew(&self.filter.working))?;
        ops::conv_fprop(x, self.filter(), self.stride, self.pad, ops::Epilogue::default(), y)
    }

    /// Gradient of the filters, added to what earlier passes of the step left.
    pub(super) fn backward_filter(&self, x: &Tensor<T>, dy: &Tensor<T>) -> Result<()> {
        match &self.stem {
            Some(stem) => stem.backward(x, dy, self.stride, self.pad, &self.filter.gradient),
            None => ops::conv_wgrad(x, dy, self.stride, self.pad, true, &self.filter.gradient),
        }
    }

    /// Gradient of the input, plus `residual` where another branch contributes.
    pub(super) fn backward_input(&self, dy: &Tensor<T>, residual: Option<&Tensor<T>>, dx: &Tensor<T>) -> Result<()> {
        ops::conv_dgrad(dy, self.filter(), self.stride, self.pad, residual, None, dx)
    }
}
