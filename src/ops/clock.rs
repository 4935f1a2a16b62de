//! The end of a training step.

use super::check::has_shape;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// Refuses a clock that is not `[2]`: the step within the epoch and the step since the beginning of the run.
pub(super) fn is_clock(op: &'static str, clock: &Tensor<i64>) -> Result<()> {
    has_shape(op, "clock", clock, &[2])
}

/// The last operation of a step: copies `values` `[k]` into row `clock[0]` of `log` `[steps, k]`, then moves both counters of
/// `clock` `[2]` (step within the epoch, step since the beginning of the run) on by one. A step past the end of the log is not logged.
pub fn record_step<R: Real>(values: &Tensor<R>, log: &Tensor<R>, clock: &Tensor<i64>) -> Result<()> {
    const OP: &str = "record_step";
    is_clock(OP, clock)?;
    let [steps, count] = log.dims_of(OP)?;
    has_shape(OP, "values", values, &[count])?;
    let count = i32::try_from(count).map_err(|_| Error::shape(OP, format!("{count} values are too many for one step")))?;
    launch::record_step(Work::Items(1, 1), clock, values, count, steps as i64, log)
}
