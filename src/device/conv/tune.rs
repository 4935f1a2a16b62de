//! The choice of engines by measurement, when a convolution is first run on a GPU that tunes.
//!
//! A candidate is timed with the very operands of the call, and with the kernels that run what it leaves. It computes what the call computes, which
//! overwrites it afterwards; only dw, which is added to, has a substitute.

use super::cuda::{self, Gradient};
use super::{ConvShape, DgradEpilogue, Epilogue, device_of};
use crate::device::cudnn::{EngineSet, Form, MOST_WORKSPACE, Operation, Plan, Problem};
use crate::device::{Arithmetic, Cuda, Device};
use crate::element::Element;
use crate::{Error, Result, Tensor};

/// Engines that are timed for each graph: heuristics put the best among the first few.
const CANDIDATES: usize = 6;
/// Timed runs of each: a convolution takes some 0.1 ms, and an event is good to 0.5 µs.
const RUNS: u32 = 10;

/// Of a convolution; `finish` runs what is left of its epilogue.
pub(crate) fn tune_fprop<T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    filter: &Tensor<T>,
    epilogue: Epilogue<T>,
    y: &Tensor<T>,
    finish: impl Fn(Epilogue<T>) -> Result<()>,
) -> Result<()> {
    if tunes(y).is_none() {
        return Ok(());
    }
    let Device::Cuda(cuda) = device_of("conv_fprop", &[x, filter], &[epilogue.bias, epilogue.residual], y)? else {
        return Ok(());
    };
    tune::<T>(&cuda, epilogue.operation(), shape, |plan| {
        cuda::run_fprop(&cuda, plan, x, filter, epilogue, y)?;
        finish(cuda::split_fprop(plan, epilogue)?.left)
    })
}

/// Of an input's gradient; `filter` gives the filters, turned or not, and `finish` runs what is left of the epilogue.
pub(crate) fn tune_dgrad<T: Element>(
    shape: &ConvShape,
    dy: &Tensor<T>,
    filter: impl Fn(bool) -> Result<Tensor<T>>,
    epilogue: DgradEpilogue<T>,
    dx: &Tensor<T>,
    finish: impl Fn(DgradEpilogue<T>) -> Result<()>,
) -> Result<()> {
    if tunes(dx).is_none() {
        return Ok(());
    }
    let Device::Cuda(cuda) = device_of("conv_dgrad", &[dy, &filter(false)?], &[epilogue.residual, epilogue.mask], dx)? else {
        return Ok(());
    };
    tune::<T>(&cuda, epilogue.operation(), shape, |plan| {
        let filter = filter(plan.pattern().form == Form::TurnedFilter)?;
        cuda::run_dgrad(&cuda, plan, dy, &filter, epilogue, dx)?;
        finish(cuda::split_dgrad(plan, epilogue)?.left)
    })
}

/// Of the filters' gradient, to a place of its own. What is left is the same for all candidates of one arithmetic: it is not timed.
pub(crate) fn tune_wgrad<T: Element>(
    shape: &ConvShape,
    x: &Tensor<T>,
    dy: &Tensor<T>,
    accumulate: bool,
    dw: &Tensor<T::Real>,
) -> Result<()> {
    if tunes(dw).is_none() {
        return Ok(());
    }
    let device = device_of("conv_wgrad", &[x, dy], &[], dw)?;
    let Device::Cuda(cuda) = &device else { return Ok(()) };
    tune::<T>(cuda, Operation::Wgrad { accumulate }, shape, |plan| {
        let address = match cuda::gradient_of::<T>(&device, plan)? {
            Gradient::Narrow(gradient) => gradient.address(),
            Gradient::Wide(gradient) => gradient.address(),
            Gradient::Itself => cuda::wide_gradient::<T>(&device, shape)?.address(),
        };
        cuda::run_wgrad(cuda, plan, x, dy, address)
    })
}

fn tunes<E: bytemuck::Pod>(result: &Tensor<E>) -> Option<EngineSet> {
    let Device::Cuda(cuda) = result.device() else { return None };
    cuda.tunes()
}

fn tune<T: Element>(cuda: &Cuda, operation: Operation, shape: &ConvShape, run: impl Fn(&Plan) -> Result<()>) -> Result<()> {
    let arithmetic = Arithmetic::of::<T>(cuda.options().tf32)?;
    let Some(engines) = cuda.tunes().filter(|_| arithmetic != Arithmetic::F32) else { return Ok(()) };
    let problem = Problem { operation, shape: *shape, arithmetic };
    let measure = |plan: &Plan| {
        if plan.workspace_bytes() > MOST_WORKSPACE {
            return Ok(None);
        }
        // An engine that refuses, or wants more memory than there is, is no choice. One that breaks the GPU has to be named: every later
        // call would fail for its sake.
        // The first run is not counted.
        run(plan).and_then(|()| cuda.time(RUNS, || run(plan))).map(Some).or_else(|_| {
            let broken =
                |reason| Error::Device(format!("measuring engines broke the GPU with {plan}: {reason}; leave --tune out"));
            cuda.synchronize().map_or_else(|reason| Err(broken(reason)), |()| Ok(None))
        })
    };
    cuda::cudnn(cuda)?.tune(problem, engines, CANDIDATES, measure).map(drop)
}
