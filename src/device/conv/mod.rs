//! Convolution: a library call, with as much of its epilogue as the device fuses.

mod cuda;
mod epilogue;
mod planned;
mod shape;
mod tune;

use super::Device;
use super::cudnn::Operation;
use super::host::conv as host;
use super::record::{self, Call};
use crate::element::Element;
use crate::{Error, Result, Tensor};
pub(crate) use epilogue::DgradEpilogue;
pub use epilogue::Epilogue;
use epilogue::{Split, dgrad_epilogue, fprop_epilogue};
pub use shape::ConvShape;

pub(crate) use cuda::Gradient;
pub(super) use cuda::cudnn;
pub(crate) use tune::{tune_dgrad, tune_fprop, tune_wgrad};

/// Whether `device` wants the filters turned for [`dgrad`] where these follow the sum; see [`turn_filter`](crate::ops::turn_filter).
pub(crate) fn turns_filter<T: Element>(device: &Device, shape: &ConvShape, residual: bool, mask: bool) -> Result<bool> {
    device.gpu().map_or(Ok(false), |cuda| cuda::turns_filter::<T>(cuda, shape, residual, mask))
}

/// Memory for turned filters until the next convolution, `[c, r, s, k]`, on a device that [turns](turns_filter) them.
pub(crate) fn turned_filter<T: Element>(device: &Device, shape: &ConvShape) -> Result<Tensor<T>> {
    cuda::turned_filter(device, shape)
}

/// Where `device` writes the filters' gradient: for [`wgrad`] into dw itself, else by [`wgrad_aside`].
pub(crate) fn gradient<T: Element>(device: &Device, shape: &ConvShape, accumulate: bool) -> Result<Gradient<T>> {
    device.gpu().map_or(Ok(Gradient::Itself), |cuda| cuda::gradient(device, cuda, shape, accumulate))
}

/// Filters, and the form in which a CPU computes with them if someone keeps it.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a, T: Element> {
    /// `[k, r, s, c]`, or turned.
    pub filter: &'a Tensor<T>,
    /// As [`pack`] has laid them out for the same shape and direction, whatever the batch.
    pub packed: Option<&'a Tensor<T::Real>>,
}

impl<'a, T: Element> From<&'a Tensor<T>> for Weights<'a, T> {
    fn from(filter: &'a Tensor<T>) -> Self {
        Self { filter, packed: None }
    }
}

/// A direction for which filters are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Fprop,
    Dgrad,
}

/// Elements of packed filters, on a device that computes with them so.
pub(crate) fn packed_len<T: Element>(device: &Device, packing: Packing, shape: &ConvShape) -> Option<usize> {
    (device.is_host() && !device.convolves_directly()).then(|| match packing {
        Packing::Fprop => host::fprop_packed_len::<T>(shape),
        Packing::Dgrad => host::dgrad_packed_len::<T>(shape),
    })
}

/// Lays `filter` out in `packed`, which has [`packed_len`] elements.
pub(crate) fn pack<T: Element>(packing: Packing, shape: &ConvShape, filter: &Tensor<T>, packed: &Tensor<T::Real>) -> Result<()> {
    let call = || {
        let (read, written) = (bytes(&[Some(filter)]), bytes(&[Some(packed)]));
        let (shape, filter, packed) = (*shape, filter.clone(), packed.clone());
        let label = format!("{:?}", filter.dims());
        Call::new("pack_filter", T::NAME, label, move || run_pack(packing, &shape, &filter, &packed)).moving(read, written)
    };
    record::perform(|| run_pack(packing, shape, filter, packed), call)
}

fn run_pack<T: Element>(packing: Packing, shape: &ConvShape, filter: &Tensor<T>, packed: &Tensor<T::Real>) -> Result<()> {
    let device = match device_of("pack_filter", &[filter], &[], packed)? {
        Device::Host(host) => host,
        Device::Dry(_) => return Ok(()),
        Device::Cuda(_) => return Err(Error::shape("pack_filter", "a GPU's libraries pack filters themselves")),
    };
    // SAFETY: as in `fprop`.
    let (filter, packed) = unsafe { (slice(filter), slice_mut(packed)) };
    device.install(|| match packing {
        Packing::Fprop => host::pack_fprop(shape, filter, packed),
        Packing::Dgrad => host::pack_dgrad(shape, filter, packed),
    })
}

