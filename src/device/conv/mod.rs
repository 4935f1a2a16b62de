//! Convolution: a library call, with as much of its epilogue as the device fuses.

mod epilogue;
mod shape;

use super::Device;
use super::host::conv as host;
use super::record::{self, Call};
use crate::element::Element;
use crate::{Error, Result, Tensor};
pub use epilogue::Epilogue;
pub(crate) use epilogue::{DgradEpilogue, Split, dgrad_epilogue, fprop_epilogue};
pub use shape::ConvShape;

/// y = relu(x ∗ filter + bias + residual), as far as `epilogue` asks for them: no more than [`fprop_epilogue`] calls fused.
pub(crate) fn fprop<T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: Epilogue<T>,
    y: &Tensor<T>,
) -> Result<()> {
    run_fprop(shape, x, filter, epilogue, y)?;
    record::note(|| {
        let Epilogue { bias, residual, relu } = epilogue;
        let read = bytes(&[Some(x), Some(filter), bias, residual]);
        let (shape, x, filter, bias, residual, y) =
            (*shape, x.clone(), filter.clone(), bias.cloned(), residual.cloned(), y.clone());
        let name = if shape.is_linear() { "linear_fprop" } else { "conv_fprop" };
        let label = format!("{shape}{}{}{}", tag(&bias, "bias"), tag(&residual, "residual"), if relu { " + relu" } else { "" });
        let written = bytes(&[Some(&y)]);
        let again =
            move || run_fprop(&shape, &x, &filter, Epilogue { bias: bias.as_ref(), residual: residual.as_ref(), relu }, &y);
        Call::new(name, T::NAME, label, again).moving(read, written).computing(shape.flops())
    });
    Ok(())
}

/// dx = (mask > 0) · (gradient + residual), as far as `epilogue` asks for them: no more than [`dgrad_epilogue`] calls fused.
pub(crate) fn dgrad<T: Element>(
    shape: &ConvShape,
    dy: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: DgradEpilogue<T>,
    dx: &Tensor<T>,
) -> Result<()> {
    run_dgrad(shape, dy, filter, epilogue, dx)?;
    record::note(|| {
        let DgradEpilogue { residual, mask } = epilogue;
        let read = bytes(&[Some(dy), Some(filter), residual, mask]);
        let (shape, dy, filter, residual, mask, dx) =
            (*shape, dy.clone(), filter.clone(), residual.cloned(), mask.cloned(), dx.clone());
        let name = if shape.is_linear() { "linear_dgrad" } else { "conv_dgrad" };
        let (label, written) = (format!("{shape}{}{}", tag(&residual, "residual"), tag(&mask, "mask")), bytes(&[Some(&dx)]));
        let again =
            move || run_dgrad(&shape, &dy, &filter, DgradEpilogue { residual: residual.as_ref(), mask: mask.as_ref() }, &dx);
        Call::new(name, T::NAME, label, again).moving(read, written).computing(shape.flops())
    });
    Ok(())
}

/// dw = gradient, or dw += gradient where `accumulate`.
pub(crate) fn wgrad<T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    dy: &Tensor<T>,
    accumulate: bool,
    dw: &Tensor<T::Real>,
) -> Result<()> {
    run_wgrad(shape, x, dy, accumulate, dw)?;
    record::note(|| {
        let filters = bytes(&[Some(dw)]);
        let read = bytes(&[Some(x), Some(dy)]) + if accumulate { filters } else { 0 };
        let (shape, x, dy, dw) = (*shape, x.clone(), dy.clone(), dw.clone());
        let name = if shape.is_linear() { "linear_wgrad" } else { "conv_wgrad" };
        let again = move || run_wgrad(&shape, &x, &dy, accumulate, &dw);
        Call::new(name, T::NAME, shape.to_string(), again).moving(read, filters).computing(shape.flops())
    });
    Ok(())
}

fn bytes<E>(tensors: &[Option<&Tensor<E>>]) -> u64
where
    E: bytemuck::Pod,
{
    tensors.iter().flatten().map(|tensor| (tensor.len() * size_of::<E>()) as u64).sum()
}

fn tag<E>(present: &Option<E>, name: &str) -> String {
    present.as_ref().map(|_| format!(" + {name}")).unwrap_or_default()
}

