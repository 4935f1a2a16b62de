//! Which device a command computes on.

use super::common::DeviceChoice;
use super::output::note;
use crate::device::{CudaOptions, HostOptions, cuda, launch};
use crate::{Device, Result};

/// Opens the device of that choice, with that many CPU threads (0 means all). Where the choice is left to the program and it takes the CPU
/// although a GPU was to be expected, it says why on standard error.
///
/// # Errors
/// [`crate::Error::Device`] when a GPU was asked for and cannot be used, or the CPU cannot; [`crate::Error::Usage`] for environment variables that
/// cannot be meant.
pub fn open(choice: DeviceChoice, threads: usize, tf32: bool) -> Result<Device> {
    let on_gpu = |ordinal| Device::cuda_with(CudaOptions { ordinal, tf32, ..CudaOptions::from_environment()? });
    let on_cpu = || Device::host_with(HostOptions { threads, tf32, ..HostOptions::from_environment()? });
    match choice {
        DeviceChoice::Cuda(ordinal) => on_gpu(ordinal),
        DeviceChoice::Cpu => on_cpu(),
        // A plain build on a machine without a driver: nobody expects a GPU.
        DeviceChoice::Auto if !launch::has_gpu_code() && !cuda::is_present() => on_cpu(),
        DeviceChoice::Auto => on_gpu(0).or_else(|reason| {
            note(format!("note: computing on the CPU, since {reason}"));
            on_cpu()
        }),
    }
}
