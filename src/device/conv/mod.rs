//! Convolution: a library call, with as much of its epilogue as the device fuses.

mod epilogue;
mod shape;

use super::Device;
use super::host::conv as host;
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
    let device = device_of("conv_fprop", &[x, filter], &[epilogue.bias, epilogue.residual], y)?;
    let Device::Host(device) = device else { return no_library("conv_fprop") };
    // SAFETY: `device_of` has found all tensors on the host and y apart from the inputs, and this thread alone drives the device.
    let (x, filter, y) = unsafe { (slice(x), slice(filter), slice_mut(y)) };
    // SAFETY: as above.
    let (bias, residual) = unsafe { (epilogue.bias.map(|t| slice(t)), epilogue.residual.map(|t| slice(t))) };
    device.install(|| host::fprop(shape, x, filter, bias, residual, epilogue.relu, y))
}

/// dx = (mask > 0) · (gradient + residual), as far as `epilogue` asks for them: no more than [`dgrad_epilogue`] calls fused.
pub(crate) fn dgrad<T: Element>(
    shape: &ConvShape,
    dy: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: DgradEpilogue<T>,
    dx: &Tensor<T>,
) -> Result<()> {
    let DgradEpilogue { residual, mask } = epilogue;
    let device = device_of("conv_dgrad", &[dy, filter], &[residual, mask], dx)?;
    let Device::Host(device) = device else { return no_library("conv_dgrad") };
    // SAFETY: as in `fprop`.
    let (dy, filter, dx) = unsafe { (slice(dy), slice(filter), slice_mut(dx)) };
    // SAFETY: as in `fprop`.
    let (residual, mask) = unsafe { (residual.map(|t| slice(t)), mask.map(|t| slice(t))) };
    device.install(|| host::dgrad(shape, dy, filter, residual, mask, dx))
}

/// dw = gradient, or dw += gradient where `accumulate`.
pub(crate) fn wgrad<T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    dy: &Tensor<T>,
    accumulate: bool,
    dw: &Tensor<T::Real>,
) -> Result<()> {
    let device = device_of("conv_wgrad", &[x, dy], &[], dw)?;
    let Device::Host(device) = device else { return no_library("conv_wgrad") };
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
