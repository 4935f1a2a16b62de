//! `kernels/reduce.cu`.

use crate::support::*;
use rocl::element::Real;
use rocl::{Tensor, ops};

fn sums<R: Real>() {
    for n in [1, 31, 256, 257, 5000] {
        let values = stored::<R>(&uniform(n as u64, n, -1.0, 1.0));
        let exact: f64 = widened(&values).iter().sum();
        let bits = same_bits_everywhere(|device| {
            let (values, sum) = (Tensor::from_slice(device, [n], &values).unwrap(), Tensor::zeros(device, [1]).unwrap());
            ops::weighted_sum(&values, 0.25, false, &sum).unwrap();
            let once = sum.to_vec().unwrap()[0];
            ops::weighted_sum(&values, 2.0, true, &sum).unwrap();
            vec![once, sum.to_vec().unwrap()[0]]
        });
        // A value passes through at most n/256 + 13 additions, each of numbers that random signs keep below the root of n.
        let tolerance = (n as f64 / 256.0 + 13.0) * rounding::<R>();
        assert_close("sum", &widened(&bits), &[0.25 * exact, 2.25 * exact], tolerance, 3.0 * (n as f64).sqrt());
    }
}

#[test]
fn sum_equals_the_oracle() {
    sums::<f32>();
    sums::<f64>();
}
