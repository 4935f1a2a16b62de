//! The normalised temperature-scaled cross-entropy (Chen et al. 2020; RoCL, section 3.1).

use super::EmbeddingLoss;
use crate::element::Real;
use crate::ops::{self, NtXentWorkspace};
use crate::{Device, Result, Tensor};

/// NT-Xent over any number of views, in independent groups of images.
pub struct NtXent<R: Real> {
    temperature: f64,
    groups: usize,
    detach_keys: bool,
    workspace: NtXentWorkspace<R>,
}

impl<R: Real> NtXent<R> {
    /// For up to `max_rows` embeddings. With `detach_keys` no gradient flows through the key side of the similarity, as in
    /// the released code of RoCL. Images of a batch are split into `groups` that do not see each other.
    pub fn new(device: &Device, max_rows: usize, temperature: f64, groups: usize, detach_keys: bool) -> Result<Self> {
        Ok(Self { temperature, groups, detach_keys, workspace: NtXentWorkspace::new(device, max_rows)? })
    }
}

impl<R: Real> EmbeddingLoss<R> for NtXent<R> {
    fn evaluate(
        &self,
        z: &Tensor<R>,
        views: usize,
        weight: f64,
        d_z: &Tensor<R>,
        gradient_rows: usize,
        loss: &Tensor<R>,
    ) -> Result<()> {
        let settings = ops::NtXent { views, groups: self.groups, temperature: self.temperature, detach_keys: self.detach_keys };
        ops::nt_xent(&settings, z, weight, Some(d_z), gradient_rows, &self.workspace, loss)
    }
}
