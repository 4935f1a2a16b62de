//! One allocation on a device.

use super::Device;
use crate::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;

/// Cache lines and every vector width divide it.
const ALIGNMENT: usize = 64;

/// Bytes in use now and at most, counted as memory comes and goes.
#[derive(Default)]
pub struct Usage {
    now: Cell<usize>,
    peak: Cell<usize>,
    /// The end of the last address range handed out by a dry run.
    end: Cell<usize>,
}

impl Usage {
    pub(crate) fn get(&self) -> (usize, usize) {
        (self.now.get(), self.peak.get())
    }

    fn add(&self, bytes: usize) {
        self.now.set(self.now.get() + bytes);
        self.peak.set(self.peak.get().max(self.now.get()));
    }

    /// The start of a range of addresses that no other allocation of a dry run has.
    fn next_address(&self, bytes: usize) -> usize {
        let start = self.end.get() + ALIGNMENT;
        self.end.set(start + bytes.next_multiple_of(ALIGNMENT));
        start
    }

    fn remove(&self, bytes: usize) {
        self.now.set(self.now.get() - bytes);
    }
}

/// Zeroed memory on a device, freed when dropped.
pub struct Memory {
    device: Device,
    /// What the allocator gave; null of a dry run, whose addresses are only there to be told apart.
    base: *mut u8,
    /// The first aligned byte in it.
    start: *mut u8,
    bytes: usize,
}

impl Memory {
    pub(super) fn new(device: &Device, bytes: usize) -> Result<Self> {
        let Device::Host(host) = device;
        if host.is_dry() {
            let start = std::ptr::without_provenance_mut(host.usage().next_address(bytes));
            host.usage().add(bytes);
            return Ok(Self { device: device.clone(), base: std::ptr::null_mut(), start, bytes });
        }
        let layout = layout(bytes).ok_or_else(|| Error::Device(format!("{bytes} bytes are more than any memory holds")))?;
        // SAFETY: the layout's size is at least one alignment, never zero.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(Error::Device(format!(
                "no memory for another {} MiB; a smaller batch size or width needs less",
                bytes.div_ceil(1 << 20)
            )));
        }
        host.usage().add(bytes);
        // SAFETY: the layout has room for the shift.
        let start = unsafe { base.add(base.align_offset(ALIGNMENT)) };
        Ok(Self { device: device.clone(), base, start, bytes })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn address(&self) -> u64 {
        self.start as u64
    }

    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        self.check(offset, into.len())?;
        if self.is_dry() {
            into.fill(0);
            return Ok(());
        }
        // SAFETY: in bounds; `into` is a Rust slice and cannot overlap device memory.
        unsafe { std::ptr::copy_nonoverlapping(self.start.add(offset), into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.check(offset, from.len())?;
        if self.is_dry() {
            return Ok(());
        }
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.start.add(offset), from.len()) };
        Ok(())
    }

    pub(crate) fn copy(&self, offset: usize, source: &Self, source_offset: usize, bytes: usize) -> Result<()> {
        self.check(offset, bytes)?;
        source.check(source_offset, bytes)?;
        if self.is_dry() {
            return Ok(());
        }
        // SAFETY: both in bounds; `copy` permits overlap.
        unsafe { std::ptr::copy(source.start.add(source_offset), self.start.add(offset), bytes) };
        Ok(())
    }

    pub(crate) fn clear(&self, offset: usize, bytes: usize) -> Result<()> {
        self.check(offset, bytes)?;
        if self.is_dry() {
            return Ok(());
        }
        // SAFETY: in bounds.
        unsafe { std::ptr::write_bytes(self.start.add(offset), 0, bytes) };
        Ok(())
    }

    fn is_dry(&self) -> bool {
        self.base.is_null()
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

/// Room for `bytes` at an aligned address. The allocator itself is asked for no more than its natural alignment: only then does it hand out
/// pages that the system zeroes when they are first touched, instead of zeroing them one and all.
fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(ALIGNMENT)?, 16).ok()
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Device::Host(host) = &self.device;
        host.usage().remove(self.bytes);
        if let (false, Some(layout)) = (self.is_dry(), layout(self.bytes)) {
            // SAFETY: allocated by `new` with this very layout.
            unsafe { dealloc(self.base, layout) };
        }
    }
}
