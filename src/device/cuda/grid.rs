//! How the logical shape of a launch becomes blocks and threads.

use crate::Result;
use crate::device::launch::{Kernel, Work, check_work, to_u32};

/// Threads of a block where the kernel leaves the choice.
const THREADS: usize = 256;
/// No multiprocessor runs more blocks of that size at a time.
const RESIDENT_BLOCKS: usize = 8;
/// As many rounds of blocks as even out differences between multiprocessors; beyond, threads go round their loop instead.
const ROUNDS: usize = 4;
/// Bytes a thread moves at a time.
const VECTOR_BYTES: usize = 16;
/// Bytes of an element of storage, by [`Element::SLOT`](crate::element::Element::SLOT).
const ELEMENT_BYTES: [usize; 4] = [4, 2, 2, 8];

/// Blocks and threads of a block for `work`: a thread for every vector, up to some rounds of a GPU with that many multiprocessors.
pub(in crate::device) fn choose(kernel: &Kernel, slot: usize, work: Work, multiprocessors: usize) -> Result<(u32, u32)> {
    check_work(kernel, work)?;
    let vector = VECTOR_BYTES / ELEMENT_BYTES[slot];
    // Rows that do not hold whole vectors are walked one element at a time.
    let matrix =
        |rows: usize, channels: usize| if channels.is_multiple_of(vector) { rows * channels / vector } else { rows * channels };
    let wanted = match work {
        Work::Blocks(blocks, threads) => return Ok((to_u32(kernel, blocks)?, to_u32(kernel, threads)?)),
        Work::Items(n, _) => n,
        Work::Elements(n) => n.div_ceil(vector),
        Work::RowsChannels(rows, channels) | Work::ItemsChannels(rows, channels, _) => matrix(rows, channels),
    };
    // Too few blocks would leave multiprocessors idle: smaller ones reach more of them.
    let mut threads = THREADS;
    while threads > 32 && wanted.div_ceil(threads) < multiprocessors {
        threads /= 2;
    }
    let blocks = wanted.div_ceil(threads).min(multiprocessors * RESIDENT_BLOCKS * ROUNDS);
    Ok((to_u32(kernel, blocks)?, to_u32(kernel, threads)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::launch::KERNELS;

    fn grid(slot: usize, work: Work) -> (u32, u32) {
        let independent = KERNELS.iter().find(|kernel| !kernel.cooperative).unwrap();
        choose(independent, slot, work, 100).unwrap()
    }

    #[test]
    fn every_vector_has_a_thread_up_to_some_rounds() {
        // 2²⁰ elements are 2¹⁸ vectors of f32, 2¹⁷ of f16.
        assert_eq!(grid(0, Work::Elements(1 << 20)), (1024, 256));
        assert_eq!(grid(1, Work::Elements(1 << 20)), (512, 256));
        assert_eq!(grid(0, Work::Items(1 << 18, 7)), (1024, 256));
        assert_eq!(grid(0, Work::RowsChannels(1 << 14, 64)), (1024, 256));
        assert_eq!(grid(0, Work::RowsChannels(1 << 14, 3)), (192, 256), "three channels are no vectors");
        assert_eq!(grid(0, Work::Elements(1 << 30)), (100 * 8 * 4, 256));
    }

    #[test]
    fn little_work_is_spread() {
        assert_eq!(grid(0, Work::ItemsChannels(64, 64, 10)), (32, 32));
        assert_eq!(grid(0, Work::Elements(1)), (1, 32));
        assert_eq!(grid(0, Work::Elements(0)).0, 0);
        assert_eq!(grid(0, Work::Elements(100 * 4 * 64)), (100, 64));
    }

    #[test]
    fn cooperative_kernels_say_their_blocks() {
        let cooperative = KERNELS.iter().find(|kernel| kernel.cooperative).unwrap();
        assert_eq!(choose(cooperative, 0, Work::Blocks(7, 96), 100).unwrap(), (7, 96));
        for wrong in [Work::Elements(8), Work::Blocks(1, 33), Work::Blocks(1, 512), Work::Blocks(1, 0)] {
            assert!(choose(cooperative, 0, wrong, 100).is_err(), "{wrong:?}");
        }
    }
}
