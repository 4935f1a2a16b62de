//! Where kernels run. `Host` executes the CUDA kernels on CPU threads; a `Cuda` device joins it behind the same enum.
//!
//! Everything that touches memory or launches a kernel goes through [`crate::ops`]; this module is what `ops` stands on.

pub mod conv;
pub mod host;
pub mod launch;
pub(crate) mod matmul;
mod memory;
pub mod record;

pub use host::{Geometry, Host, HostOptions, Schedule};
pub use launch::{Kernel, Work};
pub(crate) use memory::Memory;

use crate::Result;
use std::rc::Rc;

/// A handle on a device; clones share it.
#[derive(Clone)]
pub enum Device {
    /// The CPU: kernels compiled by the host's C++ compiler, convolutions and products in plain Rust.
    Host(Rc<Host>),
}

impl Device {
    /// The CPU, with default options.
    pub fn host() -> Result<Self> {
        Self::host_with(HostOptions::default())
    }

    /// The CPU, with a given number of threads, launch geometry or schedule.
    pub fn host_with(options: HostOptions) -> Result<Self> {
        Ok(Self::Host(Rc::new(Host::new(options)?)))
    }

    /// One line for people: what this device is.
    pub fn description(&self) -> String {
        match self {
            Self::Host(host) => host.description(),
        }
    }

    /// Bytes allocated now, and the most that ever were.
    pub fn memory_use(&self) -> (usize, usize) {
        match self {
            Self::Host(host) => host.usage().get(),
        }
    }

    /// Waits until everything launched has finished.
    pub fn synchronize(&self) -> Result<()> {
        match self {
            Self::Host(_) => Ok(()),
        }
    }

    /// Whether it is the CPU.
    pub fn is_host(&self) -> bool {
        matches!(self, Self::Host(_))
    }

    pub(crate) fn allocate(&self, bytes: usize) -> Result<Memory> {
        Memory::new(self, bytes)
    }

    fn launch(&self, kernel: &'static Kernel, slot: usize, work: Work, slots: &[u64]) -> Result<()> {
        match self {
            Self::Host(host) => host.launch(kernel, slot, work, slots),
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(a), Self::Host(b)) => Rc::ptr_eq(a, b),
        }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.description())
    }
}
