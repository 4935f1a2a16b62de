//! The projector: Linear → ReLU → Linear, from features to the embedding the contrastive loss sees.

use super::linear::Linear;
use super::parameters::{ParameterSpec, Parameters};
use super::staging::{RowScaled, Staging};
use crate::element::Element;
use crate::ops::{self, LossScale};
use crate::{Device, Result, Tensor};

/// Two linear layers, with the buffers of one pass. A model has two of them over the same parameters: one for training passes, one for
/// the attack.
pub struct Projector<T: Element> {
    first: Linear<T>,
    second: Linear<T>,
    hidden: Tensor<T>,
    d_hidden: Tensor<T>,
    embedding: Tensor<T::Real>,
    staging: Staging<T>,
    d_features: Tensor<T>,
}

impl<T: Element> Projector<T> {
    /// Names and shapes, as in the reference's state dict.
    pub fn specs(prefix: &str, features: usize, hidden: usize, projection: usize) -> Vec<ParameterSpec> {
        vec![
            ParameterSpec::new(format!("{prefix}linear_1.weight"), &[hidden, features]),
            ParameterSpec::new(format!("{prefix}linear_1.bias"), &[hidden]),
            ParameterSpec::new(format!("{prefix}linear_2.weight"), &[projection, hidden]),
            ParameterSpec::new(format!("{prefix}linear_2.bias"), &[projection]),
        ]
    }

    /// Buffers for up to `max_batch` rows over the parameters behind `prefix`.
    pub fn new(device: &Device, parameters: &Parameters<T>, prefix: &str, max_batch: usize) -> Result<Self> {
        let first = Linear::new(parameters, &format!("{prefix}linear_1"))?;
        let second = Linear::new(parameters, &format!("{prefix}linear_2"))?;
        let [hidden, features] = first.weight.value.dims_of("projector")?;
        let [projection, _] = second.weight.value.dims_of("projector")?;
        Ok(Self {
            hidden: Tensor::zeros(device, [max_batch, hidden])?,
            d_hidden: Tensor::zeros(device, [max_batch, hidden])?,
            embedding: Tensor::zeros(device, [max_batch, projection])?,
            staging: Staging::new(device, [max_batch, projection])?,
            d_features: Tensor::zeros(device, [max_batch, features])?,
            first,
            second,
        })
    }

    /// Embeddings `[n, projection]` of features `[n, features]`, in the arithmetic type.
    pub fn forward(&self, features: &Tensor<T>) -> Result<Tensor<T::Real>> {
        let n = features.rows_len();
        let embedding = self.embedding.rows(0..n)?;
        self.forward_into(features, &embedding)?;
        Ok(embedding)
    }

    /// Like [`Projector::forward`], into a tensor of the caller's.
    pub fn forward_into(&self, features: &Tensor<T>, embedding: &Tensor<T::Real>) -> Result<()> {
        let hidden = self.hidden.rows(0..features.rows_len())?;
        self.first.forward(features, true, &hidden)?;
        self.second.forward(&hidden, false, &self.staging.space(embedding)?)?;
        self.staging.deliver(embedding)
    }

    /// Gradient of the features of the last forward, each row by itself; no parameter gradients.
    pub fn backward_input(&self, d_embedding: &Tensor<T::Real>) -> Result<RowScaled<T>> {
        let RowScaled { values, unscale } = self.staging.store_rows(d_embedding)?;
        let values = self.backward_features(&self.backward_hidden(&values)?)?;
        Ok(RowScaled { values, unscale })
    }

    /// Gradient of the features of the last forward, adding the parameters' gradients; all times `scale`, where there is one.
    pub fn backward(
        &self,
        features: &Tensor<T>,
        d_embedding: &Tensor<T::Real>,
        scale: Option<&LossScale<T::Real>>,
    ) -> Result<Tensor<T>> {
        let d_embedding = self.staging.store_by(d_embedding, scale)?;
        let d_hidden = self.backward_hidden(&d_embedding)?;
        self.second.backward_parameters(&self.hidden.rows(0..d_hidden.rows_len())?, &d_embedding)?;
        self.first.backward_parameters(features, &d_hidden)?;
        self.backward_features(&d_hidden)
    }

    /// The gradient before the ReLU.
    fn backward_hidden(&self, d_embedding: &Tensor<T>) -> Result<Tensor<T>> {
        let rows = 0..d_embedding.rows_len();
        let d_hidden = self.d_hidden.rows(rows.clone())?;
        self.second.backward_input(d_embedding, &d_hidden)?;
        ops::activation_backward(&d_hidden, None, Some(&self.hidden.rows(rows)?))?;
        Ok(d_hidden)
    }

    fn backward_features(&self, d_hidden: &Tensor<T>) -> Result<Tensor<T>> {
        let d_features = self.d_features.rows(0..d_hidden.rows_len())?;
        self.first.backward_input(d_hidden, &d_features)?;
        Ok(d_features)
    }
}