/// y = relu(x ∗ filter + bias + residual), as far as `epilogue` asks for them and the device fuses them. Returns what is left to be done.
pub(crate) fn fprop<'a, 'w, T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    weights: impl Into<Weights<'w, T>>,
    epilogue: Epilogue<'a, T>,
    y: &Tensor<T>,
) -> Result<Epilogue<'a, T>> {
    let Split { fused, left } = fprop_epilogue(y.device(), shape, epilogue)?;
    let weights = weights.into();
    let call = || {
        let filter = weights.filter;
        let parts = format!("{}{}", tag(fused.bias, "bias"), tag(fused.residual, "residual"));
        let label = format!("{shape}{parts}{}", if fused.relu { " + relu" } else { "" });
        let (read, written) = (bytes(&[Some(x), Some(filter), fused.bias, fused.residual]), bytes(&[Some(y)]));
        let Epilogue { bias, residual, relu } = epilogue;
        let (shape, x, filter, packed, bias, residual, y) =
            (*shape, x.clone(), filter.clone(), weights.packed.cloned(), bias.cloned(), residual.cloned(), y.clone());
        let name = if shape.is_linear() { "linear_fprop" } else { "conv_fprop" };
        let again = move || {
            let epilogue = Epilogue { bias: bias.as_ref(), residual: residual.as_ref(), relu };
            run_fprop(&shape, &x, Weights { filter: &filter, packed: packed.as_ref() }, epilogue, &y)
        };
        Call::new(name, T::NAME, label, again).moving(read, written).computing(shape.flops())
    };
    record::perform(|| run_fprop(shape, x, weights, epilogue, y), call)?;
    Ok(left)
}

/// dx = (mask > 0) · (gradient + residual), as far as `epilogue` asks for them and the device fuses them, by filters that are turned where it
/// [wants](turns_filter) them so. Returns what is left to be done.
pub(crate) fn dgrad<'a, 'w, T: Element>(
    shape: &ConvShape,
    dy: &Tensor<T>,
    weights: impl Into<Weights<'w, T>>,
    epilogue: DgradEpilogue<'a, T>,
    dx: &Tensor<T>,
) -> Result<DgradEpilogue<'a, T>> {
    let Split { fused, left } = dgrad_epilogue(dx.device(), shape, epilogue)?;
    let weights = weights.into();
    let call = || {
        let filter = weights.filter;
        let label = format!("{shape}{}{}", tag(fused.residual, "residual"), tag(fused.mask, "mask"));
        let (read, written) = (bytes(&[Some(dy), Some(filter), fused.residual, fused.mask]), bytes(&[Some(dx)]));
        let DgradEpilogue { residual, mask } = epilogue;
        let (shape, dy, filter, packed, residual, mask, dx) =
            (*shape, dy.clone(), filter.clone(), weights.packed.cloned(), residual.cloned(), mask.cloned(), dx.clone());
        let name = if shape.is_linear() { "linear_dgrad" } else { "conv_dgrad" };
        let again = move || {
            let epilogue = DgradEpilogue { residual: residual.as_ref(), mask: mask.as_ref() };
            run_dgrad(&shape, &dy, Weights { filter: &filter, packed: packed.as_ref() }, epilogue, &dx)
        };
        Call::new(name, T::NAME, label, again).moving(read, written).computing(shape.flops())
    };
    record::perform(|| run_dgrad(shape, dy, weights, epilogue, dx), call)?;
    Ok(left)
}

/// dw = gradient, or dw += gradient where `accumulate`.
pub(crate) fn wgrad<T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    dy: &Tensor<T>,
    accumulate: bool,
    dw: &Tensor<T::Real>,
) -> Result<()> {
    let call = || {
        let filters = bytes(&[Some(dw)]);
        let read = bytes(&[Some(x), Some(dy)]) + if accumulate { filters } else { 0 };
        let (shape, x, dy, dw) = (*shape, x.clone(), dy.clone(), dw.clone());
        let name = if shape.is_linear() { "linear_wgrad" } else { "conv_wgrad" };
        let again = move || run_wgrad(&shape, &x, &dy, accumulate, &dw);
        Call::new(name, T::NAME, shape.to_string(), again).moving(read, filters).computing(shape.flops())
    };
    record::perform(|| run_wgrad(shape, x, dy, accumulate, dw), call)
}

/// The filters' gradient alone, to where [`gradient`] says that the device writes it for this `accumulate`.
pub(crate) fn wgrad_aside<T: Element, G: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    dy: &Tensor<T>,
    accumulate: bool,
    gradient: &Tensor<G>,
) -> Result<()> {
    let call = || {
        let (read, written) = (bytes(&[Some(x), Some(dy)]), bytes(&[Some(gradient)]));
        let (shape, x, dy, gradient) = (*shape, x.clone(), dy.clone(), gradient.clone());
        let again = move || run_wgrad_aside(&shape, &x, &dy, accumulate, &gradient);
        Call::new("conv_wgrad", T::NAME, shape.to_string(), again).moving(read, written).computing(shape.flops())
    };
    record::perform(|| run_wgrad_aside(shape, x, dy, accumulate, gradient), call)
}

fn run_wgrad_aside<T: Element, G: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    dy: &Tensor<T>,
    accumulate: bool,
    gradient: &Tensor<G>,
) -> Result<()> {
    match device_of("conv_wgrad", &[x, dy], &[], gradient)? {
        Device::Cuda(cuda) => cuda::wgrad(&cuda, shape, x, dy, accumulate, gradient.address()),
        Device::Dry(dry) => planned::plan::<T>(&dry, Operation::Wgrad { accumulate }, shape),
        Device::Host(_) => Err(Error::shape("conv_wgrad", "this device writes dw itself")),
    }
}

