//! One allocation on a device.

use super::Device;
use super::cuda::CudaMemory;
use super::host::HostMemory;
use crate::{Error, Result};
use std::cell::Cell;

/// Bytes in use now and at most, counted as memory comes and goes.
#[derive(Default)]
pub struct Usage {
    now: Cell<usize>,
    peak: Cell<usize>,
}

impl Usage {
    pub(crate) fn get(&self) -> (usize, usize) {
        (self.now.get(), self.peak.get())
    }

    pub(super) fn add(&self, bytes: usize) {
        self.now.set(self.now.get() + bytes);
        self.peak.set(self.peak.get().max(self.now.get()));
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.now.set(self.now.get() - bytes);
    }
}

/// Zeroed memory on a device, freed when dropped.
pub struct Memory {
    device: Device,
    storage: Storage,
    bytes: usize,
    /// Scratch memory is not: it belongs to the device.
    counted: bool,
}

enum Storage {
    Host(HostMemory),
    Cuda(CudaMemory),
    /// An address where nothing lies.
    Dry(u64),
}

impl Memory {
    pub(super) fn new(device: &Device, bytes: usize) -> Result<Self> {
        let storage = match device {
            Device::Host(_) => Storage::Host(HostMemory::new(bytes)?),
            Device::Cuda(cuda) => Storage::Cuda(CudaMemory::new(cuda, bytes)?),
            Device::Dry(dry) => Storage::Dry(dry.address(bytes)),
        };
        device.usage().add(bytes);
        Ok(Self { device: device.clone(), storage, bytes, counted: true })
    }

    /// Memory for one `purpose` that the device keeps and lends again and again; see [`Cuda::scratch`](super::Cuda::scratch). A CPU keeps none.
    pub(super) fn scratch(device: &Device, purpose: &'static str, bytes: usize) -> Result<Self> {
        let storage = match device {
            Device::Host(_) => return Self::new(device, bytes),
            Device::Cuda(cuda) => Storage::Cuda(cuda.scratch(purpose, bytes)?),
            Device::Dry(dry) => {
                dry.scratch(purpose, bytes);
                Storage::Dry(dry.address(bytes))
            }
        };
        Ok(Self { device: device.clone(), storage, bytes, counted: false })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn address(&self) -> u64 {
        match &self.storage {
            Storage::Host(memory) => memory.address(),
            Storage::Cuda(memory) => memory.address(),
            Storage::Dry(address) => *address,
        }
    }

    /// Waits until everything launched before has finished.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        self.check(offset, into.len())?;
        // SAFETY: in bounds.
        unsafe {
            match &self.storage {
                Storage::Host(memory) => memory.read(offset, into),
                Storage::Cuda(memory) => memory.read(offset, into)?,
                Storage::Dry(_) => into.fill(0),
            }
        }
        Ok(())
    }

    /// Comes after everything launched before; does not wait for it.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.check(offset, from.len())?;
        // SAFETY: in bounds.
        unsafe {
            match &self.storage {
                Storage::Host(memory) => memory.write(offset, from),
                Storage::Cuda(memory) => memory.write(offset, from)?,
                Storage::Dry(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn copy(&self, offset: usize, source: &Self, source_offset: usize, bytes: usize) -> Result<()> {
        self.check(offset, bytes)?;
        source.check(source_offset, bytes)?;
        // SAFETY: both in bounds.
        unsafe {
            match (&self.storage, &source.storage) {
                (Storage::Host(memory), Storage::Host(source)) => memory.copy(offset, source, source_offset, bytes),
                (Storage::Cuda(memory), Storage::Cuda(source)) => memory.copy(offset, source, source_offset, bytes)?,
                (Storage::Dry(_), Storage::Dry(_)) => {}
                _ => return Err(Error::shape("copy", "the memory is on different devices; copy through the host")),
            }
        }
        Ok(())
    }

    pub(crate) fn clear(&self, offset: usize, bytes: usize) -> Result<()> {
        self.check(offset, bytes)?;
        // SAFETY: in bounds.
        unsafe {
            match &self.storage {
                Storage::Host(memory) => memory.clear(offset, bytes),
                Storage::Cuda(memory) => memory.clear(offset, bytes)?,
                Storage::Dry(_) => {}
            }
        }
        Ok(())
    }

    fn check(&self, offset: usize, bytes: usize) -> Result<()> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(Error::shape(
                "memory",
                format!("{bytes} bytes at {offset} do not lie within an allocation of {}", self.bytes),
            )),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.counted {
            self.device.usage().remove(self.bytes);
        }
    }
}
