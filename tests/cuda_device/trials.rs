//! What `rocl doctor` has a GPU compute.

use crate::common::devices::TestDevice;
use crate::{devices, fake_cuda, libraries};
use rocl::device::CudaOptions;
use rocl::device::cublas::CublasLt;
use rocl::{Device, trial};
use std::rc::Rc;

/// By the kernels alone, and through the libraries where they are.
#[test]
fn a_sound_device_passes_every_trial() {
    let simulated = devices::can_simulate().then(|| libraries::device(CudaOptions::default())).flatten();
    for device in devices::with_driver().map(TestDevice::open).chain(simulated) {
        assert_eq!(trial::try_out(&device).unwrap(), 10, "{device:?}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    if !devices::can_simulate() {
        return;
    }
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    fake_cuda::set("kernel=weighted_sum");
    let message = trial::try_out(&device).unwrap_err().to_string();
    assert!(message.contains("cannot compute a sum by a kernel: ") && message.contains("kernel weighted_sum"), "{message}");
    fake_cuda::set("");

    // Products that are never computed.
    let device = fake_cuda::device_with(CudaOptions { direct_convolution: false, ..CudaOptions::default() }).unwrap();
    let Device::Cuda(cuda) = &device else { panic!("{device:?}") };
    cuda.library(|_| Ok(libraries::simulated_cudnn().unwrap())).unwrap();
    cuda.library(|_| Ok(CublasLt::simulated(Rc::new(|_, _, _, _, _| Ok(()))))).unwrap();
    let message = trial::try_out(&device).unwrap_err().to_string();
    assert!(
        message.contains("it computes a linear layer in fp32 wrongly: ") && message.contains("compute-sanitizer"),
        "{message}"
    );
}
