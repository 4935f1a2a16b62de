//! The scheduler against what CUDA promises, with the kernels of `kernels/host/simt_probes.cpp`.

use super::*;

unsafe extern "C" {
    fn rocl_probe_reverse(slots: *const u64);
    fn rocl_probe_race(slots: *const u64);
    fn rocl_probe_warp(slots: *const u64);
    fn rocl_probe_one_warp(slots: *const u64);
    fn rocl_probe_missing(slots: *const u64);
    fn rocl_probe_mixed(slots: *const u64);
    fn rocl_probe_half_warp(slots: *const u64);
    fn rocl_probe_barrier(slots: *const u64);
    fn rocl_probe_fresh(slots: *const u64);
    fn rocl_probe_greedy(slots: *const u64);
}

const SCHEDULES: [Schedule; 4] = [Schedule::InOrder, Schedule::Shuffled(0), Schedule::Shuffled(1), Schedule::Shuffled(12345)];

/// Runs all blocks of a probe and returns its output of `len` values.
fn probe<V: Default + Clone>(entry: HostEntry, blocks: u32, threads: u32, schedule: Schedule, len: usize) -> Result<Vec<V>> {
    let mut out = vec![V::default(); len];
    let slots = [out.as_mut_ptr() as u64];
    let grid = Grid { kernel: "probe", entry, slots: &slots, blocks, threads, schedule };
    (0..blocks).try_for_each(|block| run_cooperative(&grid, block))?;
    Ok(out)
}

fn refusal(entry: HostEntry, blocks: u32, threads: u32, schedule: Schedule) -> String {
    probe::<u64>(entry, blocks, threads, schedule, 256).unwrap_err().to_string()
}

#[test]
fn a_barrier_separates_writes_from_reads() {
    for (schedule, threads) in SCHEDULES.into_iter().flat_map(|s| [32, 96, 256].map(|threads| (s, threads))) {
        let found = probe::<i32>(rocl_probe_reverse, 3, threads, schedule, 3 * threads as usize).unwrap();
        let expected: Vec<i32> =
            (0..3).flat_map(|block| (0..threads as i32).rev().map(move |t| block * threads as i32 + t)).collect();
        assert_eq!(found, expected, "{schedule:?}, {threads} threads");
    }
}

#[test]
fn a_missing_barrier_shows_up_in_shuffled_order() {
    let run = |schedule| probe::<i32>(rocl_probe_race, 1, 256, schedule, 256).unwrap();
    assert_ne!(run(Schedule::InOrder), run(Schedule::Shuffled(1)));
    assert_ne!(run(Schedule::Shuffled(1)), run(Schedule::Shuffled(2)));
    assert_eq!(run(Schedule::Shuffled(1)), run(Schedule::Shuffled(1)), "a schedule can be repeated");
}

#[test]
fn shuffles_and_votes_see_their_warp() {
    const N: i64 = 64;
    let ballot: i64 = (0..32).filter(|lane| lane % 3 == 0).map(|lane| 1 << lane).sum();
    let row = |f: &dyn Fn(i64, i64, i64) -> i64| (0..N).map(|t| f(t, t % 32, t / 32)).collect::<Vec<i64>>();
    let expected = [
        row(&|_, lane, warp| warp * 32 + (lane ^ 5)),
        row(&|t, lane, _| if lane + 3 < 32 { t + 3 } else { t }),
        row(&|t, lane, _| if lane >= 2 { t - 2 } else { t }),
        row(&|_, _, warp| warp * 32 + 7),
        row(&|_, _, _| ballot),
        row(&|_, _, warp| i64::from(warp == 1)),
        row(&|_, _, warp| i64::from(warp != 1)),
        row(&|_, lane, warp| 4 * (warp * 32 + (lane ^ 1)) + 1),
    ]
    .concat();
    for schedule in SCHEDULES {
        let found = probe::<i64>(rocl_probe_warp, 1, N as u32, schedule, 8 * N as usize).unwrap();
        assert_eq!(found, expected, "{schedule:?}");
    }
}

#[test]
fn a_warp_synchronises_alone_while_others_wait_at_the_barrier() {
    for schedule in SCHEDULES {
        let found = probe::<i32>(rocl_probe_one_warp, 1, 128, schedule, 128).unwrap();
        assert_eq!(found, vec![(32..64).sum::<i32>(); 128], "{schedule:?}");
    }
}

#[test]
fn divergence_is_reported_with_kernel_block_and_threads() {
    for schedule in SCHEDULES {
        let message = refusal(rocl_probe_missing, 2, 96, schedule);
        let expected = "kernel probe, block 1: threads diverged at a synchronisation: \
                        threads 0-39, 64-95 at __syncthreads, threads 40-63 finished";
        assert_eq!(message, expected);
        let message = refusal(rocl_probe_mixed, 1, 32, schedule);
        assert!(message.contains("threads 0-2, 4-31 at a shuffle, threads 3 at a vote"), "{message}");
    }
}

#[test]
fn what_a_gpu_leaves_undefined_is_refused() {
    let message = refusal(rocl_probe_half_warp, 1, 32, Schedule::InOrder);
    assert_eq!(
        message,
        "kernel probe, block 0, thread 0: a warp operation names only part of the warp; the full mask is required"
    );
    let message = refusal(rocl_probe_greedy, 1, 32, Schedule::InOrder);
    assert_eq!(message, "kernel probe, block 0, thread 0: it declares more than 48 KiB of shared memory");

    let grid =
        Grid { kernel: "probe", entry: rocl_probe_barrier, slots: &[0], blocks: 1, threads: 64, schedule: Schedule::InOrder };
    let message = run_independent(&grid, 0).unwrap_err().to_string();
    assert_eq!(message, "kernel probe, block 0, thread 0: it synchronises threads but is not declared COOPERATIVE_KERNEL");
}

#[test]
fn an_error_leaves_the_worker_usable() {
    for broken in [rocl_probe_missing as HostEntry, rocl_probe_half_warp, rocl_probe_greedy] {
        refusal(broken, 2, 96, Schedule::Shuffled(3));
        let found = probe::<i32>(rocl_probe_reverse, 1, 96, Schedule::Shuffled(3), 96).unwrap();
        assert_eq!(found, (0..96).rev().collect::<Vec<i32>>());
    }
}

#[test]
fn fresh_shared_memory_is_not_a_number_in_shuffled_order() {
    let found = probe::<f32>(rocl_probe_fresh, 1, 64, Schedule::Shuffled(1), 64).unwrap();
    assert!(found.iter().all(|x| x.is_nan()));
}
