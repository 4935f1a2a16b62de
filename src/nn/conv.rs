//! A 2-D convolution without bias (batch normalisation follows it).

use super::parameters::{Parameter, Parameters};
use super::topology::ConvSpec;
use crate::element::Element;
use crate::ops;
use crate::{Result, Tensor};

/// Filters `[k, r, s, c]` with their stride and padding.
pub struct Conv2d<T: Element> {
    pub(super) filter: Parameter<T>,
    stride: usize,
    pad: usize,
}

impl<T: Element> Conv2d<T> {
    pub(super) fn new(parameters: &Parameters<T>, prefix: &str, spec: &ConvSpec) -> Result<Self> {
        Ok(Self { filter: parameters.get(&format!("{prefix}{}.weight", spec.conv))?, stride: spec.stride, pad: spec.pad() })
    }

    pub(super) fn forward(&self, x: &Tensor<T>, y: &Tensor<T>) -> Result<()> {
        ops::conv_fprop(x, &self.filter.working, self.stride, self.pad, ops::Epilogue::default(), y)
    }

    /// Gradient of the filters, added to what earlier passes of the step left.
    pub(super) fn backward_filter(&self, x: &Tensor<T>, dy: &Tensor<T>) -> Result<()> {
        ops::conv_wgrad(x, dy, self.stride, self.pad, true, &self.filter.gradient)
    }

    /// Gradient of the input, plus `residual` where another branch contributes.
    pub(super) fn backward_input(&self, dy: &Tensor<T>, residual: Option<&Tensor<T>>, dx: &Tensor<T>) -> Result<()> {
        ops::conv_dgrad(dy, &self.filter.working, self.stride, self.pad, residual, None, dx)
    }
}
