//! Channels-first and channels-last: the layouts of files and of the device.

use super::check::has_shape;
use crate::device::launch::{self, Work};
use crate::element::Element;
use crate::{Error, Result, Tensor};

/// `[n, c, h, w]` to `[n, h, w, c]`; for filters, OIHW to KRSC.
pub fn nchw_to_nhwc<T: Element>(x: &Tensor<T>, y: &Tensor<T>) -> Result<()> {
    const OP: &str = "nchw_to_nhwc";
    let [n, c, h, w] = x.dims_of(OP)?;
    has_shape(OP, "y", y, &[n, h, w, c])?;
    transpose_items(OP, x, y, n, c, h * w)
}

/// `[n, h, w, c]` to `[n, c, h, w]`; for filters, KRSC to OIHW.
pub fn nhwc_to_nchw<T: Element>(x: &Tensor<T>, y: &Tensor<T>) -> Result<()> {
    const OP: &str = "nhwc_to_nchw";
    let [n, h, w, c] = x.dims_of(OP)?;
    has_shape(OP, "y", y, &[n, c, h, w])?;
    transpose_items(OP, x, y, n, h * w, c)
}

/// `[items, a, b]` to `[items, b, a]`.
fn transpose_items<T: Element>(op: &'static str, x: &Tensor<T>, y: &Tensor<T>, items: usize, a: usize, b: usize) -> Result<()> {
    let (Ok(a_size), Ok(b_size)) = (i32::try_from(a), i32::try_from(b)) else {
        return Err(Error::shape(op, format!("{:?} has planes too large for one launch", x.shape())));
    };
    launch::transpose_items(Work::RowsChannels(items * b, a), x, y, items as i64, a_size, b_size)
}
