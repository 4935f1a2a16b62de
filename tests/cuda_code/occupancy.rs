//! How many of a kernel's threads a multiprocessor holds at a time, from what the compiler says that each needs.

use super::disassembly::{SYSTEM_SHARED_BYTES, Usage};

/// What a multiprocessor has (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
pub struct Multiprocessor {
    pub architecture: u32,
    shared_bytes: u32,
    /// What has to be under way for it to get its share of the memory's bandwidth: that share times a latency of about 0.7 µs.
    pub bytes_under_way: u32,
}

/// Those of an A100 (108 share 2.0 TB/s) and an H200 (132 share 4.3 TB/s). In all that is not a field they are alike.
pub const MULTIPROCESSORS: [Multiprocessor; 2] = [
    Multiprocessor { architecture: 80, shared_bytes: 164 << 10, bytes_under_way: 13_000 },
    Multiprocessor { architecture: 90, shared_bytes: 228 << 10, bytes_under_way: 22_800 },
];

const WARPS: u32 = 64;
const BLOCKS: u32 = 32;
const REGISTERS: u32 = 64 << 10;
/// Registers are given to warps in units, in each of the multiprocessor's quarters by itself.
const QUARTERS: u32 = 4;
const REGISTER_UNIT: u32 = 256;
/// Shared memory is given to blocks in units.
const SHARED_UNIT: u32 = 128;

impl Multiprocessor {
    /// Blocks of that many threads that it holds at a time.
    pub fn blocks(&self, usage: &Usage, threads: u32) -> u32 {
        let warps = threads.div_ceil(32);
        let registers_of_warp = (usage.registers * 32).next_multiple_of(REGISTER_UNIT);
        let by_registers = REGISTERS / QUARTERS / registers_of_warp * QUARTERS / warps;
        let by_shared = self.shared_bytes / (usage.shared + SYSTEM_SHARED_BYTES).next_multiple_of(SHARED_UNIT);
        BLOCKS.min(WARPS / warps).min(by_registers).min(by_shared)
    }

    /// The share of its warps that those blocks are, in percent.
    pub fn occupancy(&self, usage: &Usage, threads: u32) -> u32 {
        100 * self.blocks(usage, threads) * threads.div_ceil(32) / WARPS
    }
}

/// What NVIDIA's occupancy calculator says.
#[test]
fn occupancy_is_what_the_calculator_says() {
    let [a100, h100] = &MULTIPROCESSORS;
    let usage = |registers, shared| Usage { architecture: 0, function: String::new(), registers, stack: 0, local: 0, shared };
    for (registers, shared, threads, on_a100, on_h100) in [
        (32, 0, 256, 100, 100),
        (33, 0, 256, 75, 75),
        (64, 0, 256, 50, 50),
        (65, 0, 256, 37, 37),
        (128, 0, 256, 25, 25),
        (255, 0, 256, 12, 12),
        (16, 0, 32, 50, 50),
        (40, 0, 96, 75, 75),
        (32, 48 << 10, 128, 18, 25),
        (32, 16 << 10, 256, 100, 100),
        (32, 20 << 10, 256, 87, 100),
    ] {
        let found = [a100, h100].map(|card| card.occupancy(&usage(registers, shared), threads));
        assert_eq!(found, [on_a100, on_h100], "{registers} registers, {shared} bytes, {threads} threads");
    }
}
