//! A fully connected layer: y = x Wᵀ + b.

use super::parameters::{Parameter, Parameters};
use crate::element::Element;
use crate::ops;
use crate::{Result, Tensor};

/// Weight `[out, in]` and bias `[out]`.
pub struct Linear<T: Element> {
    pub(super) weight: Parameter<T>,
    pub(super) bias: Parameter<T>,
}

impl<T: Element> Linear<T> {
    /// Looks up `name.weight` and `name.bias`.
    pub fn new(parameters: &Parameters<T>, name: &str) -> Result<Self> {
        Ok(Self { weight: parameters.get(&format!("{name}.weight"))?, bias: parameters.get(&format!("{name}.bias"))? })
    }

    /// `x` is `[n, in]`, `y` `[n, out]`.
    pub fn forward(&self, x: &Tensor<T>, relu: bool, y: &Tensor<T>) -> Result<()> {
        ops::linear(x, &self.weight.working, Some(&self.bias.working), relu, y)
    }

    /// Gradient of the input.
    pub fn backward_input(&self, dy: &Tensor<T>, dx: &Tensor<T>) -> Result<()> {
        ops::linear_dgrad(dy, &self.weight.working, dx)
    }

    /// Gradients of weight and bias, added to what is there.
    pub fn backward_parameters(&self, x: &Tensor<T>, dy: &Tensor<T>) -> Result<()> {
        ops::linear_wgrad(x, dy, &self.weight.gradient)?;
        ops::bias_gradient(dy, &self.bias.gradient)
    }
}