/// What those of the tensors that are there take up.
pub(super) fn bytes<E>(tensors: &[Option<&Tensor<E>>]) -> u64
where
    E: bytemuck::Pod,
{
    tensors.iter().flatten().map(|tensor| (tensor.len() * size_of::<E>()) as u64).sum()
}

fn tag<E>(present: Option<E>, name: &str) -> String {
    present.map(|_| format!(" + {name}")).unwrap_or_default()
}

fn run_fprop<T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    weights: Weights<T>,
    epilogue: Epilogue<T>,
    y: &Tensor<T>,
) -> Result<()> {
    let filter = weights.filter;
    let device = match device_of("conv_fprop", &[x, filter], &[epilogue.bias, epilogue.residual], y)? {
        Device::Host(host) => host,
        Device::Cuda(cuda) => return cuda::fprop(&cuda, shape, x, filter, epilogue, y),
        Device::Dry(dry) => return planned::plan::<T>(&dry, epilogue.operation(), shape),
    };
    let epilogue = Split::on_host(&device, epilogue).fused;
    // SAFETY: `device_of` has found all tensors on the host and y apart from the inputs, and this thread alone drives the device.
    let (x, filter, y) = unsafe { (slice(x), host_filter(weights), slice_mut(y)) };
    // SAFETY: as above.
    let (bias, residual) = unsafe { (epilogue.bias.map(|t| slice(t)), epilogue.residual.map(|t| slice(t))) };
    device.install(|| host::fprop(shape, x, filter, bias, residual, epilogue.relu, y))
}

fn run_dgrad<T: Element>(
    shape: &ConvShape,
    dy: &Tensor<T>,
    weights: Weights<T>,
    epilogue: DgradEpilogue<T>,
    dx: &Tensor<T>,
) -> Result<()> {
    let filter = weights.filter;
    let device = match device_of("conv_dgrad", &[dy, filter], &[epilogue.residual, epilogue.mask], dx)? {
        Device::Host(host) => host,
        Device::Cuda(cuda) => return cuda::dgrad(&cuda, shape, dy, filter, epilogue, dx),
        Device::Dry(dry) => return planned::plan::<T>(&dry, epilogue.operation(), shape),
    };
    let DgradEpilogue { residual, mask } = Split::on_host(&device, epilogue).fused;
    // SAFETY: as in `fprop`.
    let (dy, filter, dx) = unsafe { (slice(dy), host_filter(weights), slice_mut(dx)) };
    // SAFETY: as in `fprop`.
    let (residual, mask) = unsafe { (residual.map(|t| slice(t)), mask.map(|t| slice(t))) };
    device.install(|| host::dgrad(shape, dy, filter, residual, mask, dx))
}

fn run_wgrad<T: Element>(shape: &ConvShape, x: &Tensor<T>, dy: &Tensor<T>, accumulate: bool, dw: &Tensor<T::Real>) -> Result<()> {
    let device = match device_of("conv_wgrad", &[x, dy], &[], dw)? {
        Device::Host(host) => host,
        Device::Cuda(cuda) => return cuda::wgrad(&cuda, shape, x, dy, accumulate, dw.address()),
        Device::Dry(dry) => return planned::plan::<T>(&dry, Operation::Wgrad { accumulate }, shape),
    };
    // SAFETY: as in `fprop`.
    let (x, dy, dw) = unsafe { (slice(x), slice(dy), slice_mut(dw)) };
    device.install(|| host::wgrad(shape, x, dy, accumulate, dw))
}

/// The device all operands share; fails when they do not, or when the output overlaps an input.
pub(super) fn device_of<T: Element, O: Element>(
    op: &'static str,
    inputs: &[&Tensor<T>],
    optional: &[Option<&Tensor<T>>],
    output: &Tensor<O>,
) -> Result<Device> {
    let end = |address: u64, bytes: usize| address + bytes as u64;
    let (begin, stop) = (output.address(), end(output.address(), output.len() * size_of::<O>()));
    for input in inputs.iter().copied().chain(optional.iter().copied().flatten()) {
        if !input.device().is(output.device()) {
            return Err(Error::shape(op, "its tensors are on different devices; copy them to one"));
        }
        if input.address() < stop && begin < end(input.address(), input.len() * size_of::<T>()) {
            return Err(Error::shape(op, "the output overlaps an input in memory"));
        }
    }
    Ok(output.device().clone())
}

/// # Safety
/// As of [`slice`], of both forms.
unsafe fn host_filter<'a, T: Element>(weights: Weights<'a, T>) -> host::Filter<'a, T> {
    // SAFETY: the caller's promise.
    unsafe {
        weights.packed.map_or_else(|| host::Filter::Plain(slice(weights.filter)), |packed| host::Filter::Packed(slice(packed)))
    }
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
