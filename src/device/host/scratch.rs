//! Working memory that threads keep between calls.
//!
//! A fresh allocation of a few megabytes costs a page fault per 4 KiB, which is more than packing a filter into it.

use std::cell::Cell;

use bytemuck::{Pod, Zeroable};

/// One cache line; buffers are made of them so that vector loads never straddle two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A buffer that grows and never shrinks.
#[derive(Default)]
pub(super) struct Scratch(Vec<Line>);

impl Scratch {
    /// The first `len` numbers, with whatever an earlier use has left in them.
    pub(super) fn slice<R: Pod>(&mut self, len: usize) -> &mut [R] {
        let lines = (len * size_of::<R>()).div_ceil(size_of::<Line>());
        if self.0.len() < lines {
            self.0.resize(lines, Line::zeroed());
        }
        &mut bytemuck::cast_slice_mut(&mut self.0[..lines])[..len]
    }
}

thread_local! {
    static CALL: Cell<Scratch> = const { Cell::new(Scratch(Vec::new())) };
    static TASK: Cell<Scratch> = const { Cell::new(Scratch(Vec::new())) };
}

/// Bytes of working memory, so much as a piece of work takes at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::device) struct ScratchBytes {
    /// [For the call](for_call).
    pub call: usize,
    /// [For a task](for_task), of which each thread runs one.
    pub task: usize,
}

impl ScratchBytes {
    /// As many numbers.
    pub fn of<R>(call: usize, task: usize) -> Self {
        Self { call: call * size_of::<R>(), task: task * size_of::<R>() }
    }

    /// Of two pieces of work, one after the other.
    pub fn max(self, other: Self) -> Self {
        Self { call: self.call.max(other.call), task: self.task.max(other.task) }
    }
}

/// Does `task` on a pool, which gets this thread's buffer for calls: a device has one such buffer, not one for each thread that a call
/// ever lands on.
pub(super) fn carry<O: Send>(pool: &rayon::ThreadPool, task: impl FnOnce() -> O + Send) -> O {
    let carried = CALL.take();
    let (output, carried) = pool.install(|| {
        let own = CALL.replace(carried);
        let output = task();
        (output, CALL.replace(own))
    });
    CALL.set(carried);
    output
}

/// Lends `body` the buffer of the thread that makes a call, for what all its tasks read.
///
/// The buffer is taken out meanwhile, so a thread that picks up another call while it waits gets one of its own.
pub(super) fn for_call<O>(body: impl FnOnce(&mut Scratch) -> O) -> O {
    let mut scratch = CALL.take();
    let output = body(&mut scratch);
    CALL.set(scratch);
    output
}

/// Lends `body` the buffer of the thread that runs a task.
pub(super) fn for_task<O>(body: impl FnOnce(&mut Scratch) -> O) -> O {
    let mut scratch = TASK.take();
    let output = body(&mut scratch);
    TASK.set(scratch);
    output
}

/// `len` rounded up so that what follows in the same buffer starts on a cache line.
pub(super) fn aligned<R>(len: usize) -> usize {
    len.next_multiple_of(size_of::<Line>() / size_of::<R>())
}
