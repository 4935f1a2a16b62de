//! Races: two threads access a byte, one of them writes it, and nothing orders the two.
//!
//! `__syncthreads` orders the threads of a block, `__syncwarp` the lanes of a warp; shuffles and votes order nothing, and within a launch nothing orders
//! two blocks. What was accessed is compared, not when, so a race is found in whatever order the threads happen to run.

use super::{Access, Launch, PACKET_BYTES, Place};
use crate::device::launch::Operand;

/// Races that are described, of each launch.
const EXAMPLES: usize = 4;

/// Which blocks have accessed each byte of the tensors that a launch writes.
pub(super) struct Blocks {
    tensors: Vec<Option<Vec<Byte>>>,
}

/// A block is kept as its number plus one, or [`SEVERAL`]; 0 is none.
#[derive(Clone, Copy, Default)]
struct Byte {
    writer: u32,
    reader: u32,
}

const SEVERAL: u32 = u32::MAX;

impl Blocks {
    pub fn new(operands: &[Operand]) -> Self {
        let bytes = |operand: &Operand| operand.written.then(|| vec![Byte::default(); (operand.end - operand.begin) as usize]);
        Self { tensors: operands.iter().map(bytes).collect() }
    }
}

/// Finds the races of one block, and writes them into its launch.
pub(super) struct Races<'a> {
    pub operands: &'a [Operand],
    /// Where the block's shared memory begins.
    pub shared: u64,
    pub block: u32,
    pub launch: &'a mut Launch,
}

impl Races<'_> {
    /// Those within the block, between two of its barriers.
    pub fn between_threads(&mut self, accesses: &[Access]) {
        let key = |a: &Access| (a.address, a.bytes, a.thread, a.interval);
        let mut writes: Vec<&Access> = accesses.iter().filter(|a| a.write).collect();
        writes.sort_unstable_by_key(|a| key(a));
        writes.dedup_by_key(|a| key(a));
        let mut written: Vec<Place> = writes.iter().map(|write| write.place).collect();
        written.sort_unstable();
        written.dedup();
        for access in accesses.iter().filter(|access| written.contains(&access.place)) {
            // The first write that can reach the access's bytes, and those after it.
            let from = writes.partition_point(|write| write.address + u64::from(PACKET_BYTES) <= access.address);
            let near = writes[from..].iter().take_while(|write| write.address < access.end());
            let rival = near.filter(|write| write.end() > access.address).find(|write| unordered(write, access));
            if let Some(write) = rival {
                let doing = if access.write { "writes" } else { "reads" };
                let (first, second) = (write.thread, access.thread);
                self.found(access.place, write.address.max(access.address), |place, block| {
                    format!(
                        "block {block}: thread {first} writes {place} and thread {second} {doing} it, without a barrier between"
                    )
                });
            }
        }
    }

    /// Those between this block and the ones before it.
    pub fn between_blocks(&mut self, accesses: &[Access], blocks: &mut Blocks) {
        let me = self.block + 1;
        for access in accesses {
            let Place::Tensor(number) = access.place else { continue };
            let Some(bytes) = &mut blocks.tensors[number] else { continue };
            let start = (access.address - self.operands[number].begin) as usize;
            let end = (start + access.bytes as usize).min(bytes.len());
            let mut rival = None;
            for (at, byte) in bytes[start..end].iter_mut().enumerate() {
                let others = if access.write { [byte.writer, byte.reader] } else { [byte.writer, 0] };
                let other = others.into_iter().find(|other| ![0, me].contains(other));
                rival = rival.or(other.map(|other| (at, other)));
                let mine = if access.write { &mut byte.writer } else { &mut byte.reader };
                *mine = if [0, me].contains(mine) { me } else { SEVERAL };
            }
            if let Some((at, other)) = rival {
                let other = if other == SEVERAL { "others access".to_owned() } else { format!("block {} accesses", other - 1) };
                let doing = if access.write { "writes" } else { "reads" };
                self.found(access.place, access.address + at as u64, |place, block| {
                    format!("block {block} {doing} {place}, which {other} too, and one of them writes")
                });
            }
        }
    }

    fn found(&mut self, place: Place, address: u64, describe: impl FnOnce(String, u32) -> String) {
        self.launch.races += 1;
        if self.launch.examples.len() < EXAMPLES {
            let place = match place {
                Place::Tensor(number) => {
                    format!("byte {} of `{}`", address - self.operands[number].begin, self.operands[number].name)
                }
                Place::Shared => format!("byte {} of shared memory", address - self.shared),
            };
            self.launch.examples.push(describe(place, self.block));
        }
    }
}

/// Whether nothing orders two accesses of a block between two of its barriers.
fn unordered(a: &Access, b: &Access) -> bool {
    a.thread != b.thread && !(a.warp() == b.warp() && a.interval != b.interval)
}
