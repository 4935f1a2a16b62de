//! One allocation in a GPU's memory.

use super::{Cuda, driver};
use crate::{Error, Result};
use cudarc::driver::result;
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaStream, DriverError};
use std::rc::Rc;
use std::sync::Arc;

/// Memory as the driver gives it, freed when dropped.
pub(super) struct Allocation {
    stream: Arc<CudaStream>,
    address: u64,
    bytes: usize,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        // Work that uses the memory may still be under way. Whatever fails here has failed before, and was or will be reported there.
        let _ = self.stream.synchronize();
        // SAFETY: allocated by `Cuda::allocate` in this context, and nothing refers to it any more.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

impl Cuda {
    /// At least `bytes` of memory for one `purpose`, the same each time, so that it holds something from one launch to the next only. Zeros until
    /// something is written.
    ///
    /// # Errors
    /// [`Error::Device`] when it has to grow and the GPU has no room, or a step is being captured.
    pub(in crate::device) fn scratch(self: &Rc<Self>, purpose: &'static str, bytes: usize) -> Result<CudaMemory> {
        let mut scratch = self.scratch.borrow_mut();
        let kept = scratch.entry(purpose).or_default();
        if let Some(last) = kept.last().filter(|last| last.bytes >= bytes) {
            return Ok(CudaMemory { allocation: last.clone(), cuda: self.clone() });
        }
        if !self.has_graphs.get() {
            kept.drain(..).for_each(|smaller| self.usage.remove(smaller.bytes));
        }
        let memory = CudaMemory::new(self, bytes)?;
        self.usage.add(bytes);
        kept.push(memory.allocation.clone());
        Ok(memory)
    }

    /// Bytes that are free now.
    pub(in crate::device) fn free_memory(&self) -> Result<usize> {
        self.bind()?;
        let (free, _) = self.check("asking for its free memory", result::mem_get_info())?;
        Ok(free)
    }

    /// Room for `bytes`, with whatever lies there.
    pub(super) fn allocate(&self, bytes: usize) -> Result<Allocation> {
        self.outside_capture("allocate memory")?;
        self.bind()?;
        let address = match bytes {
            // The driver gives no less than a byte.
            0 => 0,
            // SAFETY: not of size zero. The driver aligns by 256 bytes.
            _ => unsafe { result::malloc_sync(bytes) }.map_err(|error| self.no_room(bytes, error))?,
        };
        Ok(Allocation { stream: self.stream.clone(), address, bytes })
    }

    fn no_room(&self, bytes: usize, error: DriverError) -> Error {
        if error.0 != CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return Error::Device(format!("{} gives no memory: {}; start again", self.gpu.name, driver::text(error)));
        }
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let (used, _) = self.usage.get();
        let free =
            result::mem_get_info().map_or(String::new(), |(free, total)| format!(", {} of {} MiB free", mib(free), mib(total)));
        Error::Device(format!(
            "{} has no room for another {} MiB ({} MiB used by this run{free}); {}",
            self.gpu.name,
            mib(bytes),
            mib(used),
            driver::NEED_LESS
        ))
    }
}

/// Zeroed memory. Offsets and lengths are the caller's to check.
pub(in crate::device) struct CudaMemory {
    // Before the device, so that it is freed while the context is there.
    allocation: Rc<Allocation>,
    cuda: Rc<Cuda>,
}

impl CudaMemory {
    pub(in crate::device) fn new(cuda: &Rc<Cuda>, bytes: usize) -> Result<Self> {
        let memory = Self { allocation: Rc::new(cuda.allocate(bytes)?), cuda: cuda.clone() };
        // SAFETY: the whole allocation.
        unsafe { memory.clear(0, bytes)? };
        Ok(memory)
    }

    pub(in crate::device) fn bytes(&self) -> usize {
        self.allocation.bytes
    }

    pub(in crate::device) fn address(&self) -> u64 {
        self.allocation.address
    }

    fn at(&self, offset: usize) -> u64 {
        self.allocation.address + offset as u64
    }

    /// # Safety
    /// `offset..offset + into.len()` lies within the allocation.
    pub(in crate::device) unsafe fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        self.cuda.outside_capture("read from the GPU")?;
        // SAFETY: passed on to the caller.
        let copied = unsafe { self.cuda.staging.download(self.at(offset), into) };
        self.cuda.check("copying from it", copied)
    }

    /// # Safety
    /// As for [`CudaMemory::read`].
    pub(in crate::device) unsafe fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.cuda.outside_capture("write to the GPU")?;
        // SAFETY: passed on to the caller.
        let copied = unsafe { self.cuda.staging.upload(from, self.at(offset)) };
        self.cuda.check("copying to it", copied)
    }

    /// # Safety
    /// Both ranges lie within their allocations, and do not overlap.
    pub(in crate::device) unsafe fn copy(&self, offset: usize, source: &Self, source_offset: usize, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.cuda.bind()?;
        // SAFETY: in bounds, as the caller says; the stream comes to it before the memory is freed.
        let copied = unsafe { result::memcpy_dtod_async(self.at(offset), source.at(source_offset), bytes, self.cuda.stream()) };
        self.cuda.check("copying within it", copied)
    }

    /// # Safety
    /// `offset..offset + bytes` lies within the allocation.
    pub(in crate::device) unsafe fn clear(&self, offset: usize, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.cuda.bind()?;
        // SAFETY: as in `copy`.
        let cleared = unsafe { result::memset_d8_async(self.at(offset), 0, bytes, self.cuda.stream()) };
        self.cuda.check("clearing its memory", cleared)
    }
}
