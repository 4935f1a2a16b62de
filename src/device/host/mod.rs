//! The host device: CUDA kernels on CPU threads; convolution and matrix product in plain Rust.

#[cfg(feature = "access")]
pub mod access;
pub mod conv;

mod convert;
mod free_memory;
mod isa;
mod kernel;
mod memory;
mod scratch;
mod simd;
mod simt;
mod stacks;
mod transpose;

use super::launch::{Kernel, Work, check_work, to_u32};
use super::memory::Usage;
use crate::element::NAMES;
use crate::{Error, Result};
pub(super) use free_memory::free_memory;
pub use kernel::Kernels;
pub(super) use memory::HostMemory;
use rayon::prelude::*;
pub use simt::Schedule;

/// How a launch's logical shape is mapped to blocks and threads on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Geometry {
    /// One thread a block, each with a contiguous range: fast.
    #[default]
    Ranges,
    /// Many threads a block and grid-stride loops over 16-byte vectors, as on a GPU: for tests.
    Gpu,
}

/// What a host device can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct HostOptions {
    /// CPU threads; 0 means all.
    pub threads: usize,
    /// See [`Geometry`].
    pub geometry: Geometry,
    /// The order in which the threads of a block run.
    pub schedule: Schedule,
    /// Whether what follows a convolution's sum is applied while the sums are in cache. Without, it runs as kernels, as on a device whose
    /// library lacks an epilogue: for tests.
    pub fused_epilogues: bool,
    /// Whether convolutions and matrix products run as the portable kernels of `conv_direct.cu`: slow, for finding faults.
    pub direct_convolution: bool,
    /// Whether 32-bit work counts as `tf32`, which is computed like `fp32` here.
    pub tf32: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            geometry: Geometry::default(),
            schedule: Schedule::default(),
            fused_epilogues: true,
            direct_convolution: false,
            tf32: false,
        }
    }
}

/// The CPU as a device.
pub struct Host {
    options: HostOptions,
    pool: rayon::ThreadPool,
    usage: Usage,
}

/// A host block covers at least this many elements, some 5 µs of plain work: a hand-over to another core costs 12 µs.
const ELEMENTS_PER_BLOCK: usize = 64 * 1024;
/// Blocks a launch is cut into at most: enough to balance any number of cores, few enough to cost nothing.
const MOST_BLOCKS: usize = 256;

impl Host {
    pub(super) fn new(options: HostOptions) -> Result<Self> {
        #[cfg(target_arch = "x86_64")]
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
            return Err(Error::Device(
                "this CPU lacks AVX2 and FMA, which the kernels are compiled for; run on a machine from 2013 or later".to_owned(),
            ));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|i| format!("rocl-{i}"))
            .build()
            .map_err(|e| Error::Device(format!("cannot start CPU threads: {e}; try a smaller --threads")))?;
        Ok(Self { options, pool, usage: Usage::default() })
    }

    /// CPU threads.
    pub(super) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    pub(super) fn description(&self) -> String {
        match self.threads() {
            1 => "CPU, 1 thread".to_owned(),
            threads => format!("CPU, {threads} threads"),
        }
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn options(&self) -> &HostOptions {
        &self.options
    }

    /// Runs a task on the device's own threads.
    pub(crate) fn install<R: Send>(&self, task: impl FnOnce() -> R + Send) -> R {
        scratch::carry(&self.pool, task)
    }

    pub(super) fn launch(&self, kernel: &'static Kernel, slot: usize, work: Work, slots: &[u64]) -> Result<()> {
        let (blocks, threads) = self.grid(kernel, work)?;
        let schedule = self.options.schedule;
        // SAFETY: the kernel's generated launch function made the slots from its signature, and `ops` vouches for the extents.
        let run = || unsafe { run_grid(kernel, slot, blocks, threads, slots, schedule) };
        // One block runs here and now: handing it over to a thread of the pool costs more than most such launches.
        if blocks <= 1 { run() } else { self.install(run) }
    }

    fn grid(&self, kernel: &Kernel, work: Work) -> Result<(u32, u32)> {
        check_work(kernel, work)?;
        let (rows, elements) = match work {
            Work::Items(n, elements) => (n, n * elements.max(1)),
            Work::Elements(n) => (n, n),
            Work::RowsChannels(rows, channels) => (rows, rows * channels),
            Work::ItemsChannels(items, channels, elements) => (items, items * channels * elements),
            Work::Blocks(blocks, threads) => return Ok((to_u32(kernel, blocks)?, to_u32(kernel, threads)?)),
        };
        let blocks = match self.options.geometry {
            Geometry::Ranges => elements.div_ceil(ELEMENTS_PER_BLOCK).min(rows).min(MOST_BLOCKS),
            // Small on purpose: several trips round the grid-stride loop.
            Geometry::Gpu => elements.div_ceil(64).min(5),
        };
        let threads = match self.options.geometry {
            Geometry::Ranges => 1,
            Geometry::Gpu => 64,
        };
        Ok((to_u32(kernel, blocks)?, threads))
    }
}

/// The widest vector instructions that are used on this machine, by name.
pub fn instructions() -> &'static str {
    isa::Isa::widest().name()
}

/// Runs a kernel on exactly this grid, its blocks in parallel on the current thread pool.
///
/// # Safety
/// `slots` holds an argument for each of the kernel's parameters, and what its pointers point to has the extents that the others state.
#[doc(hidden)]
pub unsafe fn run_grid(
    kernel: &'static Kernel,
    slot: usize,
    blocks: u32,
    threads: u32,
    slots: &[u64],
    schedule: Schedule,
) -> Result<()> {
    let entry = kernel.host[slot]
        .ok_or_else(|| Error::shape(kernel.name, format!("this kernel does not exist for {}; write it over `T`", NAMES[slot])))?;
    let grid = simt::Grid { kernel: kernel.name, entry, slots, blocks, threads, schedule };
    let run = |block: u32| {
        if kernel.cooperative { simt::run_cooperative(&grid, block) } else { simt::run_independent(&grid, block) }
    };
    match blocks {
        0 => Ok(()),
        1 => run(0),
        _ => (0..blocks).into_par_iter().try_for_each(run),
    }
}
