//! The linear head: features to class scores.

use super::linear::Linear;
use super::parameters::{ParameterSpec, Parameters};
use super::staging::{RowScaled, Staging};
use crate::element::Element;
use crate::{Device, Result, Tensor};

/// Prefix of the head's parameter names.
pub const LINEAR: &str = "linear";

/// A linear classifier with its own parameters and buffers.
pub struct Classifier<T: Element> {
    parameters: Parameters<T>,
    linear: Linear<T>,
    logits: Tensor<T::Real>,
    d_logits: Tensor<T::Real>,
    staging: Staging<T>,
}

impl<T: Element> Classifier<T> {
    /// For up to `max_batch` rows; parameters are drawn from `seed`.
    pub fn new(device: &Device, features: usize, classes: usize, max_batch: usize, seed: u64) -> Result<Self> {
        let specs = vec![
            ParameterSpec::new(format!("{LINEAR}.weight"), &[classes, features]),
            ParameterSpec::new(format!("{LINEAR}.bias"), &[classes]),
        ];
        let parameters = Parameters::new(device, specs)?;
        super::initialize(&parameters, seed)?;
        Ok(Self {
            linear: Linear::new(&parameters, LINEAR)?,
            logits: Tensor::zeros(device, [max_batch, classes])?,
            d_logits: Tensor::zeros(device, [max_batch, classes])?,
            staging: Staging::new(device, [max_batch, classes])?,
            parameters,
        })
    }

    /// The arena.
    pub fn parameters(&self) -> &Parameters<T> {
        &self.parameters
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.linear.bias.value.len()
    }

    /// The width of the features it reads.
    pub fn features(&self) -> usize {
        self.linear.weight.value.len() / self.classes()
    }

    /// Class scores `[n, classes]` of features `[n, features]`.
    pub fn forward(&self, features: &Tensor<T>) -> Result<Tensor<T::Real>> {
        let logits = self.logits.rows(0..features.rows_len())?;
        self.linear.forward(features, false, &self.staging.space(&logits)?)?;
        self.staging.deliver(&logits)?;
        Ok(logits)
    }

    /// Where the loss writes the gradient of the scores of `n` rows.
    pub fn d_logits(&self, n: usize) -> Result<Tensor<T::Real>> {
        self.d_logits.rows(0..n)
    }

    /// Gradient of the features, each row by itself, from [`Classifier::d_logits`]; stored in `d_features`.
    pub fn backward_input(&self, d_features: &Tensor<T>) -> Result<RowScaled<T>> {
        let RowScaled { values, unscale } = self.staging.store_rows(&self.d_logits(d_features.rows_len())?)?;
        self.linear.backward_input(&values, d_features)?;
        Ok(RowScaled { values: d_features.clone(), unscale })
    }

    /// Adds the parameters' gradients, times their loss scale, from [`Classifier::d_logits`].
    pub fn backward_parameters(&self, features: &Tensor<T>) -> Result<()> {
        let d_logits = self.staging.store_by(&self.d_logits(features.rows_len())?, self.parameters.loss_scale())?;
        self.linear.backward_parameters(features, &d_logits)
    }
}
