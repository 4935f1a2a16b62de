//! `kernels/activation.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::{Tensor, ops};

/// Ragged, vectors and not, more rows than threads share.
const SHAPES: [(usize, usize); 7] = [(1, 1), (3, 5), (7, 8), (33, 64), (40, 13), (1000, 10), (129, 88)];

/// Two additions in the arithmetic type, of numbers up to 3, then one rounding to storage.
fn tolerance<T: Element>() -> f64 {
    3.0 * rounding::<T::Real>() + 1.01 * rounding::<T>()
}

fn bias_activation<T: Element + PartialEq + std::fmt::Debug>() {
    for (rows, channels) in SHAPES {
        let n = rows * channels;
        let matrix = |seed| widened(&stored::<T>(&uniform(seed, n, -1.0, 1.0)));
        let (x, residual, bias) = (matrix(1), matrix(2), widened(&stored::<T>(&uniform(3, channels, -1.0, 1.0))));
        for choice in 0..8 {
            let (with_bias, with_residual, relu) = (choice & 1 != 0, choice & 2 != 0, choice & 4 != 0);
            let found = same_bits_everywhere(|device| {
                let x = upload::<T, 2>(device, [rows, channels], &x);
                let bias = upload::<T, 1>(device, [channels], &bias);
                let residual = upload::<T, 2>(device, [rows, channels], &residual);
                ops::bias_activation(&x, with_bias.then_some(&bias), with_residual.then_some(&residual), relu).unwrap();
                x.to_vec().unwrap()
            });
            let expected = |i: usize| {
                let y = x[i] + if with_bias { bias[i % channels] } else { 0.0 } + if with_residual { residual[i] } else { 0.0 };
                if relu { y.max(0.0) } else { y }
            };
            let expected: Vec<f64> = (0..n).map(expected).collect();
            assert_close("x", &widened(&found), &expected, tolerance::<T>(), 3.0);
        }
    }
}

#[test]
fn bias_activation_equals_the_oracle() {
    bias_activation::<f32>();
    bias_activation::<f64>();
    bias_activation::<f16>();
    bias_activation::<bf16>();
}

fn activation_backward<T: Element + PartialEq + std::fmt::Debug>() {
    for (rows, channels) in SHAPES {
        let n = rows * channels;
        let matrix = |seed| widened(&stored::<T>(&uniform(seed, n, -1.0, 1.0)));
        let (dx, residual) = (matrix(1), matrix(2));
        let y: Vec<f64> = matrix(3).into_iter().map(|y| y.max(0.0)).collect();
        for (with_residual, with_y) in [(false, false), (false, true), (true, false), (true, true)] {
            let found = same_bits_everywhere(|device| {
                let tensor = |values: &[f64]| upload::<T, 2>(device, [rows, channels], values);
                let (dx, residual, y) = (tensor(&dx), tensor(&residual), tensor(&y));
                ops::activation_backward(&dx, with_residual.then_some(&residual), with_y.then_some(&y)).unwrap();
                dx.to_vec().unwrap()
            });
            let g = |i: usize| dx[i] + if with_residual { residual[i] } else { 0.0 };
            let expected: Vec<f64> = (0..n).map(|i| if !with_y || y[i] > 0.0 { g(i) } else { 0.0 }).collect();
            assert_close("dx", &widened(&found), &expected, tolerance::<T>(), 2.0);
        }
    }
}

#[test]
fn activation_backward_equals_the_oracle() {
    activation_backward::<f32>();
    activation_backward::<f64>();
    activation_backward::<f16>();
    activation_backward::<bf16>();
}

fn bias_gradient<T: Element>()
where
    T::Real: PartialEq,
{
    for (rows, channels) in SHAPES {
        let dy = widened(&stored::<T>(&uniform(1, rows * channels, -1.0, 1.0)));
        let found = same_bits_everywhere(|device| {
            let dy = upload::<T, 2>(device, [rows, channels], &dy);
            let d_bias = upload::<T::Real, 1>(device, [channels], &vec![1.0; channels]);
            // Twice: gradients of several passes accumulate.
            ops::bias_gradient(&dy, &d_bias).unwrap();
            ops::bias_gradient(&dy, &d_bias).unwrap();
            d_bias.to_vec().unwrap()
        });
        let column = |c: usize| sum(dy.iter().skip(c).step_by(channels).copied());
        let expected: Vec<f64> = (0..channels).map(|c| 1.0 + 2.0 * column(c)).collect();
        // At most 32 additions in a row per thread and 64 over threads, of partial sums that grow as √rows.
        assert_close("d_bias", &widened(&found), &expected, 30.0 * rounding::<T::Real>(), 2.0 * (rows as f64).sqrt());
    }
}

#[test]
fn bias_gradient_equals_the_oracle() {
    bias_gradient::<f32>();
    bias_gradient::<f64>();
    bias_gradient::<f16>();
    bias_gradient::<bf16>();
}

#[test]
fn refusals_say_why() {
    for_each_device(|device| {
        let (x, other) = (Tensor::<f32>::zeros(device, [4, 8]).unwrap(), Tensor::<f32>::zeros(device, [8, 4]).unwrap());
        let message = ops::bias_activation(&x, None, Some(&other), true).unwrap_err().to_string();
        assert!(message.contains("`residual` is [8, 4] but must be [4, 8]"), "{message}");
        let message = ops::bias_activation(&x, None, Some(&x.clone()), true).unwrap_err().to_string();
        assert!(message.contains("overlap in memory"), "{message}");
        let message = ops::bias_gradient(&x, &x).unwrap_err().to_string();
        assert!(message.contains("`d_bias` is [4, 8] but must be [8]"), "{message}");
        let message = ops::activation_backward(&x, None, Some(&other)).unwrap_err().to_string();
        assert!(message.contains("`y` is [8, 4] but must be [4, 8]"), "{message}");
        let message = ops::activation_backward(&x, None, Some(&x.clone())).unwrap_err().to_string();
        assert!(message.contains("overlap in memory"), "{message}");
    });
}
