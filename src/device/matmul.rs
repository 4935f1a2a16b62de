//! The products of a linear layer: y = relu(x Wᵀ + b) and its gradients, as library calls.
//!
//! On the host these are 1×1 convolutions of 1×1 images, which its convolution runs at full speed; on a GPU they are cuBLASLt's.

use super::conv::{self, ConvShape, DgradEpilogue, Epilogue};
use super::cublas::{CublasLt, Product, ProductKind};
use super::record::{self, Call};
use super::{Arithmetic, Cuda, Device};
use crate::element::Element;
use crate::{Error, Result, Tensor};
use std::rc::Rc;

/// cuBLASLt on this GPU.
///
/// # Errors
/// [`Error::Device`] when it is not there or does not work with the GPU.
pub(super) fn cublas(cuda: &Cuda) -> Result<Rc<CublasLt>> {
    cuda.library(|_| CublasLt::on_current_card())
}

/// Rows, inputs and outputs as a convolution.
fn shape([rows, inputs, outputs]: [usize; 3]) -> ConvShape {
    ConvShape { n: rows, h: 1, w: 1, c: inputs, k: outputs, r: 1, s: 1, stride: 1, pad: 0 }
}

/// y = relu(x Wᵀ + bias), as far as `epilogue` asks for them and the device fuses them. Returns what is left to be done.
pub(crate) fn forward<'a, T: Element>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    epilogue: Epilogue<'a, T>,
    y: &Tensor<T>,
) -> Result<Epilogue<'a, T>> {
    let sizes = [x.dims()[0], x.dims()[1], y.dims()[1]];
    if y.device().gpu().is_none() {
        return conv::fprop(&shape(sizes), x, weight, epilogue, y);
    }
    let kind = ProductKind::Forward { bias: epilogue.bias.is_some(), relu: epilogue.relu };
    product("linear_fprop", kind, sizes, [x, weight], epilogue.bias, y)?;
    Ok(Epilogue { residual: epilogue.residual, ..Epilogue::default() })
}

pub(crate) fn backward_input<T: Element>(dy: &Tensor<T>, weight: &Tensor<T>, dx: &Tensor<T>) -> Result<()> {
    let sizes = [dy.dims()[0], dx.dims()[1], dy.dims()[1]];
    if dx.device().gpu().is_none() {
        return conv::dgrad(&shape(sizes), dy, weight, DgradEpilogue::default(), dx).map(drop);
    }
    product("linear_dgrad", ProductKind::InputGradient, sizes, [dy, weight], None, dx)
}

pub(crate) fn backward_weight<T: Element>(x: &Tensor<T>, dy: &Tensor<T>, dw: &Tensor<T::Real>) -> Result<()> {
    let sizes = [x.dims()[0], x.dims()[1], dy.dims()[1]];
    if dw.device().gpu().is_none() {
        return conv::wgrad(&shape(sizes), x, dy, true, dw);
    }
    product("linear_wgrad", ProductKind::WeightGradient, sizes, [x, dy], None, dw)
}

/// A product by cuBLASLt, noted while recording.
fn product<T: Element, O: Element>(
    name: &'static str,
    kind: ProductKind,
    sizes: [usize; 3],
    factors: [&Tensor<T>; 2],
    bias: Option<&Tensor<T>>,
    result: &Tensor<O>,
) -> Result<()> {
    let call = || {
        let written = conv::bytes(&[Some(result)]);
        let added_to = if kind == ProductKind::WeightGradient { written } else { 0 };
        let read = conv::bytes(&[Some(factors[0]), Some(factors[1]), bias]) + added_to;
        let shape = shape(sizes);
        let (factors, bias, result) = (factors.map(Tensor::clone), bias.cloned(), result.clone());
        let again = move || run_product(name, kind, sizes, [&factors[0], &factors[1]], bias.as_ref(), &result);
        Call::new(name, T::NAME, shape.to_string(), again).moving(read, written).computing(shape.flops())
    };
    record::perform(|| run_product(name, kind, sizes, factors, bias, result), call)
}

fn run_product<T: Element, O: Element>(
    name: &'static str,
    kind: ProductKind,
    [rows, inputs, outputs]: [usize; 3],
    factors: [&Tensor<T>; 2],
    bias: Option<&Tensor<T>>,
    result: &Tensor<O>,
) -> Result<()> {
    let device = conv::device_of(name, &factors, &[bias], result)?;
    let Some(cuda) = device.gpu() else {
        return Err(Error::shape(name, "its tensors are on different devices; copy them to one"));
    };
    let arithmetic = Arithmetic::of::<T>(cuda.options().tf32)?;
    let plan = cublas(cuda)?.plan(Product { kind, rows, inputs, outputs, arithmetic })?;
    let workspace = device.workspace(plan.workspace_bytes())?;
    if let Device::Dry(_) = device {
        return Ok(());
    }
    let (factors, bias) = (factors.map(Tensor::address), bias.map(Tensor::address));
    // SAFETY: `device_of` and `ops` have checked that the tensors are on this device, of these sizes and apart from the result; all work goes to one
    // stream, which comes to this before anything is freed.
    cuda.call(name, plan.product(), || unsafe { plan.run(cuda.stream(), factors, bias, result.address(), workspace) })
}
