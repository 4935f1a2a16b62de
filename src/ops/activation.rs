//! Bias, residual and rectifier, and their gradients.

use super::check::{has_shape, like_or_none, same_shape};
use super::rows::{column_blocks, rows_channels};
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

/// The gradient of a rectifier with output `y`: dx = `dy` + `residual` where y > 0, else 0. `residual` is the gradient that arrives by the
/// other branch of a residual block. All tensors have one shape.
pub fn relu_backward<T: Element>(dy: &Tensor<T>, residual: Option<&Tensor<T>>, y: &Tensor<T>, dx: &Tensor<T>) -> Result<()> {
    const OP: &str = "relu_backward";
    same_shape(OP, &[("dy", dy), ("y", y), ("dx", dx)])?;
    like_or_none(OP, "residual", residual, dy)?;
    launch::relu_backward(Work::Elements(dy.len()), dy, residual, y, dx, dy.len() as i64)
}

/// `d_bias` ← `d_bias` + the sum of `dy` over rows: the gradient of a linear layer's bias, accumulated over passes. `dy` is `[rows, c]`,
/// `d_bias` `[c]`. Meant for some thousands of rows: four channels share one block.
pub fn bias_gradient<T: Element>(dy: &Tensor<T>, d_bias: &Tensor<T::Real>) -> Result<()> {
    const OP: &str = "bias_gradient";
    let (rows, channels) = rows_channels(OP, dy)?;
    has_shape(OP, "d_bias", d_bias, &[channels])?;
    launch::bias_gradient(column_blocks(rows, channels), dy, d_bias, rows as i64, channels as i32)
}
