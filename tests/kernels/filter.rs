//! `kernels/filter.cu`: filters turned, against the definition and against the gradient that they are turned for; narrow gradients.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::{Tensor, ops};

/// Values are moved and not changed, so each type's bits must be those at the place they come from.
fn turns<T: Element + PartialEq + std::fmt::Debug>() {
    for [k, r, s, c] in [[1, 1, 1, 1], [5, 3, 3, 3], [8, 3, 3, 16], [16, 1, 1, 8], [7, 3, 5, 9], [64, 3, 3, 24]] {
        let filter = stored::<T>(&uniform(1, k * r * s * c, -1.0, 1.0));
        let turned = same_bits_everywhere(|device| {
            let turned = Tensor::<T>::zeros(device, [c, r, s, k]).unwrap();
            ops::turn_filter(&Tensor::from_slice(device, [k, r, s, c], &filter).unwrap(), &turned).unwrap();
            turned.to_vec().unwrap()
        });
        for (at, value) in turned.iter().enumerate() {
            let (channel, row, column, out) = (at / (r * s * k), at / (s * k) % r, at / k % s, at % k);
            let from = ((out * r + (r - 1 - row)) * s + (s - 1 - column)) * c + channel;
            assert_eq!(*value, filter[from], "[{channel}, {row}, {column}, {out}] of {:?}", [k, r, s, c]);
        }
    }
}

#[test]
fn filters_are_transposed_and_turned() {
    turns::<f32>();
    turns::<f64>();
    turns::<f16>();
    turns::<bf16>();
}

/// What the turned filters are for: at stride 1 the gradient of the input is a convolution of dy with them.
#[test]
fn a_convolution_with_turned_filters_is_the_gradient_of_the_input() {
    let device = rocl::Device::host().unwrap();
    for (size, [k, r, c], pad) in [(6, [5, 3, 4], 1), (5, [3, 1, 8], 0), (7, [4, 3, 3], 0), (6, [2, 5, 3], 2)] {
        let out = size + 2 * pad - r + 1;
        let dy = upload::<f64, 4>(&device, [2, out, out, k], &uniform(2, 2 * out * out * k, -1.0, 1.0));
        let filter = upload::<f64, 4>(&device, [k, r, r, c], &uniform(3, k * r * r * c, -1.0, 1.0));
        let image = || Tensor::<f64>::zeros(&device, [2, size, size, c]).unwrap();
        let (expected, found, turned) = (image(), image(), Tensor::zeros(&device, [c, r, r, k]).unwrap());
        ops::conv_dgrad(&dy, &filter, 1, pad, None, None, &expected).unwrap();
        ops::turn_filter(&filter, &turned).unwrap();
        ops::conv_fprop(&dy, &turned, 1, r - 1 - pad, ops::Epilogue::default(), &found).unwrap();
        // Up to 75 products of numbers below 1, each sum rounded in its own order.
        assert_close("dx", &download(&found), &download(&expected), 75.0 * f64::EPSILON, 10.0);
    }
}

fn adds<T: Element>() {
    for n in [1, 9, 1000, 20_011] {
        let gradient = stored::<T>(&uniform(4, n, -1.0, 1.0));
        let before = stored::<T::Real>(&uniform(5, n, -1.0, 1.0));
        let sums = same_bits_everywhere(|device| {
            let dw = Tensor::from_slice(device, [n], &before).unwrap();
            ops::add_filter_gradient(&Tensor::from_slice(device, [n], &gradient).unwrap(), &dw).unwrap();
            dw.to_vec().unwrap()
        });
        let expected: Vec<f64> = widened(&before).iter().zip(widened(&gradient)).map(|(a, b)| a + b).collect();
        // One rounding of a sum below 2.
        assert_close("dw", &widened(&sums), &expected, rounding::<T::Real>(), 2.0);
    }
}

#[test]
fn narrow_gradients_are_added_in_the_arithmetic_type() {
    adds::<f32>();
    adds::<f64>();
    adds::<f16>();
    adds::<bf16>();
}
