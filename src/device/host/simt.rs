//! The SIMT scheduler: runs the CUDA threads of a block on one CPU thread.
//!
//! A kernel whose threads are independent is a plain loop. In a cooperative kernel every CUDA thread is a stackful coroutine that
//! suspends at barriers, shuffles and votes; the scheduler knows warps, so a warp may synchronise alone. What a GPU would leave undefined
//! is reported with kernel, block and threads: a barrier that some threads never reach, warp operations that diverge or name part of a
//! warp, synchronisation in a kernel not declared cooperative. Threads can be run in shuffled order, which must not change a bit of any result.

use super::stacks::{StackSlot, Stacks};
use crate::device::launch::HostEntry;
use crate::{Error, Result};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::RefCell;
use std::ffi::c_void;

/// The order in which the threads of a block run between two synchronisations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// By thread index.
    #[default]
    InOrder,
    /// A different order in every round, drawn from this seed; shared memory starts as NaN instead of what the last block left.
    Shuffled(u64),
}

/// A launch on the host.
pub(super) struct Grid<'a> {
    pub kernel: &'static str,
    pub entry: HostEntry,
    pub slots: &'a [u64],
    pub blocks: u32,
    pub threads: u32,
    pub schedule: Schedule,
}

const WARP: usize = 32;
const MOST_THREADS: usize = 256;
/// As much as every supported GPU grants without asking.
const SHARED_BYTES: usize = 48 * 1024;

/// `RoclThread` of `kernels/host/simt.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct ThreadState {
    yielder: *const c_void,
    shared_used: u32,
    exchanges: u32,
}

/// `RoclSimt` of `kernels/host/simt.h`.
#[repr(C)]
struct SimtState {
    thread: u32,
    block: u32,
    block_dim: u32,
    grid_dim: u32,
    threads: *mut ThreadState,
    slots: *mut u64,
    shared: *mut u8,
    shared_size: u64,
    suspend: Option<extern "C" fn(*mut SimtState, u32)>,
    violation: u32,
}

unsafe extern "C" {
    /// This CPU thread's state.
    fn rocl_simt_state() -> *mut SimtState;
}

/// Why a coroutine is suspended; the numbers of `RoclSuspend`.
const BLOCK_BARRIER: u32 = 1;

fn violation_text(code: u32) -> &'static str {
    match code {
        1 => "it synchronises threads but is not declared COOPERATIVE_KERNEL",
        2 => "a warp operation names only part of the warp; the full mask is required",
        3 => "it declares more than 48 KiB of shared memory",
        _ => "it broke a rule of the SIMT model",
    }
}

/// Runs one block of a kernel whose threads are independent.
pub(super) fn run_independent(grid: &Grid, block: u32) -> Result<()> {
    // SAFETY: the state belongs to this CPU thread; the entry was generated for exactly these slots, and `ops` vouches for the extents.
    unsafe {
        let state = rocl_simt_state();
        (*state).block = block;
        (*state).block_dim = grid.threads;
        (*state).grid_dim = grid.blocks;
        (*state).suspend = None;
        (*state).violation = 0;
        for thread in 0..grid.threads {
            (*state).thread = thread;
            (grid.entry)(grid.slots.as_ptr());
            if (*state).violation != 0 {
                return Err(violation(grid, block, thread, violation_text((*state).violation)));
            }
        }
    }
    Ok(())
}

fn violation(grid: &Grid, block: u32, thread: u32, what: &str) -> Error {
    Error::Device(format!("kernel {}, block {block}, thread {thread}: {what}", grid.kernel))
}

/// Called by a barrier or shuffle in kernel code, on the coroutine's stack.
extern "C" fn suspend(state: *mut SimtState, kind: u32) {
    // SAFETY: `yielder` was set by this coroutine when it started, and lives as long as it runs.
    unsafe {
        let thread = (*state).thread as usize;
        let yielder = (*(*state).threads.add(thread)).yielder as *const Yielder<(), u32>;
        (*yielder).suspend(kind);
    }
}

/// What one CPU thread keeps between blocks.
struct Worker {
    stacks: Stacks,
    threads: Vec<ThreadState>,
    slots: Vec<u64>,
    shared: Vec<u64>,
}

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

impl Worker {
    fn new() -> Result<Self> {
        Ok(Self {
            stacks: Stacks::new(MOST_THREADS)?,
            threads: vec![ThreadState { yielder: std::ptr::null(), shared_used: 0, exchanges: 0 }; MOST_THREADS],
            slots: vec![0; MOST_THREADS / WARP * 2 * WARP],
            shared: vec![0; SHARED_BYTES / 8],
        })
    }
}

/// Runs one block of a cooperative kernel.
pub(super) fn run_cooperative(grid: &Grid, block: u32) -> Result<()> {
    WORKER.with(|cell| {
        let mut worker = cell.borrow_mut();
        if worker.is_none() {
            *worker = Some(Worker::new()?);
        }
        match worker.as_mut() {
            Some(worker) => run_block(grid, block, worker),
            None => Err(Error::Device("the worker's stacks are gone".to_owned())),
        }
    })
}

type Thread = Coroutine<(), u32, (), StackSlot>;

/// A CUDA thread of the running block.
enum Status {
    Runnable,
    Waiting(u32),
    Finished,
}

