//! Distances of two views: attack losses other than NT-Xent (RoCL's released code has all of them).

use super::EmbeddingLoss;
use crate::element::Real;
use crate::ops::{self, Distance};
use crate::{Device, Error, Result, Tensor};

/// The mean distance of each image's two embeddings. Unlike in [`NtXent`](super::NtXent), images do not see each other.
pub struct EmbeddingDistance<R: Real> {
    distance: Distance,
    row_loss: Tensor<R>,
}

impl<R: Real> EmbeddingDistance<R> {
    /// For batches of exactly `batch` images.
    pub fn new(device: &Device, batch: usize, distance: Distance) -> Result<Self> {
        Ok(Self { distance, row_loss: Tensor::zeros(device, [batch])? })
    }
}

impl<R: Real> EmbeddingLoss<R> for EmbeddingDistance<R> {
    fn evaluate(
        &self,
        z: &Tensor<R>,
        views: usize,
        weight: f64,
        d_z: &Tensor<R>,
        gradient_rows: usize,
        loss: &Tensor<R>,
    ) -> Result<()> {
        if views != 2 {
            return Err(Error::shape("embedding_distance", format!("{views} views have no one distance; use two")));
        }
        ops::embedding_distance(self.distance, z, weight, d_z, gradient_rows, &self.row_loss, loss)
    }
}
