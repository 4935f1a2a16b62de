//! What a convolution takes besides its tensors, noted on a device that only plans.

use super::{ConvShape, cuda, host};
use crate::Result;
use crate::device::cudnn::{MOST_WORKSPACE, Operation, Problem};
use crate::device::{Arithmetic, Cuda, Device, Dry};
use crate::element::Element;
use std::rc::Rc;

/// Of a convolution with all that follows its sum.
pub(super) fn plan<T: Element>(dry: &Rc<Dry>, operation: Operation, shape: &ConvShape) -> Result<()> {
    let device = Device::Dry(dry.clone());
    if let Some(cuda) = dry.gpu() {
        plan_tuning::<T>(&device, cuda, operation, shape)?;
        return cuda::plan_memory::<T>(&device, cuda, operation, shape);
    }
    if let Some(cpu) = dry.host() {
        let needed = match operation {
            Operation::Fprop { .. } | Operation::Statistics => host::fprop_scratch::<T>(shape),
            Operation::Dgrad { .. } => host::dgrad_scratch::<T>(shape),
            Operation::Wgrad { .. } => host::wgrad_scratch::<T>(shape),
        };
        dry.scratch("packed filters and partial sums", needed.call);
        dry.scratch("bands of images", needed.task * cpu.threads());
    }
    Ok(())
}

/// Engines that are about to be measured may each want as much as they are allowed, and every other form of filters or gradients.
fn plan_tuning<T: Element>(device: &Device, cuda: &Cuda, operation: Operation, shape: &ConvShape) -> Result<()> {
    let arithmetic = Arithmetic::of::<T>(cuda.options().tf32)?;
    let problem = Problem { operation, shape: *shape, arithmetic };
    if cuda.tunes().is_none() || arithmetic == Arithmetic::F32 || cuda::cudnn(cuda)?.is_tuned(&problem) {
        return Ok(());
    }
    device.workspace(MOST_WORKSPACE)?;
    cuda::zeros::<T>(device, shape)?;
    match operation {
        Operation::Fprop { .. } | Operation::Statistics => Ok(()),
        Operation::Dgrad { .. } => cuda::turned_filter::<T>(device, shape).map(drop),
        Operation::Wgrad { .. } => {
            cuda::narrow_gradient::<T>(device, shape)?;
            cuda::wide_gradient::<T>(device, shape).map(drop)
        }
    }
}
