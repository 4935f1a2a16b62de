//! The supervised contrastive loss (Khosla et al. 2020).

use super::EmbeddingLoss;
use crate::element::Real;
use crate::ops::{self, NtXentWorkspace};
use crate::{Device, Result, Tensor};

/// NT-Xent whose positives are all images of the same label.
pub struct SupCon<R: Real> {
    temperature: f64,
    detach_keys: bool,
    labels: Tensor<i32>,
    workspace: NtXentWorkspace<R>,
}

impl<R: Real> SupCon<R> {
    /// For up to `max_rows` embeddings. `labels` (`[batch]`) are read in every evaluation, so that a step can renew them. With `detach_keys` no gradient flows
    /// through the key side of the similarity; Khosla et al. attach them.
    pub fn new(device: &Device, max_rows: usize, labels: &Tensor<i32>, temperature: f64, detach_keys: bool) -> Result<Self> {
        let workspace = NtXentWorkspace::new(device, max_rows)?;
        Ok(Self { temperature, detach_keys, labels: labels.clone(), workspace })
    }
}

impl<R: Real> EmbeddingLoss<R> for SupCon<R> {
    fn evaluate(
        &self,
        z: &Tensor<R>,
        views: usize,
        weight: f64,
        d_z: &Tensor<R>,
        gradient_rows: usize,
        loss: &Tensor<R>,
    ) -> Result<()> {
        let settings = ops::NtXent { views, groups: 1, temperature: self.temperature, detach_keys: self.detach_keys };
        ops::sup_con(&settings, z, &self.labels, weight, d_z, gradient_rows, &self.workspace, loss)
    }
}
