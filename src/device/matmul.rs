//! The products of a linear layer: y = relu(x Wᵀ + b) and its gradients, as library calls.
//!
//! On the host these are 1×1 convolutions of 1×1 images, which its convolution runs at full speed.

use super::conv::{self, ConvShape, Epilogue};
use crate::element::Element;
use crate::{Result, Tensor};

fn shape(rows: usize, inputs: usize, outputs: usize) -> ConvShape {
    ConvShape { n: rows, h: 1, w: 1, c: inputs, k: outputs, r: 1, s: 1, stride: 1, pad: 0 }
}

pub(crate) fn forward<T: Element>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    relu: bool,
    y: &Tensor<T>,
) -> Result<()> {
    let shape = shape(x.dims()[0], x.dims()[1], y.dims()[1]);
    conv::fprop(&shape, x, weight, Epilogue { bias, residual: None, relu }, y)
}

pub(crate) fn backward_input<T: Element>(dy: &Tensor<T>, weight: &Tensor<T>, dx: &Tensor<T>) -> Result<()> {
    conv::dgrad(&shape(dy.dims()[0], dx.dims()[1], dy.dims()[1]), dy, weight, None, None, dx)
}

pub(crate) fn backward_weight<T: Element>(x: &Tensor<T>, dy: &Tensor<T>, dw: &Tensor<T::Real>) -> Result<()> {
    conv::wgrad(&shape(x.dims()[0], x.dims()[1], dy.dims()[1]), x, dy, true, dw)
}
