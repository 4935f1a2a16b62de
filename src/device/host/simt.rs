//! The SIMT scheduler: runs the CUDA threads of a block on one CPU thread.
//!
//! A kernel whose threads are independent is a plain loop. In a cooperative kernel every CUDA thread is a stackful coroutine that
//! suspends at barriers, shuffles and votes; the scheduler knows warps, so a warp may synchronise alone. What a GPU would leave undefined
//! is reported with kernel, block and threads: a barrier that some threads never reach, warp operations that diverge or name part of a
//! warp, synchronisation in a kernel not declared cooperative. Threads can be run in shuffled order, which must not change a bit of any result.

#[cfg(feature = "access")]
use super::access;
use super::stacks::{StackSlot, Stacks};
use crate::device::launch::HostEntry;
use crate::{Error, Result};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::RefCell;
use std::convert::Infallible;
use std::ffi::c_void;

/// The order in which the warps of a block, and the threads of a warp, run between two synchronisations.
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
    suspend: Option<extern "C" fn(*mut SimtState, Suspension)>,
    violation: u32,
}

unsafe extern "C" {
    /// This CPU thread's state.
    fn rocl_simt_state() -> *mut SimtState;
}

/// Why a CUDA thread is suspended: the numbers of `RoclSuspend`, and one more for a thread that has left the kernel.
type Suspension = u32;
const FINISHED: Suspension = 0;
const BLOCK_BARRIER: Suspension = 1;
#[cfg(feature = "access")]
const WARP_BARRIER: Suspension = 2;

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
extern "C" fn suspend(state: *mut SimtState, kind: Suspension) {
    // SAFETY: `yielder` was set by this coroutine when it started, and lives as long as it runs.
    unsafe {
        let thread = (*state).thread as usize;
        let yielder = (*(*state).threads.add(thread)).yielder as *const ThreadYielder;
        (*yielder).suspend(kind);
    }
}

/// A CUDA thread, of one block after the other: resumed with a grid, it runs the kernel and comes back as `FINISHED`. Making a coroutine
/// costs more than switching to it.
type Thread = Coroutine<*const Grid<'static>, Suspension, Infallible, StackSlot>;
type ThreadYielder = Yielder<*const Grid<'static>, Suspension>;

/// What one CPU thread keeps between blocks.
struct Worker {
    stacks: Stacks,
    coroutines: Vec<Thread>,
    threads: Vec<ThreadState>,
    suspensions: Vec<Suspension>,
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
            coroutines: Vec::with_capacity(MOST_THREADS),
            threads: vec![ThreadState { yielder: std::ptr::null(), shared_used: 0, exchanges: 0 }; MOST_THREADS],
            suspensions: vec![FINISHED; MOST_THREADS],
            slots: vec![0; MOST_THREADS / WARP * 2 * WARP],
            shared: vec![0; SHARED_BYTES / 8],
        })
    }

    /// Sees to it that there are at least `count` coroutines.
    fn start_threads(&mut self, count: usize) {
        let states = self.threads.as_mut_ptr() as usize;
        for thread in self.coroutines.len()..count {
            let body = move |yielder: &ThreadYielder, mut grid: *const Grid<'static>| {
                loop {
                    // SAFETY: the grid, its slots and the thread's state outlive the block; only this coroutine writes its state.
                    unsafe {
                        (*(states as *mut ThreadState).add(thread)).yielder = std::ptr::from_ref(yielder).cast();
                        ((*grid).entry)((*grid).slots.as_ptr());
                    }
                    grid = yielder.suspend(FINISHED);
                }
            };
            self.coroutines.push(Coroutine::with_stack(self.stacks.slot(thread), body));
        }
    }

    /// Gives up all coroutines, wherever they are suspended.
    fn abandon_threads(&mut self) {
        for mut thread in self.coroutines.drain(..) {
            // SAFETY: kernel code has no destructors, and neither has the loop around it.
            unsafe { thread.force_reset() };
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.abandon_threads();
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
            None => Err(Error::Device("the worker's stacks are gone; please report it".to_owned())),
        }
    })
}

fn run_block(grid: &Grid, block: u32, worker: &mut Worker) -> Result<()> {
    let count = grid.threads as usize;
    if grid.schedule != Schedule::InOrder {
        // All ones is a NaN: whatever reads shared memory before writing it shows.
        worker.shared.fill(u64::MAX);
    }
    worker.threads[..count].fill(ThreadState { yielder: std::ptr::null(), shared_used: 0, exchanges: 0 });
    worker.start_threads(count);
    // SAFETY: no more than a thread-local address.
    let state = unsafe { rocl_simt_state() };
    // SAFETY: the state belongs to this CPU thread, and the worker's buffers outlive the block.
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
    #[cfg(feature = "access")]
    access::shared_memory({
        let addresses = worker.shared.as_ptr_range();
        addresses.start as u64..addresses.end as u64
    });
    let outcome = schedule(grid, block, state, &mut worker.coroutines[..count], &mut worker.suspensions[..count]);
    if outcome.is_ok() && worker.stacks.intact(count) {
        return Ok(());
    }
    worker.abandon_threads();
    outcome.and(Err(violation(grid, block, 0, "a thread overflowed its stack")))
}

