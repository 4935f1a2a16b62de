//! `kernels/scale.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::ops::{self, ChunkTable, LossScale, LossScaleState};
use rocl::{Device, Tensor};

/// Magnitudes that a row's largest value has: ordinary, far below f16's range, at the ends of f32's.
const MAGNITUDES: [f64; 7] = [1.0, 3e-9, 65504.0, 1e-38, 1e30, 1e-45, 2e38];

fn rows<T: Element>() {
    for columns in [1, 10, 31, 32, 128, 129] {
        let mut x: Vec<f64> = Vec::new();
        for (row, magnitude) in MAGNITUDES.iter().enumerate() {
            let mut values = uniform(row as u64, columns, -1.0, 1.0);
            values[columns / 2] = -1.0;
            x.extend(values.iter().map(|v| v * magnitude));
        }
        x.extend(vec![0.0; columns]);
        let x = widened(&stored::<T::Real>(&x));
        let count = x.len() / columns;
        let found = same_bits_everywhere(|device| {
            let y = Tensor::<T>::zeros(device, [count, columns]).unwrap();
            let unscale = Tensor::<T::Real>::zeros(device, [count]).unwrap();
            ops::scale_rows(&upload::<T::Real, 2>(device, [count, columns], &x), &y, &unscale).unwrap();
            [download(&y), download(&unscale)].concat()
        });
        let (y, unscale) = found.split_at(x.len());
        for (row, &unscale) in unscale.iter().enumerate() {
            assert_eq!(unscale.log2().fract(), 0.0, "{unscale} is no power of two");
            let (x, y) = (&x[row * columns..][..columns], &y[row * columns..][..columns]);
            let most = y.iter().fold(0.0f64, |most, v| most.max(v.abs()));
            // Powers end at 2^±126, which leaves the very smallest where they are.
            let expected = if row == MAGNITUDES.len() {
                0.0..=0.0
            } else if MAGNITUDES[row] > 1e-37 {
                64.0..=128.0
            } else {
                0.0..=128.0
            };
            assert!(expected.contains(&most), "row {row}: the largest is {most}");
            for (&x, &y) in x.iter().zip(y) {
                // One rounding of the scaled value, whose last place in f16 is at least 2⁻²⁴.
                let allowed = (x.abs() * rounding::<T>()).max(2f64.powi(-25) * unscale);
                assert!((y * unscale - x).abs() <= allowed, "row {row}: {x} became {y} times {unscale}");
            }
        }
    }
}

#[test]
fn rows_have_their_largest_value_in_one_binade() {
    rows::<f16>();
    rows::<bf16>();
    rows::<f32>();
    rows::<f64>();
}

/// An infinity stays one, in its row only; a NaN stays one, and does not stop the scaling.
#[test]
fn rows_that_are_not_finite_stay_so() {
    let x = [1e-9, f64::INFINITY, 1e-9, f64::NAN, 1e-9, 1e-9];
    let found = same_bits_everywhere(|device| {
        let (y, unscale) = (Tensor::<f16>::zeros(device, [3, 2]).unwrap(), Tensor::<f32>::zeros(device, [3]).unwrap());
        ops::scale_rows(&upload::<f32, 2>(device, [3, 2], &x), &y, &unscale).unwrap();
        y.to_vec().unwrap().into_iter().map(f16::to_bits).collect()
    });
    let found: Vec<f32> = found.into_iter().map(|bits| f16::from_bits(bits).to_f32()).collect();
    assert_eq!(found[1], f32::INFINITY);
    assert!(found[3].is_nan());
    assert!([found[2], found[4], found[5]].iter().all(|v| (64.0..128.0).contains(v)), "{found:?}");
}

fn by_loss_scale<T: Element>() {
    for n in [1, 7, 8, 1000, 20_011] {
        let x = widened(&stored::<T::Real>(&uniform(1, n, -1.0, 1.0)));
        let found = same_bits_everywhere(|device| {
            let scale = LossScale::new::<T>(device, &ChunkTable::new(device, &[5]).unwrap()).unwrap().unwrap();
            scale.restore(LossScaleState { scale: 1024.0, good_steps: 0, skipped: 0, skipped_in_epoch: 0 }).unwrap();
            let y = Tensor::<T>::zeros(device, [n]).unwrap();
            ops::scale_by_loss_scale(&upload::<T::Real, 1>(device, [n], &x), &scale, &y).unwrap();
            download(&y)
        });
        let expected: Vec<f64> = x.iter().map(|x| x * 1024.0).collect();
        assert_eq!(found, widened(&stored::<T>(&expected)));
    }
}

#[test]
fn gradients_carry_the_loss_scale() {
    by_loss_scale::<f16>();
    by_loss_scale::<bf16>();
    let device = Device::host().unwrap();
    assert!(LossScale::new::<f32>(&device, &ChunkTable::new(&device, &[5]).unwrap()).unwrap().is_none(), "f32 needs none");
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::host().unwrap();
    let (x, y) = (Tensor::<f32>::zeros(&device, [2, 3]).unwrap(), Tensor::<f16>::zeros(&device, [2, 3]).unwrap());
    let message = ops::scale_rows(&x, &y, &Tensor::zeros(&device, [3]).unwrap()).unwrap_err().to_string();
    assert!(message.contains("`unscale` is [3] but must be [2]"), "{message}");
}
