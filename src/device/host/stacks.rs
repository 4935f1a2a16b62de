//! Coroutine stacks: one mapping per worker, cut into equal slots.
//!
//! One mapping with a guard page at its low end, not two mappings per stack: with 256 threads a block, the latter runs into the
//! kernel's limit on mappings on machines with many cores. Between slots, a word at the low end of each tells of an overflow.

use crate::{Error, Result};
use corosensei::stack::{Stack, StackPointer};
use std::num::NonZeroUsize;

/// Kernels keep their arrays in shared memory and registers; signal handlers, which run on whatever stack is current, fit too.
const STACK_BYTES: usize = 64 * 1024;
const GUARD_BYTES: usize = 4096;
const CANARY: u64 = 0x726f_636c_5349_4d54;

/// The stacks of one worker.
pub(super) struct Stacks {
    mapping: *mut u8,
    count: usize,
}

impl Stacks {
    pub(super) fn new(count: usize) -> Result<Self> {
        let bytes = GUARD_BYTES + count * STACK_BYTES;
        // SAFETY: a fresh private mapping; pages take memory only when touched.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(Error::Device(
                "no memory for the stacks of kernel threads; free some memory or use fewer --threads".to_owned(),
            ));
        }
        let stacks = Self { mapping: mapping.cast(), count };
        // SAFETY: inside the mapping.
        unsafe { libc::mprotect(mapping, GUARD_BYTES, libc::PROT_NONE) };
        for slot in 0..count {
            // SAFETY: the low end of a slot, inside the mapping and aligned.
            unsafe { stacks.low_end(slot).cast::<u64>().write(CANARY) };
        }
        Ok(stacks)
    }

    fn low_end(&self, slot: usize) -> *mut u8 {
        // SAFETY: slots lie inside the mapping.
        unsafe { self.mapping.add(GUARD_BYTES + slot * STACK_BYTES) }
    }

    /// The stack of one CUDA thread. The caller uses a slot for one coroutine at a time, and drops it before the stacks.
    pub(super) fn slot(&self, slot: usize) -> StackSlot {
        assert!(slot < self.count, "a block has at most {} threads", self.count);
        StackSlot { low: self.low_end(slot) as usize }
    }

    /// Whether no coroutine on the first `used` stacks wrote past the end of its own.
    pub(super) fn intact(&self, used: usize) -> bool {
        // SAFETY: as in `new`.
        (0..used.min(self.count)).all(|slot| unsafe { self.low_end(slot).cast::<u64>().read() } == CANARY)
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `new`.
        unsafe { libc::munmap(self.mapping.cast(), GUARD_BYTES + self.count * STACK_BYTES) };
    }
}

/// A slot, as corosensei wants to see it.
pub(super) struct StackSlot {
    low: usize,
}

// SAFETY: base and limit are 16-byte aligned addresses inside the worker's mapping, which outlives the coroutine.
unsafe impl Stack for StackSlot {
    fn base(&self) -> StackPointer {
        NonZeroUsize::new(self.low + STACK_BYTES).unwrap_or(NonZeroUsize::MIN)
    }

    fn limit(&self) -> StackPointer {
        NonZeroUsize::new(self.low + 64).unwrap_or(NonZeroUsize::MIN)
    }
}
