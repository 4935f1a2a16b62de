//! The products of a linear layer: y = relu(x Wᵀ + b) and its gradients, as library calls.
//!
//! On the host these are 1×1 convolutions of 1×1 images, which its convolution runs at full speed.

use super::Device;
use super::conv::{self, ConvShape, DgradEpilogue, Epilogue, Split};
use crate::element::Element;
use crate::{Result, Tensor};

fn shape(rows: usize, inputs: usize, outputs: usize) -> ConvShape {
    ConvShape { n: rows, h: 1, w: 1, c: inputs, k: outputs, r: 1, s: 1, stride: 1, pad: 0 }
}

/// What `device` fuses into [`forward`].
pub(crate) fn forward_epilogue<'a, T: Element>(device: &Device, epilogue: Epilogue<'a, T>) -> Split<Epilogue<'a, T>> {
    conv::fprop_epilogue(device, epilogue)
}

pub(crate) fn forward<T: Element>(x: &Tensor<T>, weight: &Tensor<T>, epilogue: Epilogue<T>, y: &Tensor<T>) -> Result<()> {
    conv::fprop(&shape(x.dims()[0], x.dims()[1], y.dims()[1]), x, weight, epilogue, y)
}

pub(crate) fn backward_input<T: Element>(dy: &Tensor<T>, weight: &Tensor<T>, dx: &Tensor<T>) -> Result<()> {
    conv::dgrad(&shape(dy.dims()[0], dx.dims()[1], dy.dims()[1]), dy, weight, DgradEpilogue::default(), dx)
}

pub(crate) fn backward_weight<T: Element>(x: &Tensor<T>, dy: &Tensor<T>, dw: &Tensor<T::Real>) -> Result<()> {
    conv::wgrad(&shape(x.dims()[0], x.dims()[1], dy.dims()[1]), x, dy, true, dw)
}
