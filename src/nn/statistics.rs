//! The running statistics of all batch normalisations, in one flat tensor.
//!
//! A step that is skipped because its gradients overflowed must leave them as they were, though its forward passes have moved them. So where there is a loss
//! scale they are noted at the beginning of a step, in one copy, and taken back at its end by one kernel.

use super::topology::Topology;
use crate::element::{Element, Real};
use crate::ops::{self, LossScale};
use crate::{Device, Error, Result, Tensor};

/// Where each tensor begins: multiples of this many elements, 16 bytes in any type, as kernels want it.
const ALIGNMENT: usize = 4;

/// Means and variances, and in a 16-bit type what they were when the step began. A clone is another handle on the same memory.
#[derive(Clone)]
pub(super) struct RunningStatistics<R: Real> {
    values: Tensor<R>,
    before: Option<Tensor<R>>,
    /// State-dict name of each batch normalisation, and its parts of `values`.
    parts: Vec<(String, [Tensor<R>; 2])>,
}

impl<R: Real> RunningStatistics<R> {
    /// Means of zero and variances of one, for training in storage type `T`.
    pub fn new<T: Element<Real = R>>(device: &Device, topology: &Topology) -> Result<Self> {
        let padded = |channels: usize| channels.next_multiple_of(ALIGNMENT);
        let len = topology.batch_norms().map(|(_, channels)| 2 * padded(channels)).sum::<usize>();
        let zeros = || Tensor::<R>::zeros(device, [len]);
        let (values, before) = (zeros()?, T::LOSS_SCALE.is_some().then(zeros).transpose()?);
        let (mut parts, mut start) = (Vec::new(), 0);
        for (name, channels) in topology.batch_norms() {
            let (mean, variance) = (values.slice(start, [channels])?, values.slice(start + padded(channels), [channels])?);
            variance.write(&vec![R::from_f64(1.0); channels])?;
            parts.push((name.to_owned(), [mean, variance]));
            start += 2 * padded(channels);
        }
        Ok(Self { values, before, parts })
    }

    /// Mean and variance, `[channels]` each, of the batch normalisation of that name.
    pub fn get(&self, name: &str) -> Result<[Tensor<R>; 2]> {
        let part = self.parts.iter().find(|(found, _)| found == name);
        let missing = || Error::shape("statistics", format!("the network has no batch normalisation `{name}`"));
        Ok(part.ok_or_else(missing)?.1.clone())
    }

    /// All of them: `bn1.running_mean`, `bn1.running_var`, …
    pub fn named(&self) -> Vec<(String, Tensor<R>)> {
        let named = |(name, statistics): &(String, [Tensor<R>; 2])| {
            let names = ["running_mean", "running_var"].map(|what| format!("{name}.{what}"));
            names.into_iter().zip(statistics.clone()).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(named).collect()
    }

    /// Notes them at the beginning of a step.
    pub fn note(&self) -> Result<()> {
        self.before.as_ref().map_or(Ok(()), |before| before.copy_from(&self.values))
    }

    /// Takes back those noted last if the step was skipped.
    pub fn undo_if_skipped(&self, scale: Option<&LossScale<R>>) -> Result<()> {
        match (&self.before, scale) {
            (Some(before), Some(scale)) => ops::undo_if_skipped(&self.values, before, scale),
            _ => Ok(()),
        }
    }
}
