//! The linear head: features to class scores.

use super::linear::Linear;
use super::parameters::{ParameterSpec, Parameters};
use super::staging::{RowScaled, Staging};
use crate::element::Element;
use crate::{Device, Result, Tensor};

/// Prefix of the head's parameter names.
pub const LINEAR: &str = "linear";

/// A linear classifier with its own buffers, over an arena of its own or a model's.
pub struct Classifier<T: Element> {
    parameters: Parameters<T>,
    linear: Linear<T>,
    logits: Tensor<T::Real>,
    d_logits: Tensor<T::Real>,
    staging: Staging<T>,
}

impl<T: Element> Classifier<T> {
    /// Names and shapes of its parameters.
    pub fn specs(features: usize, classes: usize) -> Vec<ParameterSpec> {
        vec![
            ParameterSpec::new(format!("{LINEAR}.weight"), &[classes, features]),
            ParameterSpec::new(format!("{LINEAR}.bias"), &[classes]),
        ]
    }

    /// For up to `max_batch` rows; parameters are drawn from `seed`.
    pub fn new(device: &Device, features: usize, classes: usize, max_batch: usize, seed: u64) -> Result<Self> {
        let parameters = Parameters::new(device, Self::specs(features, classes))?;
        super::initialize(&parameters, seed)?;
        Self::over(device, &parameters, max_batch)
    }

    /// Buffers for up to `max_batch` rows over the parameters of an arena that holds more than a head.
    pub fn over(device: &Device, parameters: &Parameters<T>, max_batch: usize) -> Result<Self> {
        let linear = Linear::new(parameters, LINEAR)?;
        let classes = linear.bias.value.len();
        Ok(Self {
            linear,
            logits: Tensor::zeros(device, [max_batch, classes])?,
            d_logits: Tensor::zeros(device, [max_batch, classes])?,
            staging: Staging::new(device, [max_batch, classes])?,
            parameters: parameters.clone(),
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
        self.linear.backward_parameters(features, &self.scaled_d_logits(features.rows_len())?)
    }

    /// The same, and the gradient of the features, times the loss scale too; stored in `d_features`.
    pub fn backward(&self, features: &Tensor<T>, d_features: &Tensor<T>) -> Result<()> {
        let d_logits = self.scaled_d_logits(features.rows_len())?;
        self.linear.backward_parameters(features, &d_logits)?;
        self.linear.backward_input(&d_logits, d_features)
    }

    /// The gradient of the features alone, times the loss scale.
    pub(super) fn backward_scaled_input(&self, d_features: &Tensor<T>) -> Result<()> {
        self.linear.backward_input(&self.scaled_d_logits(d_features.rows_len())?, d_features)
    }

    fn scaled_d_logits(&self, n: usize) -> Result<Tensor<T>> {
        self.staging.store_by(&self.d_logits(n)?, self.parameters.loss_scale())
    }
}
