//! What a network has learnt: what a checkpoint holds of it.

use super::init::initialize;
use super::parameters::{Parameter, ParameterSpec, Parameters};
use super::statistics::RunningStatistics;
use super::topology::Topology;
use crate::element::{Element, Real};
use crate::ops::{BnParameters, BnRunning};
use crate::{Device, Result, Tensor};

/// Prefix of the encoder's parameter names.
pub const MODEL: &str = "model/";

/// The parameters of an encoder and of what is on it, and the encoder's running statistics. A clone is another handle on the same memory.
#[derive(Clone)]
pub struct Weights<T: Element> {
    parameters: Parameters<T>,
    pub(super) statistics: RunningStatistics<T::Real>,
}

impl<T: Element> Weights<T> {
    /// Those of `topology`, as drawn from `seed`. Those of `heads` lie behind the encoder's.
    pub fn new(device: &Device, topology: &Topology, heads: impl IntoIterator<Item = ParameterSpec>, seed: u64) -> Result<Self> {
        let mut specs = topology.parameters(MODEL);
        specs.extend(heads);
        let parameters = Parameters::new(device, specs)?;
        initialize(&parameters, seed)?;
        Ok(Self { parameters, statistics: RunningStatistics::new::<T>(device, topology)? })
    }

    /// The arena.
    pub fn parameters(&self) -> &Parameters<T> {
        &self.parameters
    }

    /// The running statistics by state-dict name, in the order of [`Topology::batch_norms`]: `bn1.running_mean`, `bn1.running_var`, …
    pub fn running_statistics(&self) -> Vec<(String, Tensor<T::Real>)> {
        self.statistics.named()
    }

    /// The filters of the encoder's convolution of that state-dict name.
    pub(super) fn filter(&self, conv: &str) -> Result<Parameter<T>> {
        self.parameters.get(&format!("{MODEL}{conv}.weight"))
    }

    /// Scale and shift of the encoder's batch normalisation of that state-dict name.
    pub(super) fn affine(&self, bn: &str) -> Result<[Parameter<T>; 2]> {
        let parameter = |name| self.parameters.get(&format!("{MODEL}{bn}.{name}"));
        Ok([parameter("weight")?, parameter("bias")?])
    }

    /// All of that batch normalisation.
    pub(super) fn batch_norm(&self, bn: &str) -> Result<NormWeights<T::Real>> {
        let ([gamma, beta], [mean, var]) = (self.affine(bn)?, self.statistics.get(bn)?);
        Ok(NormWeights { gamma: gamma.value, beta: beta.value, mean, var })
    }
}

impl<T: Element> AsRef<Weights<T>> for Weights<T> {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A batch normalisation's parameters and running statistics, `[channels]` each.
pub(super) struct NormWeights<R: Real> {
    gamma: Tensor<R>,
    beta: Tensor<R>,
    mean: Tensor<R>,
    var: Tensor<R>,
}

impl<R: Real> NormWeights<R> {
    pub fn zeros(device: &Device, channels: usize) -> Result<Self> {
        let zeros = || Tensor::zeros(device, [channels]);
        Ok(Self { gamma: zeros()?, beta: zeros()?, mean: zeros()?, var: zeros()? })
    }

    pub fn copy_from(&self, from: &Self) -> Result<()> {
        self.gamma.copy_from(&from.gamma)?;
        self.beta.copy_from(&from.beta)?;
        self.mean.copy_from(&from.mean)?;
        self.var.copy_from(&from.var)
    }

    pub fn affine(&self) -> BnParameters<'_, R> {
        BnParameters { gamma: &self.gamma, beta: &self.beta }
    }

    pub fn running(&self) -> BnRunning<'_, R> {
        BnRunning { mean: &self.mean, var: &self.var }
    }
}
