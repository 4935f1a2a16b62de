//! Convolution on the CPU: activations NHWC, filters KRSC.
//!
//! All three directions are direct convolutions: a task copies a few image rows into a zero-padded scratch that fits the
//! cache, and the product kernel reads its operand there. For a fixed filter row the S × C numbers under the filter are
//! contiguous in NHWC, so no patch matrix is ever written.
//!
//! Tasks are cut by shape only and sums have a fixed order, so results have the same bits for any number of threads.

mod bands;
mod correlation;
mod dgrad;
mod fprop;
mod wgrad;

pub use dgrad::dgrad;
pub(in crate::device) use dgrad::dgrad_scratch;
pub use fprop::fprop;
pub(in crate::device) use fprop::fprop_scratch;
pub use wgrad::wgrad;
pub(in crate::device) use wgrad::wgrad_scratch;

use super::super::conv::ConvShape;

/// Depth of one product; longer sums are made of blocks of this many terms, added in order.
///
/// Bounds the rounding error of `f32` sums and keeps a block of 64 filters in the second-level cache.
const DEPTH: usize = 512;

/// Tasks that a call is cut into where its shape allows: enough to keep the cores of a workstation busy to the end.
const TASKS: usize = 16;

/// What happens to an output element after its sum: `+ residual`, then ReLU, then the mask.
#[derive(Clone, Copy)]
struct Epilogue<'a, T> {
    /// Added to the output.
    residual: Option<&'a [T]>,
    /// Whether negative values become zero.
    relu: bool,
    /// Keeps the output where positive, zero elsewhere.
    mask: Option<&'a [T]>,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self { residual: None, relu: false, mask: None }
    }
}