fn run_fprop<T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: Epilogue<T>,
    y: &Tensor<T>,
) -> Result<()> {
    let device = match device_of("conv_fprop", &[x, filter], &[epilogue.bias, epilogue.residual], y)? {
        Device::Host(host) => host,
        Device::Cuda(_) => return no_library("conv_fprop"),
        Device::Dry(_) => return Ok(()),
    };
    // SAFETY: `device_of` has found all tensors on the host and y apart from the inputs, and this thread alone drives the device.
    let (x, filter, y) = unsafe { (slice(x), slice(filter), slice_mut(y)) };
    // SAFETY: as above.
    let (bias, residual) = unsafe { (epilogue.bias.map(|t| slice(t)), epilogue.residual.map(|t| slice(t))) };
    device.install(|| host::fprop(shape, x, filter, bias, residual, epilogue.relu, y))
}

fn run_dgrad<T: Element>(
    shape: &ConvShape,
    dy: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: DgradEpilogue<T>,
    dx: &Tensor<T>,
) -> Result<()> {
    let DgradEpilogue { residual, mask } = epilogue;
    let device = match device_of("conv_dgrad", &[dy, filter], &[residual, mask], dx)? {
        Device::Host(host) => host,
        Device::Cuda(_) => return no_library("conv_dgrad"),
        Device::Dry(_) => return Ok(()),
    };
    // SAFETY: as in `fprop`.
    let (dy, filter, dx) = unsafe { (slice(dy), slice(filter), slice_mut(dx)) };
    // SAFETY: as in `fprop`.
    let (residual, mask) = unsafe { (residual.map(|t| slice(t)), mask.map(|t| slice(t))) };
    device.install(|| host::dgrad(shape, dy, filter, residual, mask, dx))
}

fn run_wgrad<T: Element>(shape: &ConvShape, x: &Tensor<T>, dy: &Tensor<T>, accumulate: bool, dw: &Tensor<T::Real>) -> Result<()> {
    let device = match device_of("conv_wgrad", &[x, dy], &[], dw)? {
        Device::Host(host) => host,
        Device::Cuda(_) => return no_library("conv_wgrad"),
        Device::Dry(_) => return Ok(()),
    };
    // SAFETY: as in `fprop`.
    let (x, dy, dw) = unsafe { (slice(x), slice(dy), slice_mut(dw)) };
    device.install(|| host::wgrad(shape, x, dy, accumulate, dw))
}

fn no_library(op: &str) -> Result<()> {
    Err(Error::Device(format!(
        "{op}: this build calls no convolution library on a GPU; set ROCL_CONV=direct to use kernels instead"
    )))
}

/// The device all operands share; fails when they do not, or when the output overlaps an input.
fn device_of<T: Element, O: Element>(
    op: &'static str,
    inputs: &[&Tensor<T>],
    optional: &[Option<&Tensor<T>>],
    output: &Tensor<O>,
) -> Result<Device> {
    let end = |address: u64, bytes: usize| address + bytes as u64;
    let (begin, stop) = (output.address(), end(output.address(), output.len() * size_of::<O>()));
    for input in inputs.iter().copied().chain(optional.iter().copied().flatten()) {
        if !input.device().is(output.device()) {
            return Err(Error::shape(op, "its tensors are on different devices"));
        }
        if input.address() < stop && begin < end(input.address(), input.len() * size_of::<T>()) {
            return Err(Error::shape(op, "the output overlaps an input in memory"));
        }
    }
    Ok(output.device().clone())
}

/// # Safety
/// The tensor is on the host, and nothing writes it while the slice lives.
unsafe fn slice<T: Element>(tensor: &Tensor<T>) -> &[T] {
    // SAFETY: the tensor's range lies within its allocation, which is aligned for every element type and initialised.
    unsafe { std::slice::from_raw_parts(tensor.address() as *const T, tensor.len()) }
}

/// # Safety
/// The tensor is on the host, and nothing else reads or writes it while the slice lives.
#[allow(clippy::mut_from_ref)]
unsafe fn slice_mut<T: Element>(tensor: &Tensor<T>) -> &mut [T] {
    // SAFETY: as in `slice`.
    unsafe { std::slice::from_raw_parts_mut(tensor.address() as *mut T, tensor.len()) }
}
