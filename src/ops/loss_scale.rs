//! The loss scale of training in a 16-bit type, and what happens when it was too large (Micikevicius et al. 2018).
//!
//! The gradient of the losses is multiplied by a power of two before it is stored in 16 bits, so all parameter gradients are too; the optimiser
//! divides by it. Where a gradient overflows nevertheless, the step is skipped as a whole and the scale halves; after many good steps it doubles.
//! All this is decided and carried out on the device: nothing is read back, and every step has the same launches.

use super::check::same_shape;
use super::optim::{ChunkTable, THREADS};
use crate::device::launch::{self, Work};
use crate::element::{Element, Real};
use crate::{Device, Result, Tensor};

/// Good steps in a row after which the scale doubles, as in PyTorch's `GradScaler`.
const INTERVAL: i64 = 2000;
/// Between these the scale moves; `GradScaler` has no bounds. A scale below 1 would mean that the gradients themselves overflow, which no scale mends, and
/// the upper bound keeps a run of zero gradients from ending in infinity.
const LOWEST: f64 = 1.0;
const HIGHEST: f64 = 16_777_216.0;

/// The loss scale of a set of parameters, in device memory. A clone is the same one.
#[derive(Clone)]
pub struct LossScale<R> {
    /// `[2]`: the scale of the step that begins, and the inverse of that which the gradients at hand carry.
    pub(super) factors: Tensor<R>,
    /// `[4]`: good steps since the scale changed; skipped steps of the run, and of the epoch; whether the last step was skipped.
    pub(super) counters: Tensor<i64>,
    squares: Tensor<R>,
    item_chunks: Tensor<i32>,
    fixed: bool,
}

/// What a [`LossScale`] is at some step, for the log and for checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct LossScaleState {
    /// What the next step's gradients are multiplied by.
    #[serde(rename = "loss_scale")]
    pub scale: f64,
    /// Good steps since it last changed.
    #[serde(skip)]
    pub good_steps: i64,
    /// Skipped steps of the run.
    #[serde(skip)]
    pub skipped: i64,
    /// Skipped steps of the epoch.
    #[serde(rename = "skipped_steps")]
    pub skipped_in_epoch: i64,
}

impl<R: Real> LossScale<R> {
    /// For gradients of the layout of `table`. It begins at [`Element::LOSS_SCALE`]; where that is 1 it stays, and overflows only skip the step.
    /// None for a storage type that needs neither.
    pub fn new<T: Element<Real = R>>(device: &Device, table: &ChunkTable) -> Result<Option<Self>> {
        let Some(initial) = T::LOSS_SCALE else { return Ok(None) };
        Ok(Some(Self {
            factors: Tensor::from_slice(device, [2], &[initial, 1.0 / initial].map(R::from_f64))?,
            counters: Tensor::zeros(device, [4])?,
            squares: Tensor::zeros(device, [2, table.items()])?,
            item_chunks: table.item_chunks.clone(),
            fixed: initial == 1.0,
        }))
    }

    /// Where it stands, after everything launched has finished.
    pub fn state(&self) -> Result<LossScaleState> {
        let (factors, counters) = (self.factors.to_vec()?, self.counters.to_vec()?);
        let (scale, good_steps) = (factors[0].to_f64(), counters[0]);
        Ok(LossScaleState { scale, good_steps, skipped: counters[1], skipped_in_epoch: counters[2] })
    }

    /// Goes on from a saved state.
    pub fn restore(&self, state: LossScaleState) -> Result<()> {
        self.factors.write(&[state.scale, 1.0 / state.scale].map(R::from_f64))?;
        self.counters.write(&[state.good_steps, state.skipped, state.skipped_in_epoch, 0])
    }

    /// Starts an epoch's count of skipped steps.
    pub fn begin_epoch(&self) -> Result<()> {
        self.counters.rows(2..3)?.write(&[0])
    }

    /// Whether the last step was skipped, after everything launched has finished.
    pub fn has_skipped(&self) -> Result<bool> {
        Ok(self.counters.to_vec()?[3] != 0)
    }

    /// Decides about the step by the gradients `g`, and about the scale of the next.
    pub(super) fn judge_gradients(&self, g: &Tensor<R>) -> Result<()> {
        let items = self.squares.len() / 2;
        // The sums of two tensors' squares, as LARS needs them; here both are the gradients, which the second read finds in the cache.
        launch::lars_norms(Work::Blocks(items, THREADS), g, g, &self.item_chunks, &self.squares)?;
        self.judge(&self.squares)
    }

    /// The same by sums of squares over parts of parameters and of gradients, `[2, items]`.
    pub(super) fn judge(&self, squares: &Tensor<R>) -> Result<()> {
        let of_gradients = squares.rows(1..2)?;
        let [lowest, highest] = if self.fixed { [1.0, 1.0] } else { [LOWEST, HIGHEST] }.map(R::from_f64);
        let items = of_gradients.len() as i32;
        let Self { factors, counters, .. } = self;
        launch::loss_scale_update(Work::Blocks(1, THREADS), &of_gradients, items, factors, counters, INTERVAL, lowest, highest)
    }
}

/// `x` ← `before` if the last step was skipped. Both have one shape.
pub fn undo_if_skipped<R: Real>(x: &Tensor<R>, before: &Tensor<R>, scale: &LossScale<R>) -> Result<()> {
    same_shape("undo_if_skipped", &[("x", x), ("before", before)])?;
    launch::undo_if_skipped(Work::Elements(x.len()), x, before, &scale.counters, x.len() as i64)
}
