//! Batch normalisation by running statistics, as a layer.

use crate::element::{Element, Real};
use crate::nn::batch_norm::EPSILON;
use crate::nn::topology::ActivationSpec;
use crate::nn::weights::{NormWeights, Weights};
use crate::ops;
use crate::{Device, Result, Tensor};

/// A batch normalisation with its own copy of what it computes with.
pub(super) struct Norm<R: Real> {
    name: String,
    weights: NormWeights<R>,
}

impl<R: Real> Norm<R> {
    pub fn new(device: &Device, name: &str, channels: usize) -> Result<Self> {
        Ok(Self { name: name.to_owned(), weights: NormWeights::zeros(device, channels)? })
    }

    pub fn copy_from<T: Element<Real = R>>(&self, weights: &Weights<T>) -> Result<()> {
        self.weights.copy_from(&weights.batch_norm(&self.name)?)
    }

    pub fn forward<T: Element<Real = R>>(
        &self,
        x: &Tensor<T>,
        residual: Option<&Tensor<T>>,
        relu: bool,
        y: &Tensor<T>,
    ) -> Result<()> {
        ops::bn_eval(x, self.weights.affine(), self.weights.running(), EPSILON, residual, relu, y)
    }

    /// dx = norm'(dy) + residual.
    pub fn backward<T: Element<Real = R>>(&self, dy: &Tensor<T>, residual: Option<&Tensor<T>>, dx: &Tensor<T>) -> Result<()> {
        ops::bn_eval_backward(dy, None, residual, self.weights.affine(), self.weights.running(), EPSILON, dx, None)
    }
}

/// Batch normalisation and rectifier in front of convolutions, and their output.
pub(super) struct Activation<T: Element> {
    norm: Norm<T::Real>,
    out: Tensor<T>,
}

impl<T: Element> Activation<T> {
    pub fn new(device: &Device, spec: &ActivationSpec, max_batch: usize) -> Result<Self> {
        let &ActivationSpec { ref bn, c, size } = spec;
        Ok(Self { norm: Norm::new(device, bn, c)?, out: Tensor::zeros(device, [max_batch, size, size, c])? })
    }

    pub fn copy_from(&self, weights: &Weights<T>) -> Result<()> {
        self.norm.copy_from(weights)
    }

    pub fn output(&self, n: usize) -> Result<Tensor<T>> {
        self.out.rows(0..n)
    }

    pub fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        let y = self.output(x.rows_len())?;
        self.norm.forward(x, None, true, &y)?;
        Ok(y)
    }

    /// dx = norm'(dy) + residual: `dy` is already masked by the rectifier.
    pub fn backward(&self, dy: &Tensor<T>, residual: Option<&Tensor<T>>, dx: &Tensor<T>) -> Result<()> {
        self.norm.backward(dy, residual, dx)
    }
}
