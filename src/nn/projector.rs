//! The projector: Linear → ReLU → Linear, from features to the embedding the contrastive loss sees.

use super::linear::Linear;
use super::parameters::{ParameterSpec, Parameters};
use super::staging::Staging;
use crate::element::Element;
use crate::ops;
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

    /// Gradient of the features of the last forward; no parameter gradients.
    pub fn backward_input(&self, d_embedding: &Tensor<T::Real>) -> Result<Tensor<T>> {
        let (d_hidden, _) = self.backward_hidden(d_embedding)?;
        let d_features = self.d_features.rows(0..d_embedding.rows_len())?;
        self.first.backward_input(&d_hidden, &d_features)?;
        Ok(d_features)
    }

    /// Gradient of the features of the last forward, adding the parameters' gradients.
    pub fn backward(&self, features: &Tensor<T>, d_embedding: &Tensor<T::Real>) -> Result<Tensor<T>> {
        let n = d_embedding.rows_len();
        let (d_hidden, d_embedding) = self.backward_hidden(d_embedding)?;
        self.second.backward_parameters(&self.hidden.rows(0..n)?, &d_embedding)?;
        self.first.backward_parameters(features, &d_hidden)?;
        let d_features = self.d_features.rows(0..n)?;
        self.first.backward_input(&d_hidden, &d_features)?;
        Ok(d_features)
    }

    /// The gradient before the ReLU, and the embedding's gradient in the storage type.
    fn backward_hidden(&self, d_embedding: &Tensor<T::Real>) -> Result<(Tensor<T>, Tensor<T>)> {
        let rows = 0..d_embedding.rows_len();
        let d_out = self.staging.store(d_embedding)?;
        let d_hidden = self.d_hidden.rows(rows.clone())?;
        self.second.backward_input(&d_out, &d_hidden)?;
        ops::activation_backward(&d_hidden, None, Some(&self.hidden.rows(rows)?))?;
        Ok((d_hidden, d_out))
    }
}
