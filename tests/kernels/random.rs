//! `kernels/random.cu`.

use crate::support::*;
use rocl::element::Real;
use rocl::{Tensor, ops};

/// Philox 4×32-10 as in the paper (Salmon et al., SC 2011, Section 3.3), from its definition by 64-bit products.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    (0..10u32).fold(counter, |[r0, l0, r1, l1], round| {
        let product = |multiplier: u64, word: u32| multiplier * u64::from(word);
        let (a, b) = (product(0xD251_1F53, r0), product(0xCD9E_8D57, r1));
        let k0 = key[0].wrapping_add(round.wrapping_mul(0x9E37_79B9));
        let k1 = key[1].wrapping_add(round.wrapping_mul(0xBB67_AE85));
        [(b >> 32) as u32 ^ l0 ^ k0, b as u32, (a >> 32) as u32 ^ l1 ^ k1, a as u32]
    })
}

#[test]
fn the_oracle_gives_the_published_answers() {
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
}

/// The uniform number of an element, in [−1, 1).
fn noise(seed: u64, stream: u32, step: u32, element: usize) -> f64 {
    let counter = [(element / 4) as u32, 0, step, stream];
    let word = philox(counter, [seed as u32, (seed >> 32) as u32])[element % 4];
    f64::from(word >> 8) / f64::from(1 << 23) - 1.0
}

fn start<R: Real>(seed: u64, stream: u32, step: i64, clean: &[f64], epsilon: f64) -> Vec<f64> {
    let bits = same_bits_everywhere(|device| {
        let (clean, x) = (upload::<R, 1>(device, [clean.len()], clean), Tensor::zeros(device, [clean.len()]).unwrap());
        let clock = Tensor::from_slice(device, [2], &[3, step]).unwrap();
        ops::random_start(&clean, R::from_f64(epsilon), seed, stream, &clock, &x).unwrap();
        x.to_vec().unwrap()
    });
    widened(&bits)
}

fn matches_the_oracle<R: Real>() {
    let epsilon = 0.0314;
    for n in [1, 3, 4, 5, 257, 3 * 3072] {
        for (seed, stream, step) in [(0, 0, 0), (0x1234_5678_9abc_def0, 7, 41), (u64::MAX, u32::MAX, i64::from(u32::MAX))] {
            let clean = uniform(n as u64, n, 0.0, 1.0);
            let found = start::<R>(seed, stream, step, &clean, epsilon);
            let expected: Vec<f64> =
                (0..n).map(|i| (clean[i] + epsilon * noise(seed, stream, step as u32, i)).clamp(0.0, 1.0)).collect();
            // The rounded inputs, a product and a sum of numbers up to one.
            assert_close("x", &found, &expected, 3.0 * rounding::<R>(), 1.0);
        }
    }
}

#[test]
fn start_equals_the_oracle() {
    matches_the_oracle::<f32>();
    matches_the_oracle::<f64>();
}

#[test]
fn seed_stream_and_step_give_other_numbers_all_over_the_ball() {
    let (clean, epsilon) = (vec![0.5; 4096], 0.25);
    let first = start::<f32>(1, 2, 3, &clean, epsilon);
    for (seed, stream, step) in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1 << 32, 2, 3)] {
        assert!(start::<f32>(seed, stream, step, &clean, epsilon).iter().zip(&first).filter(|(a, b)| a == b).count() < 3);
    }
    let mean = first.iter().sum::<f64>() / 4096.0;
    // The mean of n uniform numbers has a standard deviation of 2ε/√(12·n): five of them.
    assert!((mean - 0.5).abs() < 5.0 * 2.0 * epsilon / (12.0 * 4096.0_f64).sqrt(), "mean {mean}");
    assert!(first.iter().all(|x| (x - 0.5).abs() <= epsilon));
}
