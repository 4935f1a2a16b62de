//! How kernels access memory: what a GPU would make of it, and whether threads race. Only with the feature `access`.
//!
//! The build compiles every kernel once more, with a call at every access (`kernels/host/access.cpp`). While [`watch`] runs, kernels that a host device is
//! asked for run so, on one CPU thread, block after block, on the grid that a GPU with 132 multiprocessors would get. Every access is one of the source's:
//! `load` and `store` move packets of up to 16 bytes, as on a GPU, and each packet is one access.
//!
//! The k-th time that each lane of a warp executes an instruction, counted from its last barrier on, makes one *request*, as in a warp that does not
//! diverge. Requests are judged by [`requests`], races found by [`races`].

mod races;
mod requests;

use super::simt::{self, Grid, Schedule};
use crate::device::cuda::grid;
use crate::device::launch::{Kernel, Operand, Work};
use crate::element::NAMES;
use crate::{Error, Result};
use races::{Blocks, Races};
pub use requests::{Banks, Traffic};
use serde::Serialize;
use std::cell::RefCell;

/// Of an H100 and H200.
const MULTIPROCESSORS: usize = 132;
/// What a thread moves at most at a time.
const PACKET_BYTES: u32 = 16;
/// Warps of the largest block.
const MOST_WARPS: usize = 8;

/// What was seen of a launch.
#[derive(Clone, Debug, Serialize)]
pub struct Launch {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Its storage type.
    pub element: &'static str,
    /// Blocks of the grid.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Requests to each tensor that was accessed.
    pub tensors: Vec<Traffic>,
    /// Requests to shared memory.
    pub shared: Banks,
    /// Accesses to bytes that another thread accesses without order, one of the two writing.
    pub races: u64,
    /// A sentence about each of the first races.
    pub examples: Vec<String>,
}

impl Launch {
    /// Requests to all tensors.
    pub fn memory(&self) -> Traffic {
        self.tensors.iter().fold(Traffic::to("all"), |sum, one| sum.with(one))
    }

    /// The share of a warp's lanes that take part in a request, on average; below 1 where threads diverge, or end before others.
    pub fn active_lanes(&self) -> f64 {
        let memory = self.memory();
        (memory.lanes + self.shared.lanes) as f64 / (32 * (memory.requests + self.shared.requests)).max(1) as f64
    }
}

/// Where an access goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// The operand of that number.
    Tensor(usize),
    Shared,
}

/// An access by one thread, of at most [`PACKET_BYTES`].
#[derive(Clone, Copy, Debug)]
struct Access {
    thread: u32,
    /// How many barriers the thread's warp has passed in this block, those of the warp alone included.
    interval: u32,
    instruction: u64,
    place: Place,
    address: u64,
    bytes: u32,
    write: bool,
}

impl Access {
    fn end(&self) -> u64 {
        self.address + u64::from(self.bytes)
    }

    fn warp(&self) -> u32 {
        self.thread / 32
    }
}

/// The launch that is being watched.
struct Watched {
    launch: Launch,
    operands: Vec<Operand>,
    shared: std::ops::Range<u64>,
    block: u32,
    /// Barriers passed by each warp of the block.
    intervals: [u32; MOST_WARPS],
    /// Those of the block since its last barrier.
    accesses: Vec<Access>,
    blocks: Blocks,
}

#[derive(Default)]
struct Watcher {
    watching: bool,
    now: Option<Watched>,
    seen: Vec<Launch>,
}

thread_local! {
    static WATCHER: RefCell<Watcher> = RefCell::default();
}

/// Does `work`, and returns with its result what was seen of every kernel that it launched on a host device, in order.
///
/// # Errors
/// Those of `work`.
pub fn watch<V>(work: impl FnOnce() -> Result<V>) -> Result<(V, Vec<Launch>)> {
    let outer = WATCHER.replace(Watcher { watching: true, ..Watcher::default() });
    let done = work();
    let seen = WATCHER.replace(outer).seen;
    done.map(|value| (value, seen))
}

/// Whether launches of this thread are to be watched.
pub(in crate::device) fn is_watching() -> bool {
    WATCHER.with_borrow(|watcher| watcher.watching)
}