fn run_block(grid: &Grid, block: u32, worker: &mut Worker) -> Result<()> {
    let count = grid.threads as usize;
    if grid.schedule != Schedule::InOrder {
        // All ones is a NaN: whatever reads shared memory before writing it shows.
        worker.shared.fill(u64::MAX);
    }
    worker.threads[..count].fill(ThreadState { yielder: std::ptr::null(), shared_used: 0, exchanges: 0 });
    // SAFETY: the state belongs to this CPU thread, and the worker's buffers outlive the block.
    let state = unsafe { rocl_simt_state() };
    unsafe {
        (*state).block = block;
        (*state).block_dim = grid.threads;
        (*state).grid_dim = grid.blocks;
        (*state).threads = worker.threads.as_mut_ptr();
        (*state).slots = worker.slots.as_mut_ptr();
        (*state).shared = worker.shared.as_mut_ptr().cast();
        (*state).shared_size = SHARED_BYTES as u64;
        (*state).suspend = Some(suspend);
        (*state).violation = 0;
    }
    let (entry, slots) = (grid.entry, grid.slots.as_ptr() as usize);
    let mut threads: Vec<Thread> = (0..count)
        .map(|thread| {
            let states = worker.threads.as_mut_ptr() as usize;
            Coroutine::with_stack(worker.stacks.slot(thread), move |yielder: &Yielder<(), u32>, ()| {
                // SAFETY: the entry's slots and the thread's state outlive the block; only this coroutine writes its state.
                unsafe {
                    (*(states as *mut ThreadState).add(thread)).yielder = std::ptr::from_ref(yielder).cast();
                    entry(slots as *const u64);
                }
            })
        })
        .collect();
    let outcome = schedule(grid, block, state, &mut threads);
    for thread in &mut threads {
        // After an error: unwinding through kernel frames is not possible, and they own nothing that must be dropped.
        if !thread.done() {
            // SAFETY: kernel code has no destructors.
            unsafe { thread.force_reset() };
        }
    }
    drop(threads);
    if outcome.is_ok() && !worker.stacks.intact(count) {
        return Err(violation(grid, block, 0, "a thread overflowed its stack"));
    }
    outcome
}

fn schedule(grid: &Grid, block: u32, state: *mut SimtState, threads: &mut [Thread]) -> Result<()> {
    let count = threads.len();
    let mut status: Vec<Status> = (0..count).map(|_| Status::Runnable).collect();
    let mut order: Vec<usize> = (0..count).collect();
    let mut shuffle = Shuffle::new(grid.schedule, block);
    loop {
        shuffle.apply(&mut order);
        for &thread in &order {
            if !matches!(status[thread], Status::Runnable) {
                continue;
            }
            // SAFETY: this CPU thread's own state; the coroutine reads its coordinates from there.
            unsafe { (*state).thread = thread as u32 };
            status[thread] = match threads[thread].resume(()) {
                CoroutineResult::Yield(kind) => Status::Waiting(kind),
                CoroutineResult::Return(()) => Status::Finished,
            };
            // SAFETY: as above.
            let code = unsafe { (*state).violation };
            if code != 0 {
                return Err(violation(grid, block, thread as u32, violation_text(code)));
            }
        }
        if status.iter().all(|s| matches!(s, Status::Finished)) {
            return Ok(());
        }
        if !release(&mut status) {
            return Err(divergence(grid, block, &status));
        }
    }
}

/// Lets go of every warp whose lanes all wait at the same warp operation; failing any, of the block when all wait at a block barrier.
fn release(status: &mut [Status]) -> bool {
    let mut released = false;
    for warp in status.chunks_mut(WARP) {
        let Status::Waiting(kind) = warp[0] else { continue };
        if kind != BLOCK_BARRIER && warp.iter().all(|s| matches!(s, Status::Waiting(k) if *k == kind)) {
            warp.iter_mut().for_each(|s| *s = Status::Runnable);
            released = true;
        }
    }
    if !released && status.iter().all(|s| matches!(s, Status::Waiting(BLOCK_BARRIER))) {
        status.iter_mut().for_each(|s| *s = Status::Runnable);
        released = true;
    }
    released
}

fn divergence(grid: &Grid, block: u32, status: &[Status]) -> Error {
    let mut parts = Vec::new();
    for (wanted, text) in [(1, "at __syncthreads"), (2, "at __syncwarp"), (3, "at a shuffle"), (4, "at a vote")] {
        parts.push((ranges(status, |s| matches!(s, Status::Waiting(k) if *k == wanted)), text));
    }
    parts.push((ranges(status, |s| matches!(s, Status::Finished)), "finished"));
    let list: Vec<String> =
        parts.into_iter().filter(|(r, _)| !r.is_empty()).map(|(r, text)| format!("threads {r} {text}")).collect();
    Error::Device(format!("kernel {}, block {block}: threads diverged at a synchronisation: {}", grid.kernel, list.join(", ")))
}

/// "0-30, 32" for the threads that satisfy `which`.
fn ranges(status: &[Status], which: impl Fn(&Status) -> bool) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for thread in (0..status.len()).filter(|&t| which(&status[t])) {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == thread => *last = thread,
            _ => parts.push((thread, thread)),
        }
    }
    let texts: Vec<String> = parts.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    texts.join(", ")
}

/// A small generator for thread orders; its quality does not matter, its reproducibility does.
struct Shuffle(Option<u64>);

impl Shuffle {
    fn new(schedule: Schedule, block: u32) -> Self {
        Self(match schedule {
            Schedule::InOrder => None,
            Schedule::Shuffled(seed) => Some((seed ^ (u64::from(block) << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        })
    }

    fn apply(&mut self, order: &mut [usize]) {
        let Some(state) = &mut self.0 else { return };
        for i in (1..order.len()).rev() {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            order.swap(i, (*state % (i as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests;
