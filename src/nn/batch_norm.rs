//! Batch normalisation over the channels of an NHWC tensor (Ioffe & Szegedy 2015).

use super::parameters::Parameter;
use super::topology::ConvSpec;
use super::weights::Weights;
use crate::element::Element;
use crate::ops::{self, BnParameters, BnRunning, BnSaved};
use crate::{Device, Error, Result, Tensor};

/// Added to the variance.
pub const EPSILON: f64 = 1e-5;
/// Weight of a new batch in the running statistics.
pub const MOMENTUM: f64 = 0.1;

/// Affine parameters, running statistics and what the backward pass needs of the last batch.
pub struct BatchNorm<T: Element> {
    pub(super) gamma: Parameter<T>,
    pub(super) beta: Parameter<T>,
    pub(super) running_mean: Tensor<T::Real>,
    pub(super) running_var: Tensor<T::Real>,
    saved: BnSaved<T::Real>,
    /// Normalise by the running statistics, and leave them as they are.
    frozen: bool,
}

impl<T: Element> BatchNorm<T> {
    /// That behind the convolution `spec`, for batches of up to `max_batch` images.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none.
    pub(super) fn new(device: &Device, weights: &Weights<T>, spec: &ConvSpec, max_batch: usize) -> Result<Self> {
        let Some(name) = &spec.bn else {
            return Err(Error::Usage(
                "PreActResNets and WRNs can be attacked, evaluated and given heads, but not trained; \
                 choose network.architecture = \"resnet18\" or \"resnet50\""
                    .to_owned(),
            ));
        };
        let ([gamma, beta], [running_mean, running_var]) = (weights.affine(name)?, weights.statistics.get(name)?);
        Ok(Self {
            gamma,
            beta,
            running_mean,
            running_var,
            saved: BnSaved::new(device, max_batch * spec.out_size() * spec.out_size(), spec.k)?,
            frozen: false,
        })
    }

    /// From now on normalises by the running statistics, which stay as they are.
    pub(super) fn freeze(&mut self) {
        self.frozen = true;
    }

    pub(super) fn affine(&self) -> BnParameters<'_, T::Real> {
        BnParameters { gamma: &self.gamma.value, beta: &self.beta.value }
    }

    pub(super) fn running(&self) -> BnRunning<'_, T::Real> {
        BnRunning { mean: &self.running_mean, var: &self.running_var }
    }

    /// Normalises with the batch's own statistics, moving the running ones, unless frozen; then adds `residual` and applies ReLU when asked.
    pub(super) fn forward(&self, x: &Tensor<T>, residual: Option<&Tensor<T>>, relu: bool, y: &Tensor<T>) -> Result<()> {
        match self.frozen {
            false => ops::bn_statistics(x, Some(self.running()), MOMENTUM, EPSILON, &self.saved)?,
            true => ops::bn_keep_running(self.running(), EPSILON, &self.saved)?,
        }
        ops::bn_apply(x, self.affine(), &self.saved, residual, relu, y)
    }

    /// Gradient of the last forward. `mask` is its output when ReLU was applied; `d_residual` receives the residual branch's gradient.
    pub(super) fn backward(
        &self,
        dy: &Tensor<T>,
        x: &Tensor<T>,
        mask: Option<&Tensor<T>>,
        dx: &Tensor<T>,
        d_residual: Option<&Tensor<T>>,
    ) -> Result<()> {
        let (gamma, beta) = (&self.gamma.gradient, &self.beta.gradient);
        if self.frozen {
            let (affine, running) = (self.affine(), self.running());
            return ops::bn_kept_backward(dy, x, mask, affine, running, EPSILON, &self.saved, gamma, beta, dx, d_residual);
        }
        ops::bn_backward(dy, x, mask, self.affine(), &self.saved, gamma, beta, dx, d_residual)
    }
}