/// Runs and watches a kernel.
pub(in crate::device) fn launch(
    kernel: &'static Kernel,
    slot: usize,
    work: Work,
    slots: &[u64],
    operands: Vec<Operand>,
) -> Result<()> {
    let entry = kernel.watched[slot]
        .ok_or_else(|| Error::shape(kernel.name, format!("this kernel does not exist for {}; write it over `T`", NAMES[slot])))?;
    let (blocks, threads) = grid::choose(kernel, slot, work, MULTIPROCESSORS)?;
    let grid = Grid { kernel: kernel.name, entry, slots, blocks, threads, schedule: Schedule::InOrder };
    run(&grid, kernel.cooperative, NAMES[slot], operands)
}

fn run(grid: &Grid, cooperative: bool, element: &'static str, operands: Vec<Operand>) -> Result<()> {
    let launch = Launch {
        kernel: grid.kernel,
        element,
        blocks: grid.blocks,
        threads: grid.threads,
        tensors: operands.iter().map(|operand| Traffic::to(operand.name)).collect(),
        shared: Banks::default(),
        races: 0,
        examples: Vec::new(),
    };
    let blocks = Blocks::new(&operands);
    let (intervals, accesses) = ([0; MOST_WARPS], Vec::new());
    let now = Watched { launch, operands, shared: 0..0, block: 0, intervals, accesses, blocks };
    WATCHER.with_borrow_mut(|watcher| watcher.now = Some(now));
    let outcome = (0..grid.blocks).try_for_each(|block| {
        watched(|now| (now.block, now.intervals) = (block, [0; MOST_WARPS]));
        if cooperative { simt::run_cooperative(grid, block) } else { simt::run_independent(grid, block) }?;
        watched(Watched::judge);
        Ok(())
    });
    WATCHER.with_borrow_mut(|watcher| {
        let launch = watcher.now.take().map(|now| now.launch);
        watcher.seen.extend(launch.map(|mut launch| {
            launch.tensors.retain(|tensor| tensor.requests > 0);
            launch
        }));
    });
    outcome
}

fn watched(change: impl FnOnce(&mut Watched)) {
    WATCHER.with_borrow_mut(|watcher| watcher.now.as_mut().map(change));
}

/// The block that starts has its shared memory there.
pub(super) fn shared_memory(addresses: std::ops::Range<u64>) {
    watched(|now| now.shared = addresses);
}

/// All threads of the block have come to a barrier.
pub(super) fn block_barrier() {
    watched(|now| {
        now.judge();
        now.intervals.iter_mut().for_each(|interval| *interval += 1);
    });
}

/// All lanes of the warp have come to a barrier of their own.
pub(super) fn warp_barrier(warp: usize) {
    watched(|now| now.intervals[warp] += 1);
}

/// Called by `kernels/host/access.cpp`.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
extern "C" fn rocl_access(thread: u32, address: u64, bytes: u32, write: u32, instruction: u64) {
    watched(|now| now.note(thread, address, bytes, write != 0, instruction));
}

impl Watched {
    /// Accesses to what is neither a tensor nor shared memory are to the thread's own stack and coordinates.
    fn note(&mut self, thread: u32, address: u64, bytes: u32, write: bool, instruction: u64) {
        let tensor = || self.operands.iter().position(|operand| (operand.begin..operand.end).contains(&address));
        let place = if self.shared.contains(&address) { Some(Place::Shared) } else { tensor().map(Place::Tensor) };
        let Some(place) = place else { return };
        let interval = self.intervals[thread as usize / 32];
        for offset in (0..bytes).step_by(PACKET_BYTES as usize) {
            let (address, bytes) = (address + u64::from(offset), (bytes - offset).min(PACKET_BYTES));
            self.accesses.push(Access { thread, interval, instruction, place, address, bytes, write });
        }
    }

    /// Judges what the block has accessed since its last barrier.
    fn judge(&mut self) {
        let Self { launch, operands, shared, block, accesses, blocks, .. } = self;
        accesses.sort_by_key(|a| (a.warp(), a.interval, a.instruction, a.place, a.thread));
        requests::count(accesses, |place, lanes| match place {
            Place::Tensor(number) => launch.tensors[number].add(lanes),
            Place::Shared => launch.shared.add(lanes),
        });
        let mut races = Races { operands, shared: shared.start, block: *block, launch };
        races.between_threads(accesses);
        races.between_blocks(accesses, blocks);
        accesses.clear();
    }
}

#[cfg(test)]
mod tests;
