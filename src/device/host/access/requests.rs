//! Requests: what the lanes of a warp ask of memory by one instruction.

use super::{Access, Place};
use serde::Serialize;

/// What memory is moved in.
const SECTOR_BYTES: u64 = 32;
/// Shared memory lies in banks of words, of which each serves one word at a time.
const BANKS: usize = 32;
const WORD_BYTES: u64 = 4;

/// Requests to a tensor.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Traffic {
    /// The kernel's argument.
    pub tensor: &'static str,
    /// Requests of warps.
    pub requests: u64,
    /// Sectors of 32 bytes that they touch, each request by itself.
    pub sectors: u64,
    /// Sectors that would hold the bytes they ask for.
    pub least_sectors: u64,
    /// Lanes that take part, of 32 in each.
    pub lanes: u64,
}

impl Traffic {
    pub(super) fn to(tensor: &'static str) -> Self {
        Self { tensor, requests: 0, sectors: 0, least_sectors: 0, lanes: 0 }
    }

    /// The sum of two, with the first one's name.
    pub fn with(self, other: &Self) -> Self {
        Self {
            tensor: self.tensor,
            requests: self.requests + other.requests,
            sectors: self.sectors + other.sectors,
            least_sectors: self.least_sectors + other.least_sectors,
            lanes: self.lanes + other.lanes,
        }
    }

    pub(super) fn add(&mut self, lanes: &[Access]) {
        self.requests += 1;
        self.lanes += lanes.len() as u64;
        let sectors = lanes.iter().map(|lane| (lane.address / SECTOR_BYTES, lane.end().div_ceil(SECTOR_BYTES)));
        self.sectors += covered(sectors);
        self.least_sectors += covered(lanes.iter().map(|lane| (lane.address, lane.end()))).div_ceil(SECTOR_BYTES);
    }
}

/// Requests to shared memory.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Banks {
    /// Requests of warps.
    pub requests: u64,
    /// Passes that they take: in each, a bank serves one word. Lanes that move 8 bytes go by halves of the warp, those that move 16 by quarters.
    pub wavefronts: u64,
    /// Passes that would do, were the words spread evenly over the banks.
    pub least_wavefronts: u64,
    /// Lanes that take part, of 32 in each.
    pub lanes: u64,
}

impl Banks {
    /// Passes that bank conflicts add.
    pub fn conflicts(&self) -> u64 {
        self.wavefronts - self.least_wavefronts
    }

    pub(super) fn add(&mut self, lanes: &[Access]) {
        self.requests += 1;
        self.lanes += lanes.len() as u64;
        let widest = lanes.iter().map(|lane| u64::from(lane.bytes)).max().unwrap_or(WORD_BYTES);
        let together = 32 * WORD_BYTES / widest.max(WORD_BYTES);
        for group in lanes.chunk_by(|a, b| u64::from(a.thread % 32) / together == u64::from(b.thread % 32) / together) {
            let mut words: Vec<u64> =
                group.iter().flat_map(|lane| lane.address / WORD_BYTES..=(lane.end() - 1) / WORD_BYTES).collect();
            words.sort_unstable();
            words.dedup();
            let mut banks = [0; BANKS];
            words.iter().for_each(|word| banks[*word as usize % BANKS] += 1);
            self.wavefronts += banks.into_iter().max().unwrap_or(0);
            self.least_wavefronts += words.len().div_ceil(BANKS) as u64;
        }
    }
}

/// How many numbers the ranges hold together, each counted once.
fn covered(ranges: impl Iterator<Item = (u64, u64)>) -> u64 {
    let mut ranges: Vec<(u64, u64)> = ranges.collect();
    ranges.sort_unstable();
    let add = |(total, reached): (u64, u64), (begin, end): (u64, u64)| {
        (total + end.saturating_sub(begin.max(reached)), reached.max(end))
    };
    ranges.into_iter().fold((0, 0), add).0
}

/// Hands on every request, as its lanes in order. `accesses` are sorted by warp, interval, instruction, place and thread, and those of a thread are in
/// the order in which it made them.
pub(super) fn count(accesses: &[Access], mut request: impl FnMut(Place, &[Access])) {
    let mut lanes = Vec::with_capacity(32);
    for executions in
        accesses.chunk_by(|a, b| (a.warp(), a.interval, a.instruction, a.place) == (b.warp(), b.interval, b.instruction, b.place))
    {
        let threads: Vec<&[Access]> = executions.chunk_by(|a, b| a.thread == b.thread).collect();
        let times = threads.iter().map(|thread| thread.len()).max().unwrap_or(0);
        for time in 0..times {
            lanes.clear();
            lanes.extend(threads.iter().filter_map(|thread| thread.get(time).copied()));
            request(executions[0].place, &lanes);
        }
    }
}
