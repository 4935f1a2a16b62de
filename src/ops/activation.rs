//! Bias, residual and rectifier, and their gradients.

use super::check::{has_shape, like_or_none};
use super::rows::{column_blocks, rows_channels};
use crate::device::conv::{DgradEpilogue, Epilogue};
use crate::device::launch::{self, Work};
use crate::element::Element;
use crate::{Result, Tensor};

/// x ← x + `bias` + `residual`, rectified if `relu`, in place. `x` is `[n, h, w, c]` or `[rows, c]`, `bias` `[c]`, `residual` like `x`.
pub fn bias_activation<T: Element>(
    x: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    residual: Option<&Tensor<T>>,
    relu: bool,
) -> Result<()> {
    const OP: &str = "bias_activation";
    let (rows, channels) = rows_channels(OP, x)?;
    if let Some(bias) = bias {
        has_shape(OP, "bias", bias, &[channels])?;
    }
    like_or_none(OP, "residual", residual, x)?;
    launch::bias_activation(Work::RowsChannels(rows, channels), x, bias, residual, rows as i64, channels as i32, relu.into())
}

/// dx ← (`y` > 0) · (dx + `residual`), each where given, in place: back through a rectifier with output `y`, where `residual` is the
/// gradient that arrives by the other branch of a residual block. All tensors have one shape.
pub fn activation_backward<T: Element>(dx: &Tensor<T>, residual: Option<&Tensor<T>>, y: Option<&Tensor<T>>) -> Result<()> {
    const OP: &str = "activation_backward";
    like_or_none(OP, "residual", residual, dx)?;
    like_or_none(OP, "y", y, dx)?;
    launch::activation_backward(Work::Elements(dx.len()), dx, residual, y, dx.len() as i64)
}

/// Runs what a device has `left` of an epilogue.
pub(super) fn finish<T: Element>(left: Epilogue<T>, y: &Tensor<T>) -> Result<()> {
    if left.is_empty() || y.is_empty() {
        return Ok(());
    }
    bias_activation(y, left.bias, left.residual, left.relu)
}

/// As [`finish`], of the epilogue of an input's gradient.
pub(super) fn finish_gradient<T: Element>(left: DgradEpilogue<T>, dx: &Tensor<T>) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    activation_backward(dx, left.residual, left.mask)
}

/// `d_bias` ← `d_bias` + the sum of `dy` over rows: the gradient of a linear layer's bias, accumulated over passes. `dy` is `[rows, c]`,
/// `d_bias` `[c]`. Meant for some thousands of rows: four channels share one block.
pub fn bias_gradient<T: Element>(dy: &Tensor<T>, d_bias: &Tensor<T::Real>) -> Result<()> {
    const OP: &str = "bias_gradient";
    let (rows, channels) = rows_channels(OP, dy)?;
    has_shape(OP, "d_bias", d_bias, &[channels])?;
    launch::bias_gradient(column_blocks(rows, channels), dy, d_bias, rows as i64, channels as i32)
}
