//! Convolutions on a GPU: cuDNN's plans, given tensors.
//!
//! Each problem that is asked for has one plan, which computes all of it or a part; the rest is for [`crate::ops`] to run. Some forms want filters
//! turned or give gradients elsewhere than in dw: the memory for that is [scratch](Cuda::scratch), and the kernels are in [`crate::ops`].

use super::{ConvShape, DgradEpilogue, Epilogue, Split};
use crate::device::cudnn::{Cudnn, Form, Operation, Pattern, Plan, Problem, Role};
use crate::device::{Arithmetic, Cuda, Device, Memory};
use crate::element::Element;
use crate::{Error, Result, Tensor};
use std::rc::Rc;

/// cuDNN on this GPU.
///
/// # Errors
/// [`Error::Device`] when it is not there or does not work with the GPU.
pub(in crate::device) fn cudnn(cuda: &Cuda) -> Result<Rc<Cudnn>> {
    cuda.library(|cuda| Cudnn::on_current_card(&cuda.gpu().name))
}

fn plan<T: Element>(cuda: &Cuda, operation: Operation, shape: &ConvShape) -> Result<Rc<Plan>> {
    let arithmetic = Arithmetic::of::<T>(cuda.options().tf32)?;
    cudnn(cuda)?.plan(Problem { operation, shape: *shape, arithmetic })
}

impl<T: Element> Epilogue<'_, T> {
    pub(super) fn operation(&self) -> Operation {
        Operation::Fprop { bias: self.bias.is_some(), residual: self.residual.is_some(), relu: self.relu }
    }
}

impl<T: Element> DgradEpilogue<'_, T> {
    pub(super) fn operation(&self) -> Operation {
        Operation::Dgrad { residual: self.residual.is_some(), mask: self.mask.is_some() }
    }
}

/// As much of `epilogue` as cuDNN computes with a convolution of this shape.
pub(super) fn fprop_epilogue<'a, T: Element>(
    cuda: &Cuda,
    shape: &ConvShape,
    epilogue: Epilogue<'a, T>,
) -> Result<Split<Epilogue<'a, T>>> {
    let plan = plan::<T>(cuda, epilogue.operation(), shape)?;
    split_fprop(&plan, epilogue)
}

/// As much of `epilogue`, which it was made for, as a plan computes.
pub(super) fn split_fprop<'a, T: Element>(plan: &Plan, epilogue: Epilogue<'a, T>) -> Result<Split<Epilogue<'a, T>>> {
    let Operation::Fprop { bias, residual, relu } = plan.pattern().computes else { return Err(foreign_plan()) };
    let part = |bias, residual, relu| Epilogue {
        bias: epilogue.bias.filter(|_| bias),
        residual: epilogue.residual.filter(|_| residual),
        relu: epilogue.relu && relu,
    };
    Ok(Split { fused: part(bias, residual, relu), left: part(!bias, !residual, !relu) })
}

/// As much of `epilogue` as cuDNN computes with the input's gradient of a convolution of this shape.
pub(super) fn dgrad_epilogue<'a, T: Element>(
    cuda: &Cuda,
    shape: &ConvShape,
    epilogue: DgradEpilogue<'a, T>,
) -> Result<Split<DgradEpilogue<'a, T>>> {
    let plan = plan::<T>(cuda, epilogue.operation(), shape)?;
    split_dgrad(&plan, epilogue)
}

/// As [`split_fprop`].
pub(super) fn split_dgrad<'a, T: Element>(plan: &Plan, epilogue: DgradEpilogue<'a, T>) -> Result<Split<DgradEpilogue<'a, T>>> {
    let Operation::Dgrad { residual, mask } = plan.pattern().computes else { return Err(foreign_plan()) };
    let part =
        |residual, mask| DgradEpilogue { residual: epilogue.residual.filter(|_| residual), mask: epilogue.mask.filter(|_| mask) };
    Ok(Split { fused: part(residual, mask), left: part(!residual, !mask) })
}

