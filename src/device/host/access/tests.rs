//! What is seen of the kernels of `kernels/host/access_probes.cpp`, each of which accesses memory in one known way.

use super::*;
use crate::device::launch::HostEntry;

unsafe extern "C" {
    fn rocl_access_neighbours(slots: *const u64);
    fn rocl_access_strided(slots: *const u64);
    fn rocl_access_vectors(slots: *const u64);
    fn rocl_access_divergent(slots: *const u64);
    fn rocl_access_banks(slots: *const u64);
    fn rocl_access_padded(slots: *const u64);
    fn rocl_access_race(slots: *const u64);
    fn rocl_access_warp_barrier(slots: *const u64);
    fn rocl_access_other_warp(slots: *const u64);
    fn rocl_access_shuffle(slots: *const u64);
    fn rocl_access_blocks(slots: *const u64);
}

/// A cache line, as tensors begin at.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code)] [f32; 16]);

/// Runs a probe on blocks of 64 threads.
fn seen(entry: HostEntry, blocks: u32) -> Launch {
    let tensor = vec![Line([0.0; 16]); 64];
    let range = tensor.as_ptr_range();
    let (begin, end) = (range.start as u64, range.end as u64);
    let grid = Grid { kernel: "probe", entry, slots: &[begin], blocks, threads: 64, schedule: Schedule::InOrder };
    let operand = Operand { name: "out", begin, end, written: true };
    let ((), mut launches) = watch(|| run(&grid, true, "f32", vec![operand])).unwrap();
    assert_eq!(launches.len(), 1);
    launches.remove(0)
}

/// Requests, sectors and least sectors of a launch's tensors.
fn sectors(launch: &Launch) -> (u64, u64, u64) {
    let memory = launch.memory();
    (memory.requests, memory.sectors, memory.least_sectors)
}

#[test]
fn neighbours_share_sectors_and_strides_do_not() {
    let launch = seen(rocl_access_neighbours, 2);
    assert_eq!(sectors(&launch), (4, 4 * 4, 4 * 4), "32 lanes with 4 bytes are 4 sectors");
    assert_eq!((launch.races, launch.active_lanes()), (0, 1.0));
    assert_eq!(sectors(&seen(rocl_access_strided, 2)), (4, 4 * 32, 4 * 4));
}

#[test]
fn a_packet_is_one_access() {
    let launch = seen(rocl_access_vectors, 2);
    assert_eq!(sectors(&launch), (4, 4 * 16, 4 * 16), "32 lanes with 16 bytes are 16 sectors");
    assert_eq!(launch.races, 0);
}

#[test]
fn lanes_that_take_no_part_are_counted() {
    let launch = seen(rocl_access_divergent, 1);
    assert_eq!(launch.active_lanes(), 0.5);
    assert_eq!(sectors(&launch), (2, 2 * 4, 2 * 2));
}

#[test]
fn numbers_in_one_bank_take_turns() {
    // 16 turns round a loop fill the matrix, in two warps each; then both warps read a column.
    let banks = |entry| seen(entry, 1).shared;
    let column = banks(rocl_access_banks);
    assert_eq!((column.requests, column.least_wavefronts, column.conflicts()), (34, 34, 2 * 31));
    // A row more than a multiple of 64 numbers: the last turn has one warp.
    let padded = banks(rocl_access_padded);
    assert_eq!((padded.requests, padded.conflicts()), (33 + 2, 0));
}

#[test]
fn races_are_found_and_barriers_order() {
    let launch = seen(rocl_access_race, 1);
    assert_eq!(launch.races, 64, "every read");
    let text = "block 0: thread 1 writes byte 4 of shared memory and thread 0 reads it, without a barrier between";
    assert_eq!(launch.examples[0], text);
    assert_eq!(seen(rocl_access_warp_barrier, 1).races, 0);
    assert_eq!(seen(rocl_access_other_warp, 1).races, 64);
    assert_eq!(seen(rocl_access_shuffle, 1).races, 64);
    assert_eq!(seen(rocl_access_banks, 1).races, 0, "a barrier of the block orders all");
}

#[test]
fn nothing_orders_two_blocks() {
    assert_eq!(seen(rocl_access_blocks, 1).races, 0);
    let launch = seen(rocl_access_blocks, 3);
    let text = |block: u32| format!("block {block} reads byte 0 of `out`, which block 0 accesses too, and one of them writes");
    assert_eq!((launch.races, launch.examples), (2, vec![text(1), text(2)]));
}

#[test]
fn only_what_is_watched_is_seen() {
    let device = crate::Device::host_with(crate::device::HostOptions { threads: 1, ..Default::default() }).unwrap();
    let x = crate::Tensor::<f32>::zeros(&device, [1000]).unwrap();
    let y = crate::Tensor::<f32>::zeros(&device, [1000]).unwrap();
    crate::ops::copy(&x, &y).unwrap();
    let ((), launches) = watch(|| crate::ops::copy(&x, &y)).unwrap();
    let seen: Vec<_> = launches.iter().map(|launch| (launch.kernel, launch.element)).collect();
    assert_eq!(seen, [("copy", "f32")]);
    let tensors: Vec<_> = launches[0].tensors.iter().map(|t| (t.tensor, t.sectors)).collect();
    assert_eq!(tensors, [("x", 125), ("y", 125)], "1000 numbers of 4 bytes are 125 sectors");
}
