//! `kernels/restart.cu`.

use crate::support::*;
use rocl::element::Real;
use rocl::ops::{self, Outcome};
use rocl::{Device, Tensor};

/// An image's loss, and 1 where its class is right.
type Fate = (f64, i32);

/// Of the image that is there and of the one that comes, and whether it takes the place.
const PAIRS: [(Fate, Fate, bool); 9] = [
    ((1.0, 1), (0.5, 0), true),
    ((1.0, 0), (2.0, 1), false),
    ((1.0, 0), (2.0, 0), true),
    ((1.0, 1), (2.0, 1), true),
    ((1.0, 1), (1.0, 1), false),
    ((2.0, 0), (1.0, 0), false),
    ((1.0, 1), (f64::NAN, 1), false),
    ((f64::NEG_INFINITY, 1), (1.0, 1), true),
    ((-3.0, 0), (-2.0, 0), true),
];

fn outcome<R: Real>(device: &Device, of: impl Fn(usize) -> Fate) -> Outcome<R> {
    let n = PAIRS.len();
    let (loss, correct): (Vec<f64>, Vec<f64>) = (0..n).map(|i| (of(i).0, f64::from(of(i).1))).unzip();
    Outcome { loss: upload(device, [n], &loss), correct: upload(device, [n], &correct) }
}

fn keeps_the_worse<R: Real>() {
    let n = PAIRS.len();
    for columns in [1, 31, 3072] {
        let (x, worst) = (uniform(1, n * columns, 0.0, 1.0), uniform(2, n * columns, 0.0, 1.0));
        let bits = same_bits_everywhere(|device| {
            let (x, worst) = (upload::<R, 2>(device, [n, columns], &x), upload::<R, 2>(device, [n, columns], &worst));
            let (there, comes) = (outcome::<R>(device, |i| PAIRS[i].0), outcome::<R>(device, |i| PAIRS[i].1));
            ops::keep_worse(&x, &comes, &worst, &there).unwrap();
            let correct = there.correct.to_vec().unwrap();
            [worst.to_vec().unwrap(), there.loss.to_vec().unwrap(), correct].concat()
        });
        let taken = |i: usize| if PAIRS[i].2 { &x } else { &worst }[i * columns..(i + 1) * columns].iter().copied();
        let kept = |i: usize| if PAIRS[i].2 { PAIRS[i].1 } else { PAIRS[i].0 };
        let images = (0..n).flat_map(taken);
        let expected: Vec<f64> = images.chain((0..n).map(|i| kept(i).0)).chain((0..n).map(|i| kept(i).1.into())).collect();
        assert_eq!(widened(&bits), widened(&stored::<R>(&expected)), "{columns} columns");
    }
}

#[test]
fn the_worse_adversary_is_kept() {
    keeps_the_worse::<f32>();
    keeps_the_worse::<f64>();
}

#[test]
fn what_does_not_fit_is_refused() {
    for_each_device(|device| {
        let images = |n: usize| Tensor::<f32>::zeros(device, [n, 4]).unwrap();
        let of = |n: usize| Outcome { loss: Tensor::zeros(device, [n]).unwrap(), correct: Tensor::zeros(device, [n]).unwrap() };
        let message = ops::keep_worse(&images(2), &of(2), &images(3), &of(3)).unwrap_err().to_string();
        assert!(message.contains("`worst` is [3, 4] but `x` is [2, 4]"), "{message}");
        let message = ops::keep_worse(&images(2), &of(3), &images(2), &of(2)).unwrap_err().to_string();
        assert!(message.contains("`loss` is [3] but must be [2]"), "{message}");
    });
}