/// Whether [`dgrad`] takes its filters turned where these follow the sum.
pub(super) fn turns_filter<T: Element>(cuda: &Cuda, shape: &ConvShape, residual: bool, mask: bool) -> Result<bool> {
    Ok(plan::<T>(cuda, Operation::Dgrad { residual, mask }, shape)?.pattern().form == Form::TurnedFilter)
}

/// Memory for turned filters until the next convolution: `[c, r, s, k]`.
pub(super) fn turned_filter<T: Element>(device: &Device, shape: &ConvShape) -> Result<Tensor<T>> {
    scratch(device, "turned filter", [shape.c, shape.r, shape.s, shape.k])
}

/// Where cuDNN writes the filters' gradient.
pub(crate) enum Gradient<T: Element> {
    /// Into dw.
    Itself,
    /// Here, in the arithmetic type, since it cannot add to what is there.
    Wide(Tensor<T::Real>),
    /// Here, since it writes no wider type.
    Narrow(Tensor<T>),
}

pub(super) fn gradient<T: Element>(device: &Device, cuda: &Cuda, shape: &ConvShape, accumulate: bool) -> Result<Gradient<T>> {
    let plan = plan::<T>(cuda, Operation::Wgrad { accumulate }, shape)?;
    gradient_of(device, &plan)
}

/// Where a plan writes the filters' gradient.
pub(super) fn gradient_of<T: Element>(device: &Device, plan: &Plan) -> Result<Gradient<T>> {
    let (Problem { operation, shape, .. }, Pattern { computes, form }) = (plan.problem(), plan.pattern());
    Ok(match form {
        Form::NarrowGradient => Gradient::Narrow(narrow_gradient(device, shape)?),
        _ if computes == *operation => Gradient::Itself,
        _ => Gradient::Wide(wide_gradient::<T>(device, shape)?),
    })
}

/// Memory for a gradient of the filters in the storage type, until the next convolution: `[k, r, s, c]`.
pub(super) fn narrow_gradient<T: Element>(device: &Device, shape: &ConvShape) -> Result<Tensor<T>> {
    scratch(device, "narrow gradient", [shape.k, shape.r, shape.s, shape.c])
}

/// The same in the arithmetic type.
pub(super) fn wide_gradient<T: Element>(device: &Device, shape: &ConvShape) -> Result<Tensor<T::Real>> {
    scratch(device, "wide gradient", [shape.k, shape.r, shape.s, shape.c])
}

/// As much of `epilogue` as [`fprop_epilogue`] says.
pub(super) fn fprop<T: Element>(
    cuda: &Rc<Cuda>,
    shape: &ConvShape,
    x: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: Epilogue<T>,
    y: &Tensor<T>,
) -> Result<()> {
    let plan = plan::<T>(cuda, epilogue.operation(), shape)?;
    run_fprop(cuda, &plan, x, filter, epilogue, y)
}

/// A plan that was made for this epilogue.
pub(super) fn run_fprop<T: Element>(
    cuda: &Rc<Cuda>,
    plan: &Plan,
    x: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: Epilogue<T>,
    y: &Tensor<T>,
) -> Result<()> {
    let operands = Operands { image: x.address(), filter: filter.address(), output: y.address(), ..Operands::default() };
    let operands = Operands { bias: address(epilogue.bias), residual: address(epilogue.residual), ..operands };
    run::<T>(cuda, plan, operands)
}

/// As much of `epilogue` as [`dgrad_epilogue`] says, with `filter` turned where [`turns_filter`] says so.
pub(super) fn dgrad<T: Element>(
    cuda: &Rc<Cuda>,
    shape: &ConvShape,
    dy: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: DgradEpilogue<T>,
    dx: &Tensor<T>,
) -> Result<()> {
    let plan = plan::<T>(cuda, epilogue.operation(), shape)?;
    run_dgrad(cuda, &plan, dy, filter, epilogue, dx)
}

/// A plan that was made for this epilogue, with the filters in its form.
pub(super) fn run_dgrad<T: Element>(
    cuda: &Rc<Cuda>,
    plan: &Plan,
    dy: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: DgradEpilogue<T>,
    dx: &Tensor<T>,
) -> Result<()> {
    let operands = Operands { image: dx.address(), filter: filter.address(), output: dy.address(), ..Operands::default() };
    let operands = Operands { residual: address(epilogue.residual), mask: address(epilogue.mask), ..operands };
    run::<T>(cuda, plan, operands)
}

