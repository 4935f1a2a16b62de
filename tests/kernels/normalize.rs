//! `kernels/normalize.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::{Device, Tensor, ops};

/// Rows of pixels: ragged ends, and whole images.
const ROWS: [usize; 5] = [1, 5, 31, 2 * 1024, 6671];

fn matches_the_oracle<T: Element + PartialEq + std::fmt::Debug>() {
    // As many channels as images have, and as fill a vector.
    for (channels, rows) in ROWS.iter().flat_map(|&rows| [(3, rows), (8, rows)]) {
        let n = rows * channels;
        let (x, mean, std) = (uniform(1, n, 0.0, 1.0), uniform(2, channels, 0.3, 0.6), uniform(3, channels, 0.1, 0.4));
        // Images and statistics are rounded to the arithmetic type first, and the oracle sees the rounded ones.
        let real = |values: &[f64]| widened(&stored::<T::Real>(values));
        let (x, mean, std, dy) = (real(&x), real(&mean), real(&std), widened(&stored::<T>(&uniform(4, n, -1.0, 1.0))));
        let vector = |device: &Device, values: &[f64]| upload::<T::Real, 1>(device, [channels], values);
        let y = same_bits_everywhere(|device| {
            let y = Tensor::<T>::zeros(device, [rows, channels]).unwrap();
            let x = upload::<T::Real, 2>(device, [rows, channels], &x);
            ops::normalize(&x, &vector(device, &mean), &vector(device, &std), &y).unwrap();
            y.to_vec().unwrap()
        });
        let expected: Vec<f64> = x.iter().enumerate().map(|(i, x)| (x - mean[i % channels]) / std[i % channels]).collect();
        // Difference and quotient are rounded once each, the result to the storage type; the difference of two numbers below 1 over a deviation
        // of 0.1 at least is below 10.
        assert_close("y", &widened(&y), &expected, 2.0 * rounding::<T::Real>() + rounding::<T>(), 10.0);

        let dx = same_bits_everywhere(|device| {
            let dx = Tensor::<T::Real>::zeros(device, [rows, channels]).unwrap();
            ops::normalize_backward(&upload::<T, 2>(device, [rows, channels], &dy), &vector(device, &std), &dx).unwrap();
            dx.to_vec().unwrap()
        });
        let expected: Vec<f64> = dy.iter().enumerate().map(|(i, g)| g / std[i % channels]).collect();
        // One correctly rounded quotient.
        assert_close("dx", &widened(&dx), &expected, rounding::<T::Real>(), 0.0);
    }
}

#[test]
fn normalisation_and_its_gradient_equal_the_oracle() {
    matches_the_oracle::<f32>();
    matches_the_oracle::<f64>();
    matches_the_oracle::<f16>();
    matches_the_oracle::<bf16>();
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::host().unwrap();
    let tensor = |dims: [usize; 2]| Tensor::<f32>::zeros(&device, dims).unwrap();
    let vector = |n: usize| Tensor::<f32>::zeros(&device, [n]).unwrap();
    let refusal = ops::normalize(&tensor([4, 3]), &vector(3), &vector(1), &tensor([4, 3])).unwrap_err().to_string();
    assert!(refusal.contains("`std` is [1] but must be [3]"), "{refusal}");
    let refusal = ops::normalize(&tensor([4, 3]), &vector(3), &vector(3), &tensor([3, 4])).unwrap_err().to_string();
    assert!(refusal.contains("`y` is [3, 4] but must be [4, 3]"), "{refusal}");
    let refusal = ops::normalize_backward(&tensor([4, 3]), &vector(3), &tensor([4, 2])).unwrap_err().to_string();
    assert!(refusal.contains("`dx` is [4, 2] but must be [4, 3]"), "{refusal}");
}
