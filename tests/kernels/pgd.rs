//! `kernels/pgd.cu`.

use crate::support::*;
use rocl::element::Real;
use rocl::{Tensor, ops};

const SIZES: [usize; 6] = [1, 3, 4, 31, 4 * 3072, 20_011];

fn oracle(x: f64, gradient: f64, clean: f64, step: f64, epsilon: f64) -> f64 {
    let direction = if gradient > 0.0 {
        1.0
    } else if gradient < 0.0 {
        -1.0
    } else {
        0.0
    };
    (x + step * direction).clamp(0.0, 1.0).clamp(clean - epsilon, clean + epsilon)
}

/// `take(x, gradient, clean, step_size, epsilon)` against the oracle; returns the bits, size after size.
pub fn equals_the_oracle<R: Real>(take: impl Fn(&Tensor<R>, &Tensor<R>, &Tensor<R>, R, R) -> rocl::Result<()>) -> Vec<R> {
    // Two additions and the rounded inputs and constants: three roundings of numbers below 1.04.
    let tolerance = 4.0 * rounding::<R>();
    let mut all = Vec::new();
    let (step, epsilon) = (0.007, 0.0314);
    for n in SIZES {
        let clean = uniform(1, n, 0.0, 1.0);
        let x: Vec<f64> = clean.iter().zip(uniform(2, n, -0.04, 0.04)).map(|(c, d)| (c + d).clamp(0.0, 1.0)).collect();
        let mut gradient = uniform(3, n, -1.0, 1.0);
        gradient.iter_mut().step_by(5).for_each(|g| *g = 0.0);
        let expected: Vec<f64> = (0..n).map(|i| oracle(x[i], gradient[i], clean[i], step, epsilon)).collect();
        let bits = same_bits_everywhere(|device| {
            let (x, gradient, clean) =
                (upload::<R, 1>(device, [n], &x), upload::<R, 1>(device, [n], &gradient), upload::<R, 1>(device, [n], &clean));
            take(&x, &gradient, &clean, R::from_f64(step), R::from_f64(epsilon)).unwrap();
            x.to_vec().unwrap()
        });
        assert_close("x", &widened(&bits), &expected, tolerance, 1.0);
        all.extend(bits);
    }
    all
}

#[test]
fn step_equals_the_oracle() {
    equals_the_oracle::<f32>(ops::pgd_linf_step);
    equals_the_oracle::<f64>(ops::pgd_linf_step);
}

/// Fused or not, the operations are the same in the same order: so are the bits, also where gradients are 0 or NaN.
#[test]
fn fusing_does_not_change_a_bit() {
    for n in SIZES {
        let clean = uniform(1, n, 0.0, 1.0);
        let x: Vec<f64> = clean.iter().zip(uniform(2, n, -0.04, 0.04)).map(|(c, d)| (c + d).clamp(0.0, 1.0)).collect();
        let mut gradient = uniform(3, n, -1.0, 1.0);
        gradient.iter_mut().step_by(5).for_each(|g| *g = 0.0);
        gradient.iter_mut().skip(1).step_by(7).for_each(|g| *g = f64::NAN);
        let moved = |fused: bool| {
            same_bits_everywhere(|device| {
                let [x, gradient, clean] = [&x, &gradient, &clean].map(|values| upload::<f32, 1>(device, [n], values));
                let direction = Tensor::zeros(device, [n]).unwrap();
                if fused {
                    ops::pgd_linf_step(&x, &gradient, &clean, 0.007, 0.0314).unwrap();
                } else {
                    ops::pgd_linf_step_unfused(&x, &gradient, &clean, 0.007, 0.0314, &direction).unwrap();
                }
                x.to_vec().unwrap()
            })
        };
        assert_eq!(moved(true), moved(false), "{n}");
    }
}

#[test]
fn step_refuses_what_does_not_fit() {
    for_each_device(|device| {
        let (a, b) = (Tensor::<f32>::zeros(device, [4]).unwrap(), Tensor::<f32>::zeros(device, [5]).unwrap());
        let message = ops::pgd_linf_step(&a, &b, &a, 0.1, 0.1).unwrap_err().to_string();
        assert!(message.contains("`gradient` is [5] but `x` is [4]"), "{message}");
        let message = ops::pgd_linf_step(&a, &a.clone(), &a.clone(), 0.1, 0.1).unwrap_err().to_string();
        assert!(message.contains("overlap in memory"), "{message}");
    });
}
