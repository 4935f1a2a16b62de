//! `examples/kernels/momentum.cu` by `examples/own_attack/attack.rs`.

use crate::attack::Momentum;
use crate::support::*;
use rocl::attack::{Attack, Objective};
use rocl::element::Real;
use rocl::{Device, Result, Tensor};

const IMAGES: usize = 3;
const NUMBERS: usize = 3072;
const EPSILON: f64 = 8.0 / 255.0;
const STEPS: usize = 4;
const DECAY: f64 = 0.75;

/// An objective whose gradients are known beforehand, one after the other, whatever x is.
struct Scripted<R> {
    gradients: Vec<Tensor<R>>,
    evaluations: usize,
    loss: Tensor<R>,
}

impl<R: Real> Objective<R> for Scripted<R> {
    fn gradient(&mut self, _: &Tensor<R>, gradient: &Tensor<R>) -> Result<()> {
        gradient.copy_from(&self.gradients[self.evaluations])?;
        self.evaluations += 1;
        Ok(())
    }

    fn loss(&self) -> &Tensor<R> {
        &self.loss
    }
}

/// Gradients of every size; the last image has none at first, and then one that is not finite.
fn gradients() -> Vec<Vec<f64>> {
    let of_step = |step: usize| {
        let mut values = uniform(step as u64, IMAGES * NUMBERS, -1.0, 1.0);
        values[NUMBERS..2 * NUMBERS].iter_mut().for_each(|x| *x *= 1e-12);
        match step {
            0 => values[2 * NUMBERS..].fill(0.0),
            1 => values[2 * NUMBERS + 5] = f64::INFINITY,
            _ => {}
        }
        values
    };
    (0..STEPS).map(of_step).collect()
}

/// Numbers of the range's ends too.
fn images() -> Vec<f64> {
    uniform(9, IMAGES * NUMBERS, -0.1, 1.1).iter().map(|x| x.clamp(0.0, 1.0)).collect()
}

/// What an attack makes of the images.
fn run<R: Real>(device: &Device) -> Vec<R> {
    let shape = [IMAGES, 32, 32, 3];
    let gradients = gradients().iter().map(|values| upload::<R, 4>(device, shape, values)).collect();
    let mut objective = Scripted { gradients, evaluations: 0, loss: Tensor::zeros(device, [1]).unwrap() };
    let (clean, x) = (upload::<R, 4>(device, shape, &images()), Tensor::zeros(device, shape).unwrap());
    // Room for more than there are.
    let attack = Momentum::new(device, IMAGES + 2, EPSILON, STEPS, DECAY).unwrap();
    attack.perturb(&clean, &mut objective, &x).unwrap();
    x.to_vec().unwrap()
}

/// x, and how near a velocity ever was to changing its sign.
fn oracle<R: Real>() -> Vec<(f64, f64)> {
    let clean = widened(&stored::<R>(&images()));
    let gradients: Vec<Vec<f64>> = gradients().iter().map(|values| widened(&stored::<R>(values))).collect();
    let mut state: Vec<(f64, f64)> = clean.iter().map(|x| (*x, f64::INFINITY)).collect();
    let mut velocity = vec![0.0; clean.len()];
    for gradient in &gradients {
        for (at, (x, nearest)) in state.iter_mut().enumerate() {
            let length: f64 = gradient[at / NUMBERS * NUMBERS..][..NUMBERS].iter().map(|g| g.abs()).sum();
            let unit = if length > 0.0 && length.is_finite() { gradient[at] / length } else { 0.0 };
            velocity[at] = DECAY * velocity[at] + unit;
            let sign = if velocity[at] == 0.0 { 0.0 } else { velocity[at].signum() };
            if sign != 0.0 {
                *nearest = nearest.min(velocity[at].abs());
            }
            *x = (*x + EPSILON / STEPS as f64 * sign).clamp(0.0, 1.0).clamp(clean[at] - EPSILON, clean[at] + EPSILON);
        }
    }
    state
}

fn matches_the_oracle<R: Real>() {
    let x = widened(&same_bits_everywhere(run::<R>));
    let mut compared = 0;
    for ((found, (expected, nearest)), clean) in x.iter().zip(oracle::<R>()).zip(widened(&stored::<R>(&images()))) {
        // No norm, sum or product, of 3072 numbers at most, errs by as much as a thousand roundings of numbers near 1/3072.
        if nearest > 1000.0 * rounding::<R>() / NUMBERS as f64 {
            // Step size, radius and each of the sums are rounded, all of numbers below 1.
            assert!((found - expected).abs() <= 3.0 * STEPS as f64 * rounding::<R>(), "{found} instead of {expected}");
            compared += 1;
        }
        // The ball is that of the stored radius around the stored image, with one rounding of their sum.
        assert!(
            (found - clean).abs() <= EPSILON + 2.0 * rounding::<R>() && (0.0..=1.0).contains(found),
            "{found} around {clean}"
        );
    }
    assert!(compared > x.len() * 99 / 100, "only {compared} numbers are far enough from a change of sign");
}

#[test]
fn steps_with_momentum_equal_the_oracle() {
    matches_the_oracle::<f32>();
    matches_the_oracle::<f64>();
}
