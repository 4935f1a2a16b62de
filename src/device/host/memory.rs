//! One allocation in the CPU's memory.

use crate::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};

/// Cache lines and every vector width divide it.
const ALIGNMENT: usize = 64;

/// Zeroed memory. Offsets and lengths are the caller's to check.
pub(crate) struct HostMemory {
    /// What the allocator gave.
    base: *mut u8,
    /// The first aligned byte in it.
    start: *mut u8,
    layout: Layout,
}

impl HostMemory {
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        let layout = layout(bytes).ok_or_else(|| {
            Error::Device(format!("{bytes} bytes are more than any memory holds; use a smaller batch size or width"))
        })?;
        // SAFETY: the layout's size is at least one alignment, never zero.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(Error::Device(format!(
                "no memory for another {} MiB; a smaller batch size or width needs less",
                bytes.div_ceil(1 << 20)
            )));
        }
        // SAFETY: the layout has room for the shift.
        let start = unsafe { base.add(base.align_offset(ALIGNMENT)) };
        Ok(Self { base, start, layout })
    }

    pub(crate) fn address(&self) -> u64 {
        self.start as u64
    }

    /// # Safety
    /// `offset..offset + into.len()` lies within the allocation.
    pub(crate) unsafe fn read(&self, offset: usize, into: &mut [u8]) {
        // SAFETY: in bounds; `into` is a Rust slice and cannot overlap device memory.
        unsafe { std::ptr::copy_nonoverlapping(self.start.add(offset), into.as_mut_ptr(), into.len()) };
    }

    /// # Safety
    /// As for [`HostMemory::read`].
    pub(crate) unsafe fn write(&self, offset: usize, from: &[u8]) {
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.start.add(offset), from.len()) };
    }

    /// # Safety
    /// Both ranges lie within their allocations; they may overlap.
    pub(crate) unsafe fn copy(&self, offset: usize, source: &Self, source_offset: usize, bytes: usize) {
        // SAFETY: both in bounds; `copy` permits overlap.
        unsafe { std::ptr::copy(source.start.add(source_offset), self.start.add(offset), bytes) };
    }

    /// # Safety
    /// `offset..offset + bytes` lies within the allocation.
    pub(crate) unsafe fn clear(&self, offset: usize, bytes: usize) {
        // SAFETY: in bounds.
        unsafe { std::ptr::write_bytes(self.start.add(offset), 0, bytes) };
    }
}

/// Room for `bytes` at an aligned address. The allocator itself is asked for no more than its natural alignment: only then does it hand out
/// pages that the system zeroes when they are first touched, instead of zeroing them one and all.
fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(ALIGNMENT)?, 16).ok()
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this very layout.
        unsafe { dealloc(self.base, self.layout) };
    }
}
