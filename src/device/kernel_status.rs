//! Which kernels have run on which GPUs: what `tools/gpu_check.sh` found, as recorded in `benches/results/status.json`.

use super::launch::{Kernel, has_gpu_code};
use crate::element::NAMES;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The record that comes with the program.
const RECORDED: &str = include_str!("../../benches/results/status.json");

/// A kernel for one element type on one architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelStatus {
    /// As in its source.
    pub kernel: String,
    /// `f32`, `f16` or `bf16`.
    pub element: String,
    /// `portable`, or the name of a variant for one architecture.
    pub variant: String,
    /// `sm_90`.
    pub architecture: String,
    /// The GPU's name.
    pub card: String,
    /// When it ran, as `2026-11-23T12:00:00Z`.
    pub date: String,
    /// The commit that the program was built from.
    pub commit: String,
    /// Whether every test that launched it passed.
    pub pass: bool,
    /// Of a variant: how many times faster than the portable kernel; else nothing.
    pub gain: Option<f64>,
}

impl KernelStatus {
    /// What tells entries apart: a later run replaces an earlier one's.
    fn key(&self) -> [&str; 4] {
        [&self.kernel, &self.element, &self.variant, &self.architecture].map(|part| part.as_str())
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// 1.
    pub schema: u32,
    /// In the order of their names.
    pub kernels: Vec<KernelStatus>,
}

impl Status {
    /// The record that comes with the program.
    ///
    /// # Errors
    /// [`Error::Usage`] when it is damaged.
    pub fn recorded() -> Result<Self> {
        Self::parse(RECORDED)
    }

    /// A record as JSON.
    ///
    /// # Errors
    /// [`Error::Usage`] when it is none.
    pub fn parse(json: &str) -> Result<Self> {
        let status: Self = serde_json::from_str(json)
            .map_err(|e| Error::Usage(format!("status.json cannot be read: {e}; take it from the repository")))?;
        match status.schema {
            1 => Ok(status),
            other => Err(Error::Usage(format!(
                "status.json has schema {other}, newer than this version of rocl reads (1); update rocl"
            ))),
        }
    }

    /// Takes over the entries of a later run.
    pub fn update(&mut self, later: Vec<KernelStatus>) {
        self.kernels.retain(|old| later.iter().all(|new| new.key() != old.key()));
        self.kernels.extend(later);
        self.kernels.sort_by(|a, b| a.key().cmp(&b.key()));
    }

    /// One sentence.
    pub fn summary(&self) -> String {
        let Some(last) = self.kernels.iter().max_by_key(|status| &status.date) else { return "not yet run on a GPU".to_owned() };
        let failed: BTreeSet<&str> =
            self.kernels.iter().filter(|status| !status.pass).map(|status| status.kernel.as_str()).collect();
        let names: BTreeSet<&str> = self.kernels.iter().map(|status| status.kernel.as_str()).collect();
        let architectures: BTreeSet<&str> = self.kernels.iter().map(|status| status.architecture.as_str()).collect();
        let architectures = architectures.into_iter().collect::<Vec<_>>().join(", ");
        let failed = if failed.is_empty() {
            String::new()
        } else {
            format!("; failing: {}", failed.into_iter().collect::<Vec<_>>().join(", "))
        };
        format!("{} kernels have run on {architectures}, last on {} ({}){failed}", names.len(), last.card, last.date)
    }
}

/// The element types for which a build carries a kernel's GPU code; without GPU code, those for which it would.
pub fn gpu_elements(kernel: &Kernel) -> Vec<&'static str> {
    let on_gpu = |slot: usize| if has_gpu_code() { kernel.gpu_code(slot).is_some() } else { kernel.host[slot].is_some() };
    // There is no f64 on a GPU.
    NAMES.into_iter().enumerate().take(3).filter(|(slot, _)| on_gpu(*slot)).map(|(_, name)| name).collect()
}
