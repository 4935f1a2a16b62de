//! Fully connected layers.

use super::activation::finish;
use super::check::has_shape;
use super::conv_direct::{conv_direct_dgrad, conv_direct_fprop, conv_direct_wgrad};
use crate::device::conv::Epilogue;
use crate::device::matmul;
use crate::element::Element;
use crate::{Error, Result, Tensor};
use bytemuck::Pod;

/// y = relu(x Wᵀ + b): `x` is `[n, in]`, `weight` `[out, in]`, `bias` `[out]`, `y` `[n, out]`.
pub fn linear<T: Element>(x: &Tensor<T>, weight: &Tensor<T>, bias: Option<&Tensor<T>>, relu: bool, y: &Tensor<T>) -> Result<()> {
    const OP: &str = "linear";
    let [rows, outputs] = sizes(OP, x, weight)?;
    has_shape(OP, "y", y, &[rows, outputs])?;
    if let Some(bias) = bias {
        has_shape(OP, "bias", bias, &[outputs])?;
    }
    if y.device().convolves_directly() {
        conv_direct_fprop(&pixels(x)?, &pixels(weight)?, 1, 0, &pixels(y)?)?;
        return finish(Epilogue { bias, residual: None, relu }, y);
    }
    let left = matmul::forward(x, weight, Epilogue { bias, residual: None, relu }, y)?;
    finish(left, y)
}

/// dx = dy W.
pub fn linear_dgrad<T: Element>(dy: &Tensor<T>, weight: &Tensor<T>, dx: &Tensor<T>) -> Result<()> {
    const OP: &str = "linear_dgrad";
    let [rows, outputs] = sizes(OP, dx, weight)?;
    has_shape(OP, "dy", dy, &[rows, outputs])?;
    if dx.device().convolves_directly() {
        return conv_direct_dgrad(&pixels(dy)?, &pixels(weight)?, 1, 0, &pixels(dx)?);
    }
    matmul::backward_input(dy, weight, dx)
}

/// dW += dyᵀ x, in the arithmetic type.
pub fn linear_wgrad<T: Element>(x: &Tensor<T>, dy: &Tensor<T>, dw: &Tensor<T::Real>) -> Result<()> {
    const OP: &str = "linear_wgrad";
    let ([rows, inputs], [_, outputs]) = (x.dims_of(OP)?, dy.dims_of::<2>(OP)?);
    has_shape(OP, "dy", dy, &[rows, outputs])?;
    has_shape(OP, "dw", dw, &[outputs, inputs])?;
    if dw.device().convolves_directly() {
        return conv_direct_wgrad(&pixels(x)?, &pixels(dy)?, 1, 0, true, &pixels(dw)?);
    }
    matmul::backward_weight(x, dy, dw)
}

/// A matrix as images or filters of one pixel.
fn pixels<E: Pod>(matrix: &Tensor<E>) -> Result<Tensor<E>> {
    let [rows, channels] = matrix.dims_of("linear")?;
    matrix.slice(0, [rows, 1, 1, channels])
}

/// Rows of `x` and outputs of `weight`, which must fit each other.
fn sizes<T: Element>(op: &'static str, x: &Tensor<T>, weight: &Tensor<T>) -> Result<[usize; 2]> {
    let ([rows, inputs], [outputs, weight_inputs]) = (x.dims_of(op)?, weight.dims_of(op)?);
    if inputs != weight_inputs {
        return Err(Error::shape(op, format!("rows of {inputs} values do not fit a weight for {weight_inputs}")));
    }
    Ok([rows, outputs])
}
