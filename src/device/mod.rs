//! Where kernels run: `Cuda` on an NVIDIA GPU, `Host` on CPU threads.
//!
//! Everything that touches memory or launches a kernel goes through [`crate::ops`]; this module is what `ops` stands on.

mod arithmetic;
pub mod conv;
pub mod cublas;
pub mod cuda;
pub mod cudnn;
mod dry;
mod engines;
mod environment;
pub mod gpu_code;
mod graph;
pub mod host;
pub mod kernel_status;
pub mod launch;
pub mod libraries;
pub mod library_version;
pub(crate) mod matmul;
mod memory;
mod needs;
pub mod noise;
pub mod ranges;
pub mod record;
mod workspace;

pub use arithmetic::Arithmetic;
pub use cuda::{Cuda, CudaOptions};
pub use dry::Dry;
pub use graph::Graph;
#[cfg(feature = "access")]
pub use host::access;
pub use host::{Geometry, Host, HostOptions, Schedule};
pub use launch::{Kernel, Work};
pub(crate) use memory::Memory;
pub use needs::Needs;
pub use workspace::Workspace;

use crate::Result;
use crate::element::Element;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A handle on a device; clones share it.
#[derive(Clone)]
pub enum Device {
    /// The CPU: kernels compiled by the host's C++ compiler, convolutions and products in plain Rust.
    Host(Rc<Host>),
    /// An NVIDIA GPU: kernels compiled by nvcc, convolutions and products in NVIDIA's libraries.
    Cuda(Rc<Cuda>),
    /// Nothing, for planning: what would be allocated is counted, what would be launched can be [recorded](record).
    Dry(Rc<Dry>),
}

impl Device {
    /// The CPU, with default options and those of the environment (`ROCL_CONV=direct`).
    pub fn host() -> Result<Self> {
        Self::host_with(HostOptions::from_environment()?)
    }

    /// The CPU, with a given number of threads, launch geometry or schedule.
    pub fn host_with(options: HostOptions) -> Result<Self> {
        Ok(Self::Host(Rc::new(Host::new(options)?)))
    }

    /// The GPU of that number, from 0, with the options of the environment (`ROCL_CONV=direct`, `ROCL_CUDA_SYNC=1`).
    ///
    /// # Errors
    /// Those of [`Device::cuda_with`].
    pub fn cuda(ordinal: usize) -> Result<Self> {
        Self::cuda_with(CudaOptions { ordinal, ..CudaOptions::from_environment()? })
    }

    /// A GPU.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when the program carries no code for GPUs, or the machine has no such GPU, no driver that is new enough, or no
    /// cuDNN or cuBLASLt.
    pub fn cuda_with(options: CudaOptions) -> Result<Self> {
        let cuda = Cuda::new(options)?;
        if !options.direct_convolution && !options.simulated {
            // So that what is missing is said before a run begins.
            conv::cudnn(&cuda)?;
            matmul::cublas(&cuda)?;
        }
        Ok(Self::Cuda(Rc::new(cuda)))
    }

    /// A device that only plans.
    pub fn dry() -> Self {
        Self::Dry(Rc::default())
    }

    /// Whether it is the CPU, or plans for one.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Host(_) => true,
            Self::Cuda(_) => false,
            Self::Dry(dry) => dry.host().is_some(),
        }
    }

    /// Whether nothing is computed here.
    pub fn is_dry(&self) -> bool {
        matches!(self, Self::Dry(_))
    }

    /// The precision that work with numbers stored as `T` has here, as `--precision` says it.
    pub fn precision<T: Element>(&self) -> &'static str {
        let tf32 = match self {
            Self::Host(host) => host.options().tf32,
            Self::Cuda(cuda) => cuda.options().tf32,
            Self::Dry(_) => false,
        };
        if tf32 && T::NAME == f32::NAME { "tf32" } else { T::PRECISION }
    }

    /// One line for people: what this device is.
    pub fn description(&self) -> String {
        match self {
            Self::Host(host) => host.description(),
            Self::Cuda(cuda) => cuda.description(),
            Self::Dry(_) => "nothing but a plan".to_owned(),
        }
    }

    /// Bytes allocated now, and the most that ever were: tensors, and on a GPU what libraries compute in.
    pub fn memory_use(&self) -> (usize, usize) {
        self.usage().get()
    }

    /// Waits until everything launched has finished.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when something launched has failed.
    pub fn synchronize(&self) -> Result<()> {
        match self {
            Self::Host(_) | Self::Dry(_) => Ok(()),
            Self::Cuda(cuda) => cuda.synchronize(),
        }
    }

    /// The time that one of `runs` runs of `work` takes, one after the other: by the GPU's own clock, or the CPU's.
    ///
    /// # Errors
    /// Those of `work` and of the device.
    pub fn time(&self, runs: u32, work: impl Fn() -> Result<()>) -> Result<Duration> {
        if let Self::Cuda(cuda) = self {
            return cuda.time(runs, work);
        }
        let start = Instant::now();
        (0..runs).try_for_each(|_| work())?;
        Ok(start.elapsed() / runs.max(1))
    }

    /// Whether convolutions and products run as portable kernels.
    pub(crate) fn convolves_directly(&self) -> bool {
        match self {
            Self::Host(host) => host.options().direct_convolution,
            Self::Cuda(cuda) => cuda.options().direct_convolution,
            Self::Dry(dry) => dry.convolves_directly(),
        }
    }

    pub(crate) fn allocate(&self, bytes: usize) -> Result<Memory> {
        Memory::new(self, bytes)
    }

    /// The GPU that this is, or that is planned for.
    fn gpu(&self) -> Option<&Rc<Cuda>> {
        match self {
            Self::Host(_) => None,
            Self::Cuda(cuda) => Some(cuda),
            Self::Dry(dry) => dry.gpu(),
        }
    }

    fn launch(&self, kernel: &'static Kernel, slot: usize, work: Work, slots: &[u64]) -> Result<()> {
        match self {
            Self::Host(host) => host.launch(kernel, slot, work, slots),
            Self::Cuda(cuda) => cuda.launch(kernel, slot, work, slots),
            Self::Dry(_) => launch::check_work(kernel, work),
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(a), Self::Host(b)) => Rc::ptr_eq(a, b),
            (Self::Cuda(a), Self::Cuda(b)) => Rc::ptr_eq(a, b),
            (Self::Dry(a), Self::Dry(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }

    fn usage(&self) -> &memory::Usage {
        match self {
            Self::Host(host) => host.usage(),
            Self::Cuda(cuda) => cuda.usage(),
            Self::Dry(dry) => dry.usage(),
        }
    }
}

impl HostOptions {
    /// The default, and what the environment asks for.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for a value that cannot be meant.
    pub fn from_environment() -> Result<Self> {
        Ok(Self { direct_convolution: environment::direct_convolution()?, ..Self::default() })
    }
}

impl CudaOptions {
    /// The default, and what the environment asks for.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for a value that cannot be meant.
    pub fn from_environment() -> Result<Self> {
        let (direct_convolution, synchronous) = (environment::direct_convolution()?, environment::synchronous()?);
        Ok(Self { direct_convolution, synchronous, ..Self::default() })
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.description())
    }
}
