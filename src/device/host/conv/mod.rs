//! Convolution on the CPU: activations NHWC, filters KRSC.
//!
//! All three directions are direct convolutions: a task copies a few image rows into a zero-padded scratch that mostly fits
//! the second-level cache, and the product kernel reads its operand there. For a fixed filter row the S × C numbers under the filter are
//! contiguous in NHWC, so no patch matrix is ever written.
//!
//! Tasks are cut by shape only and sums have a fixed order, so results have the same bits for any number of threads.

mod bands;
mod correlation;
mod dgrad;
mod fprop;
mod tiles;
mod wgrad;

pub(in crate::device) use dgrad::dgrad_scratch;
pub use dgrad::{dgrad, dgrad_packed_len, pack_dgrad};
pub(in crate::device) use fprop::fprop_scratch;
pub use fprop::{fprop, fprop_packed_len, pack_fprop};
pub use wgrad::wgrad;
pub(in crate::device) use wgrad::wgrad_scratch;

use super::super::conv::ConvShape;
use crate::element::Element;

/// Depth that all tiles of a band go through before the next: so much of a panel of filters stays in the second-level cache. A sum goes on
/// where the block before left it.
const DEPTH: usize = 512;

/// Tasks that a call is cut into where its shape allows: enough to keep the cores of a workstation busy to the end.
const TASKS: usize = 16;

/// Filters in either form that [`fprop`] and [`dgrad`] take.
#[derive(Clone, Copy)]
pub enum Filter<'a, T: Element> {
    /// `[k, r, s, c]`. They are packed anew in every call.
    Plain(&'a [T]),
    /// As [`pack_fprop`] or [`pack_dgrad`] has laid them out for the same shape, whatever its batch.
    Packed(&'a [T::Real]),
}

impl<'a, T: Element> Filter<'a, T> {
    /// Its numbers, and how many there should be: plain, and packed.
    fn lens(self, plain: usize, packed: impl FnOnce() -> usize) -> (usize, usize) {
        match self {
            Self::Plain(filter) => (filter.len(), plain),
            Self::Packed(filter) => (filter.len(), packed()),
        }
    }

    /// The plain form, or nothing.
    fn plain(self) -> &'a [T] {
        match self {
            Self::Plain(filter) => filter,
            Self::Packed(_) => &[],
        }
    }

    fn packed(self) -> Option<&'a [T::Real]> {
        match self {
            Self::Plain(_) => None,
            Self::Packed(filter) => Some(filter),
        }
    }
}

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
