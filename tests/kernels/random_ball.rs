//! `kernels/random_ball.cu`.

use crate::random::philox;
use crate::support::*;
use rocl::Tensor;
use rocl::element::Real;
use rocl::ops::{Norm, PgdStep};
use std::f64::consts::PI;

const PIXELS: usize = 3072;

fn start<R: Real>(norm: Norm, epsilon: f64, key: (u64, u32, u32), clean: &[f64]) -> Vec<Vec<R>> {
    let shape = [clean.len() / PIXELS, 32, 32, 3];
    answers(|device| {
        let (clean, x) = (upload::<R, 4>(device, shape, clean), Tensor::zeros(device, shape).unwrap());
        let clock = Tensor::from_slice(device, [2], &[3, i64::from(key.2)]).unwrap();
        PgdStep::new(norm, 0.0, epsilon).start(&clean, key.0, key.1, &clock, &x).unwrap();
        x.to_vec().unwrap()
    })
}

/// The words of a counter, as numbers of [0, 1) of 24 bits, and their lowest bits.
fn draw(low: u64, (seed, stream, step): (u64, u32, u32)) -> [(f64, bool); 4] {
    let counter = [low as u32, (low >> 32) as u32, step, stream];
    philox(counter, [seed as u32, (seed >> 32) as u32]).map(|word| (f64::from(word >> 8) / f64::from(1 << 24), word & 1 == 1))
}

fn exponential((u, _): (f64, bool)) -> f64 {
    -(1.0 - u).ln()
}

/// The noise of one image.
fn noise(norm: Norm, epsilon: f64, image: usize, key: (u64, u32, u32)) -> Vec<f64> {
    let quads = (0..PIXELS / 4).map(|quad| draw((image * PIXELS / 4 + quad) as u64, key));
    let own = exponential(draw(image as u64 | 1 << 63, key)[0]);
    let (raw, length): (Vec<f64>, f64) = match norm {
        Norm::L1 => {
            let raw: Vec<f64> = quads.flatten().map(|word| if word.1 { -exponential(word) } else { exponential(word) }).collect();
            let length = raw.iter().map(|v| v.abs()).sum::<f64>() + own;
            (raw, length)
        }
        _ => {
            let pair = |radius: (f64, bool), angle: (f64, bool)| {
                let radius = (2.0 * exponential(radius)).sqrt();
                [radius * (2.0 * PI * angle.0).cos(), radius * (2.0 * PI * angle.0).sin()]
            };
            let raw: Vec<f64> = quads.flat_map(|[a, b, c, d]| [pair(a, b), pair(c, d)]).flatten().collect();
            let length = (raw.iter().map(|v| v * v).sum::<f64>() + 2.0 * own).sqrt();
            (raw, length)
        }
    };
    raw.into_iter().map(|v| epsilon * v / length).collect()
}

fn matches_the_oracle<R: Real>() {
    let clean = uniform(1, 3 * PIXELS, 0.0, 1.0);
    for (norm, epsilon) in [(Norm::L2, 0.5), (Norm::L2, 8.0), (Norm::L1, 12.0), (Norm::L1, 200.0)] {
        for key in [(0, 0, 0), (0x1234_5678_9abc_def0, 7, 41), (u64::MAX, u32::MAX, u32::MAX)] {
            let noise = (0..3).flat_map(|image| noise(norm, epsilon, image, key));
            let expected: Vec<f64> = clean.iter().zip(noise).map(|(c, n)| (c + n).clamp(0.0, 1.0)).collect();
            for found in start::<R>(norm, epsilon, key, &clean) {
                // Logarithm, root, cosine and scale are each rounded, relative to noise of up to about 0.6; then a sum of up to one.
                assert_close(&format!("{norm:?}"), &widened(&found), &expected, 10.0 * rounding::<f32>(), 1.0);
            }
        }
    }
}

#[test]
fn starts_equal_the_oracle() {
    matches_the_oracle::<f32>();
    matches_the_oracle::<f64>();
}

/// In d dimensions the distance r of a uniform point makes (r/ε)^d uniform in [0, 1], in either norm; and each number is as often raised as lowered.
#[test]
fn starts_are_uniform_in_the_ball() {
    const IMAGES: usize = 100;
    let clean = vec![0.5; IMAGES * PIXELS];
    for (norm, epsilon) in [(Norm::L2, 0.5), (Norm::L1, 12.0)] {
        for found in start::<f32>(norm, epsilon, (3, 1, 4), &clean) {
            let volumes: Vec<f64> = widened(&found)
                .chunks(PIXELS)
                .map(|image| {
                    let apart = image.iter().map(|x| (x - 0.5).abs());
                    let r = if norm == Norm::L1 { sum(apart) } else { sum(apart.map(|d| d * d)).sqrt() };
                    assert!(r <= epsilon, "{norm:?}: {r}");
                    (r / epsilon).powi(PIXELS as i32)
                })
                .collect();
            // Standard deviations of the mean of uniform numbers, of their mean square's, and of a count: five of each.
            let n = IMAGES as f64;
            let (mean, square) = (volumes.iter().sum::<f64>() / n, volumes.iter().map(|v| v * v).sum::<f64>() / n);
            assert!((mean - 0.5).abs() < 5.0 / (12.0 * n).sqrt(), "{norm:?}: mean {mean}");
            assert!((square - 1.0 / 3.0).abs() < 5.0 * (4.0 / (45.0 * n)).sqrt(), "{norm:?}: mean square {square}");
            let raised = found.iter().filter(|x| **x > 0.5).count() as f64 / found.len() as f64;
            assert!((raised - 0.5).abs() < 5.0 * 0.5 / (found.len() as f64).sqrt(), "{norm:?}: {raised}");
        }
    }
}

#[test]
fn seed_stream_and_step_give_other_numbers() {
    let clean = vec![0.5; PIXELS];
    for norm in [Norm::L2, Norm::L1] {
        let first = start::<f32>(norm, 1.0, (1, 2, 3), &clean);
        for key in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1 << 32 | 1, 2, 3)] {
            let other = start::<f32>(norm, 1.0, key, &clean);
            assert!(other[0].iter().zip(&first[0]).filter(|(a, b)| a == b).count() < 100, "{norm:?}, {key:?}");
        }
    }
}