/// `dw` is the address of what [`gradient`] says.
pub(super) fn wgrad<T: Element>(
    cuda: &Rc<Cuda>,
    shape: &ConvShape,
    x: &Tensor<T>,
    dy: &Tensor<T>,
    accumulate: bool,
    dw: u64,
) -> Result<()> {
    let plan = plan::<T>(cuda, Operation::Wgrad { accumulate }, shape)?;
    run_wgrad(cuda, &plan, x, dy, dw)
}

/// `dw` is the address of what [`gradient_of`] says of this plan.
pub(super) fn run_wgrad<T: Element>(cuda: &Rc<Cuda>, plan: &Plan, x: &Tensor<T>, dy: &Tensor<T>, dw: u64) -> Result<()> {
    run::<T>(cuda, plan, Operands { image: x.address(), filter: dw, output: dy.address(), ..Operands::default() })
}

/// Addresses by role; 0 where there is nothing.
#[derive(Clone, Copy, Default)]
struct Operands {
    image: u64,
    filter: u64,
    output: u64,
    bias: u64,
    residual: u64,
    mask: u64,
}

fn address<T: Element>(tensor: Option<&Tensor<T>>) -> u64 {
    tensor.map_or(0, Tensor::address)
}

/// Runs a plan, which takes of the operands what it wants.
fn run<T: Element>(cuda: &Rc<Cuda>, plan: &Plan, operands: Operands) -> Result<()> {
    let device = Device::Cuda(cuda.clone());
    let zeros = if wants_zeros(plan) { zeros::<T>(&device, &plan.problem().shape)?.address() } else { 0 };
    let of_role = |role: Role| match role {
        Role::Image => Ok(operands.image),
        Role::Filter => Ok(operands.filter),
        Role::Output => Ok(operands.output),
        Role::Bias => Ok(operands.bias),
        Role::Zeros => Ok(zeros),
        Role::Residual => Ok(operands.residual),
        Role::Mask => Ok(operands.mask),
        Role::Sum | Role::SquareSum => Err(foreign_plan()),
    };
    let given: Vec<(Role, u64)> = plan.roles().iter().map(|&role| Ok((role, of_role(role)?))).collect::<Result<_>>()?;
    let workspace = device.workspace(plan.workspace_bytes())?;
    // SAFETY: `device_of` and `ops` have checked that the tensors are on this device, of the shape's sizes and apart from the result; all work
    // goes to one stream, which comes to this before anything is freed.
    cuda.call(plan.problem().operation.name(), plan, || unsafe { plan.run(cuda.stream(), &given, workspace) })
}

/// What such a call takes besides its tensors, noted on a device that plans for the GPU.
pub(super) fn plan_memory<T: Element>(device: &Device, cuda: &Cuda, operation: Operation, shape: &ConvShape) -> Result<()> {
    let plan = plan::<T>(cuda, operation, shape)?;
    if wants_zeros(&plan) {
        zeros::<T>(device, shape)?;
    }
    device.workspace(plan.workspace_bytes()).map(drop)
}

fn wants_zeros(plan: &Plan) -> bool {
    plan.roles().contains(&Role::Zeros)
}

/// A bias that changes nothing, for graphs that insist on one.
pub(super) fn zeros<T: Element>(device: &Device, shape: &ConvShape) -> Result<Tensor<T>> {
    scratch(device, "zeros", [shape.k.max(shape.c)])
}

/// Memory for what lives from one launch to the next only, the same each time. Zeros until something is written.
fn scratch<T: Element, const N: usize>(device: &Device, purpose: &'static str, shape: [usize; N]) -> Result<Tensor<T>> {
    let bytes = shape.iter().product::<usize>() * size_of::<T>();
    Ok(Tensor::of_memory(Rc::new(Memory::scratch(device, purpose, bytes)?), shape))
}

/// A plan is of another kind than its problem.
fn foreign_plan() -> Error {
    Error::Device(
        "cuDNN's plan computes something else than was asked for; this is a fault of the program, please report it".to_owned(),
    )
}
