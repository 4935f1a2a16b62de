//! The labels of a step's images.

use super::epoch::EpochBuffers;
use crate::data::Dataset;
use crate::element::Real;
use crate::{Device, Error, Result, Tensor};

/// Labels on the device: of all images, and of those of a step.
pub struct Labels {
    all: Tensor<i32>,
    of_step: Tensor<i32>,
}

impl Labels {
    /// Uploads those of `data`, for steps of `batch` images.
    ///
    /// # Errors
    /// [`Error::Usage`] for images without labels, which have no classes.
    pub fn new(device: &Device, data: &Dataset, batch: usize) -> Result<Self> {
        if data.classes.is_empty() {
            return Err(Error::Usage(format!(
                "{} has images without labels, which this method learns from; leave these out",
                data.name
            )));
        }
        let all: Vec<i32> = data.labels.iter().map(|&label| label.into()).collect();
        Ok(Self { all: Tensor::from_slice(device, [all.len()], &all)?, of_step: Tensor::zeros(device, [batch])? })
    }

    /// `[batch]`, those of the last [`Labels::draw`].
    pub fn of_step(&self) -> &Tensor<i32> {
        &self.of_step
    }

    /// Gathers those of the step that `epoch` is at.
    pub fn draw<R: Real>(&self, epoch: &EpochBuffers<R>) -> Result<()> {
        epoch.gather_labels(&self.all, &self.of_step)
    }
}
