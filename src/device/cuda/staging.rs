//! Copies between the program's memory and the GPU's, through page-locked buffers.
//!
//! Only from such memory does a GPU copy while the program goes on: an upload returns when the data are in a buffer, not when they have
//! arrived. Two buffers take turns, so that one is filled while the other is on its way.

use cudarc::driver::result;
use cudarc::driver::{CudaEvent, CudaStream, DriverError};
use std::cell::Cell;
use std::sync::Arc;

/// Bytes of a buffer: enough to hide what a copy costs to start.
const BYTES: usize = 4 << 20;

pub(super) struct Staging {
    buffers: [Buffer; 2],
    /// The buffer whose turn it is.
    next: Cell<usize>,
    stream: Arc<CudaStream>,
}

struct Buffer {
    start: *mut u8,
    /// Recorded behind the last copy out of the buffer.
    free: CudaEvent,
}

impl Buffer {
    fn new(stream: &Arc<CudaStream>) -> Result<Self, DriverError> {
        let free = stream.context().new_event(None)?;
        // SAFETY: not of size zero. No flags: the program reads from it too, which it must not from write-combined memory.
        let start = unsafe { result::malloc_host(BYTES, 0)? };
        Ok(Self { start: start.cast(), free })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // As when memory is freed, a failure here is one that was reported elsewhere.
        let _ = self.free.synchronize();
        // SAFETY: allocated by `new`, and the last copy out of it is done.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}

impl Staging {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self, DriverError> {
        Ok(Self { buffers: [Buffer::new(stream)?, Buffer::new(stream)?], next: Cell::new(0), stream: stream.clone() })
    }

    /// The buffer whose turn it is, once the last copy out of it is done.
    fn buffer(&self) -> Result<&Buffer, DriverError> {
        let buffer = &self.buffers[self.next.get()];
        self.next.set(1 - self.next.get());
        buffer.free.synchronize()?;
        Ok(buffer)
    }

    /// Copies to the GPU's memory at `address`, behind what is on the stream.
    ///
    /// # Safety
    /// There are `from.len()` bytes at `address`, which is not freed before the stream has come to the copy.
    pub(super) unsafe fn upload(&self, from: &[u8], address: u64) -> Result<(), DriverError> {
        for (index, chunk) in from.chunks(BYTES).enumerate() {
            let buffer = self.buffer()?;
            // SAFETY: the buffer is of the size of the largest chunk, and no copy out of it is under way.
            let staged = unsafe {
                std::ptr::copy_nonoverlapping(chunk.as_ptr(), buffer.start, chunk.len());
                std::slice::from_raw_parts(buffer.start, chunk.len())
            };
            // SAFETY: within the memory that the caller vouches for; the buffer is left alone until its event has passed.
            unsafe { result::memcpy_htod_async(address + (index * BYTES) as u64, staged, self.stream.cu_stream())? };
            buffer.free.record(&self.stream)?;
        }
        Ok(())
    }

    /// Copies from the GPU's memory at `address`, when everything on the stream is done.
    ///
    /// # Safety
    /// There are `into.len()` bytes at `address`.
    pub(super) unsafe fn download(&self, address: u64, into: &mut [u8]) -> Result<(), DriverError> {
        for (index, chunk) in into.chunks_mut(BYTES).enumerate() {
            let buffer = self.buffer()?;
            // SAFETY: the buffer is of the size of the largest chunk, initialised by the copy, and nothing else uses it meanwhile.
            unsafe {
                let staged = std::slice::from_raw_parts_mut(buffer.start, chunk.len());
                result::memcpy_dtoh_async(staged, address + (index * BYTES) as u64, self.stream.cu_stream())?;
                self.stream.synchronize()?;
                chunk.copy_from_slice(staged);
            }
        }
        Ok(())
    }
}