/// Runs one warp at a time. A warp goes on as long as its lanes wait at the same warp operation; when none can, all threads must have left
/// the kernel, or wait at a block barrier, which lets all of them go on.
fn schedule(
    grid: &Grid,
    block: u32,
    state: *mut SimtState,
    threads: &mut [Thread],
    suspensions: &mut [Suspension],
) -> Result<()> {
    let all_warps = (1u32 << (threads.len() / WARP)) - 1;
    let mut lanes: [usize; WARP] = std::array::from_fn(|lane| lane);
    let mut shuffle = Shuffle::new(grid.schedule, block);
    loop {
        let mut ready = all_warps;
        while ready != 0 {
            let warp = shuffle.pick(ready);
            shuffle.apply(&mut lanes);
            for thread in lanes.map(|lane| warp * WARP + lane) {
                // SAFETY: this CPU thread's own state; the coroutine reads its coordinates from there.
                unsafe { (*state).thread = thread as u32 };
                suspensions[thread] = match threads[thread].resume(std::ptr::from_ref(grid).cast()) {
                    CoroutineResult::Yield(suspension) => suspension,
                    CoroutineResult::Return(never) => match never {},
                };
                // SAFETY: as above.
                let code = unsafe { (*state).violation };
                if code != 0 {
                    return Err(violation(grid, block, thread as u32, violation_text(code)));
                }
            }
            let lanes = &suspensions[warp * WARP..][..WARP];
            let at_warp_operation = lanes[0] != FINISHED && lanes[0] != BLOCK_BARRIER && lanes.iter().all(|&s| s == lanes[0]);
            if !at_warp_operation {
                ready &= !(1 << warp);
            }
            #[cfg(feature = "access")]
            if at_warp_operation && lanes[0] == WARP_BARRIER {
                access::warp_barrier(warp);
            }
        }
        if suspensions.iter().all(|&s| s == FINISHED) {
            return Ok(());
        }
        if !suspensions.iter().all(|&s| s == BLOCK_BARRIER) {
            return Err(divergence(grid, block, suspensions));
        }
        #[cfg(feature = "access")]
        access::block_barrier();
    }
}

fn divergence(grid: &Grid, block: u32, suspensions: &[Suspension]) -> Error {
    let texts = [(1, "at __syncthreads"), (2, "at __syncwarp"), (3, "at a shuffle"), (4, "at a vote"), (FINISHED, "finished")];
    let parts = texts.map(|(wanted, text)| (ranges(suspensions, wanted), text));
    let list: Vec<String> = parts.iter().filter(|(r, _)| !r.is_empty()).map(|(r, text)| format!("threads {r} {text}")).collect();
    Error::Device(format!("kernel {}, block {block}: threads diverged at a synchronisation: {}", grid.kernel, list.join(", ")))
}

/// "0-30, 32" for the threads suspended so.
fn ranges(suspensions: &[Suspension], wanted: Suspension) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for thread in (0..suspensions.len()).filter(|&t| suspensions[t] == wanted) {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == thread => *last = thread,
            _ => parts.push((thread, thread)),
        }
    }
    let texts: Vec<String> = parts.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    texts.join(", ")
}

/// A small generator for the order of warps and lanes; its quality does not matter, its reproducibility does.
struct Shuffle(Option<u64>);

impl Shuffle {
    fn new(schedule: Schedule, block: u32) -> Self {
        Self(match schedule {
            Schedule::InOrder => None,
            Schedule::Shuffled(seed) => Some((seed ^ (u64::from(block) << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        })
    }

    /// One of the warps whose bits are set.
    fn pick(&mut self, mut ready: u32) -> usize {
        if let Some(state) = &mut self.0 {
            for _ in 0..step(state) % u64::from(ready.count_ones()) {
                ready &= ready - 1;
            }
        }
        ready.trailing_zeros() as usize
    }

    fn apply(&mut self, lanes: &mut [usize]) {
        let Some(state) = &mut self.0 else { return };
        for i in (1..lanes.len()).rev() {
            lanes.swap(i, (step(state) % (i as u64 + 1)) as usize);
        }
    }
}

/// Xorshift (Marsaglia 2003).
fn step(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[cfg(test)]
mod tests;
