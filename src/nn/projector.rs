//! The projector: Linear → ReLU → Linear, from features to the embedding the contrastive loss sees; or nothing, and the features are the embedding.

use super::linear::Linear;
use super::parameters::{ParameterSpec, Parameters};
use super::staging::{RowScaled, Staging};
use crate::element::Element;
use crate::ops::{self, LossScale};
use crate::{Device, Result, Tensor};

/// What makes embeddings of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Two linear layers.
    Layers {
        /// Units of the hidden layer.
        hidden: usize,
        /// Dimension of an embedding.
        out: usize,
    },
    /// Nothing: the features are the embedding.
    Identity,
}

impl Projection {
    /// Dimension of an embedding, given that of the features.
    pub fn dimension(self, features: usize) -> usize {
        match self {
            Self::Layers { out, .. } => out,
            Self::Identity => features,
        }
    }

    /// Names and shapes of its parameters, as in the reference's state dict.
    pub fn specs(self, prefix: &str, features: usize) -> Vec<ParameterSpec> {
        let Self::Layers { hidden, out } = self else { return Vec::new() };
        vec![
            ParameterSpec::new(format!("{prefix}linear_1.weight"), &[hidden, features]),
            ParameterSpec::new(format!("{prefix}linear_1.bias"), &[hidden]),
            ParameterSpec::new(format!("{prefix}linear_2.weight"), &[out, hidden]),
            ParameterSpec::new(format!("{prefix}linear_2.bias"), &[out]),
        ]
    }
}

/// The projector with the buffers of one pass. A model has two of them over the same parameters: one for training passes, one for the attack.
pub struct Projector<T: Element> {
    layers: Option<Layers<T>>,
    embedding: Tensor<T::Real>,
    staging: Staging<T>,
}

/// Two linear layers, and what they write to.
struct Layers<T: Element> {
    first: Linear<T>,
    second: Linear<T>,
    hidden: Tensor<T>,
    d_hidden: Tensor<T>,
    d_features: Tensor<T>,
}

impl<T: Element> Projector<T> {
    /// Names and shapes of two layers: see [`Projection::specs`].
    pub fn specs(prefix: &str, features: usize, hidden: usize, projection: usize) -> Vec<ParameterSpec> {
        Projection::Layers { hidden, out: projection }.specs(prefix, features)
    }

    /// Buffers for up to `max_batch` rows over the parameters behind `prefix`.
    pub fn new(device: &Device, parameters: &Parameters<T>, prefix: &str, max_batch: usize) -> Result<Self> {
        let layers = Layers::new(device, parameters, prefix, max_batch)?;
        let [projection, _] = layers.second.weight.value.dims_of("projector")?;
        Self::on(device, Some(layers), projection, max_batch)
    }

    /// The same for any projection of features of this dimension.
    pub fn of(
        device: &Device,
        projection: Projection,
        features: usize,
        parameters: &Parameters<T>,
        prefix: &str,
        max_batch: usize,
    ) -> Result<Self> {
        match projection {
            Projection::Layers { .. } => Self::new(device, parameters, prefix, max_batch),
            Projection::Identity => Self::on(device, None, features, max_batch),
        }
    }

    fn on(device: &Device, layers: Option<Layers<T>>, projection: usize, max_batch: usize) -> Result<Self> {
        let embedding = Tensor::zeros(device, [max_batch, projection])?;
        Ok(Self { layers, embedding, staging: Staging::new(device, [max_batch, projection])? })
    }

    /// Other buffers over the same parameters.
    pub fn twin(&self, device: &Device, parameters: &Parameters<T>, prefix: &str, max_batch: usize) -> Result<Self> {
        match self.layers {
            Some(_) => Self::new(device, parameters, prefix, max_batch),
            None => Self::on(device, None, self.embedding.dims()[1], max_batch),
        }
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
        let out = self.staging.space(embedding)?;
        match &self.layers {
            Some(layers) => layers.forward(features, &out)?,
            None => out.copy_from(features)?,
        }
        self.staging.deliver(embedding)
    }

    /// Gradient of the features of the last forward, each row by itself; no parameter gradients.
    pub fn backward_input(&self, d_embedding: &Tensor<T::Real>) -> Result<RowScaled<T>> {
        let RowScaled { values, unscale } = self.staging.store_rows(d_embedding)?;
        let Some(layers) = &self.layers else { return Ok(RowScaled { values, unscale }) };
        let values = layers.backward_features(&layers.backward_hidden(&values)?)?;
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
        self.layers.as_ref().map_or(Ok(d_embedding.clone()), |layers| layers.backward(features, &d_embedding))
    }
}

impl<T: Element> Layers<T> {
    fn new(device: &Device, parameters: &Parameters<T>, prefix: &str, max_batch: usize) -> Result<Self> {
        let first = Linear::new(parameters, &format!("{prefix}linear_1"))?;
        let second = Linear::new(parameters, &format!("{prefix}linear_2"))?;
        let [hidden, features] = first.weight.value.dims_of("projector")?;
        Ok(Self {
            hidden: Tensor::zeros(device, [max_batch, hidden])?,
            d_hidden: Tensor::zeros(device, [max_batch, hidden])?,
            d_features: Tensor::zeros(device, [max_batch, features])?,
            first,
            second,
        })
    }

    fn forward(&self, features: &Tensor<T>, embedding: &Tensor<T>) -> Result<()> {
        let hidden = self.hidden.rows(0..features.rows_len())?;
        self.first.forward(features, true, &hidden)?;
        self.second.forward(&hidden, false, embedding)
    }

    fn backward(&self, features: &Tensor<T>, d_embedding: &Tensor<T>) -> Result<Tensor<T>> {
        let d_hidden = self.backward_hidden(d_embedding)?;
        self.second.backward_parameters(&self.hidden.rows(0..d_hidden.rows_len())?, d_embedding)?;
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
