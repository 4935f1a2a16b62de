//! Sums in a fixed order.

use super::check::has_shape;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Result, Tensor};

/// `sum` ← `weight`·Σ `values`, or `sum` + that where `accumulate` is set. `sum` is `[1]`; the order of the additions depends on the
/// number of values only.
pub fn weighted_sum<R: Real>(values: &Tensor<R>, weight: f64, accumulate: bool, sum: &Tensor<R>) -> Result<()> {
    has_shape("weighted_sum", "sum", sum, &[1])?;
    // At least 16 values a thread: the host pays for every thread, and a GPU hides their latency as well.
    let threads = values.len().div_ceil(16).next_multiple_of(32).clamp(32, 256);
    launch::weighted_sum(Work::Blocks(1, threads), values, values.len() as i64, R::from_f64(weight), accumulate.into(), sum)
}
