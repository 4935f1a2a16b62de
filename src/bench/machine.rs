//! Where and by what a report was measured.

use crate::Device;
use crate::device::cuda::{self, Gpu};
use crate::device::host;
use crate::device::libraries::CudaLibrary;
use crate::device::library_version;
use serde::Serialize;

/// What a figure depends on besides its settings.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The device's own description.
    pub device: String,
    /// The processor's name, as the system gives it.
    pub cpu: String,
    /// The widest vectors that it computes with: processors of one name differ in that.
    pub instructions: &'static str,
    /// This program's version.
    pub version: &'static str,
    /// The GPU that computed, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<MachineGpu>,
    /// The commit it was built from, as `ROCL_COMMIT` told the build (`git describe --always --dirty`); else `unknown`.
    pub commit: &'static str,
}

impl Machine {
    /// Of this process and `device`.
    pub fn of(device: &Device) -> Self {
        Self {
            device: device.description(),
            cpu: cpu_name(),
            instructions: host::instructions(),
            version: env!("CARGO_PKG_VERSION"),
            gpu: MachineGpu::of(device),
            commit: option_env!("ROCL_COMMIT").unwrap_or("unknown"),
        }
    }
}

/// A GPU, and what computes on it besides this program. Its driver's own version is in [`Load`](super::gauge::Load).
#[derive(Clone, Debug, Serialize)]
pub struct MachineGpu {
    #[serde(flatten)]
    gpu: Gpu,
    /// The version of CUDA that the driver supports, `13.0`.
    cuda: Option<String>,
    /// cuDNN's version, `9.19.0`; none where kernels convolve.
    cudnn: Option<String>,
    /// cuBLASLt's version.
    cublaslt: Option<String>,
}

impl MachineGpu {
    fn of(device: &Device) -> Option<Self> {
        let Device::Cuda(cuda) = device else { return None };
        let uses_libraries = !device.convolves_directly();
        let version = |library| uses_libraries.then(|| library_version::find(library).ok().map(|(_, version)| version)).flatten();
        Some(Self {
            gpu: cuda.gpu().clone(),
            cuda: cuda::start().ok().map(|(major, minor)| format!("{major}.{minor}")),
            cudnn: version(CudaLibrary::Cudnn),
            cublaslt: version(CudaLibrary::CublasLt),
        })
    }
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The most memory this process ever had resident, in bytes; 0 where the system does not tell.
pub fn peak_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
