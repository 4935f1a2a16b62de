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
    /// State-dict name of each batch normalisation, where its mean begins, and its channels; the variance follows the mean.
    places: Vec<(String, usize, usize)>,
}

impl<R: Real> RunningStatistics<R> {
    /// Means of zero and variances of one, for training in storage type `T`.
    pub fn new<T: Element<Real = R>>(device: &Device, topology: &Topology) -> Result<Self> {
        let mut places = Vec::new();
        let mut len = 0;
        for conv in topology.convs() {
            places.push((conv.bn.clone(), len, conv.k));
            len += 2 * conv.k.next_multiple_of(ALIGNMENT);
        }
        let zeros = || Tensor::zeros(device, [len]);
        let before = T::LOSS_SCALE.is_some().then(zeros).transpose()?;
        let statistics = Self { values: zeros()?, before, places };
        for (name, ..) in &statistics.places {
            let (_, variance) = statistics.get(name)?;
            variance.write(&vec![R::from_f64(1.0); variance.len()])?;
        }
        Ok(statistics)
    }

    /// Mean and variance, `[channels]` each, of the batch normalisation of that name.
    pub fn get(&self, name: &str) -> Result<(Tensor<R>, Tensor<R>)> {
        let place = self.places.iter().find(|(found, ..)| found == name);
        let &(_, start, channels) =
            place.ok_or_else(|| Error::shape("statistics", format!("the network has no batch normalisation `{name}`")))?;
        let part = |offset| self.values.slice(offset, [channels]);
        Ok((part(start)?, part(start + channels.next_multiple_of(ALIGNMENT))?))
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
