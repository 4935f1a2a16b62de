//! Difference quotients.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::{Device, Tensor};

/// Steps, those first that mostly do. Rounding of the loss (some 10⁻¹⁵) divided by the step is what a small one suffers from; a large one
/// reaches across kinks of ReLUs, where the quotient is a mean of two slopes. A wrong gradient is wrong at every step, a right one is met
/// by one of them.
const STEPS: [f64; 6] = [1e-6, 1e-7, 1e-8, 1e-5, 1e-9, 1e-4];
/// Relative to the larger of the entry and the root mean square of the tensor's gradient. The quotient's own error, h² times the third
/// derivative and 10⁻¹⁵/h, is around 10⁻⁸ at the best step.
const TOLERANCE: f64 = 1e-5;
/// Entries that are tried of each tensor, besides all of them together.
const ENTRIES: usize = 2;

pub fn uniform(seed: u64, len: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Uniform in ±1.
pub fn random<const N: usize>(device: &Device, seed: u64, shape: [usize; N]) -> Tensor<f64> {
    Tensor::from_slice(device, shape, &uniform(seed, shape.iter().product())).unwrap()
}

/// Σ c·y: a scalar whose gradient by y is c.
pub fn dot(c: &Tensor<f64>, y: &Tensor<f64>) -> f64 {
    c.to_vec().unwrap().iter().zip(y.to_vec().unwrap()).map(|(c, y)| c * y).sum()
}

/// Asserts that `gradient` is that of `loss` by `variable`: for some entries, and along a direction that moves all of them.
#[track_caller]
pub fn assert_gradient(what: &str, variable: &Tensor<f64>, gradient: &Tensor<f64>, loss: impl Fn() -> f64) {
    let (at, gradient) = (variable.to_vec().unwrap(), gradient.to_vec().unwrap());
    assert_eq!(at.len(), gradient.len(), "{what}");
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    assert!(norm > 0.0 && norm.is_finite(), "{what}: a gradient of length {norm} shows nothing");
    let mut rng = ChaCha8Rng::seed_from_u64(at.len() as u64);
    let slope = |direction: &[f64], h: f64| {
        let moved = |h: f64| {
            variable.write(&at.iter().zip(direction).map(|(x, d)| x + h * d).collect::<Vec<_>>()).unwrap();
            loss()
        };
        (moved(h) - moved(-h)) / (2.0 * h)
    };
    let compare = |place: &str, direction: &[f64], scale: f64| {
        let expected: f64 = gradient.iter().zip(direction).map(|(g, d)| g * d).sum();
        let allowed = TOLERANCE * expected.abs().max(scale);
        let mut found = Vec::new();
        let met = STEPS.iter().any(|&h| {
            let slope = slope(direction, h);
            found.push(slope);
            (slope - expected).abs() <= allowed
        });
        variable.write(&at).unwrap();
        assert!(met, "{what}, {place}: {expected:e}, but differences give {found:?}, allowed {allowed:e}");
    };
    for _ in 0..ENTRIES.min(at.len()) {
        let entry = rng.random_range(0..at.len());
        let mut direction = vec![0.0; at.len()];
        direction[entry] = 1.0;
        compare(&format!("entry {entry}"), &direction, norm / (at.len() as f64).sqrt());
    }
    let signs: Vec<f64> = at.iter().map(|_| if rng.random() { 1.0 } else { -1.0 }).collect();
    compare("all entries", &signs, norm);
}
