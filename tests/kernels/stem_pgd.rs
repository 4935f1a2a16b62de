//! `kernels/stem_pgd.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::{Element, Real};
use rocl::ops::{self, LinfStep, STEM_CHANNELS, StemStep};
use rocl::{Device, Tensor};

/// Images, height, width, filters: less than a tile, ragged ones, several; less than a chunk of filters, ragged, several.
const SHAPES: [[usize; 4]; 5] = [[1, 1, 1, 1], [2, 3, 5, 8], [1, 17, 33, 5], [2, 16, 16, 40], [1, 32, 32, 64]];
const SIZE: f64 = 0.007;
const RADIUS: f64 = 0.0314;

/// The gradient by the input of a 3×3 convolution of stride and padding 1, over the first three of its filters' channels.
fn gradient([n, h, w, k]: [usize; 4], dy: &[f64], filter: &[f64], channels: usize) -> Vec<f64> {
    let mut dx = vec![0.0; n * h * w * 3];
    for (i, dx) in dx.iter_mut().enumerate() {
        let (image, row, column, colour) = (i / (h * w * 3), i / (w * 3) % h, i / 3 % w, i % 3);
        for (r, s) in (0..9).map(|tap| (tap / 3, tap % 3)) {
            let (p, q) = (row + 1, column + 1);
            if p < r || q < s || p - r >= h || q - s >= w {
                continue;
            }
            let place = (image * h + p - r) * w + q - s;
            *dx += (0..k).map(|f| dy[place * k + f] * filter[((f * 3 + r) * 3 + s) * channels + colour]).sum::<f64>();
        }
    }
    dx
}

fn steps<T: Element>() {
    let (mean, std) = ([0.49, 0.48, 0.45], [0.2, 0.25, 0.3]);
    let real = |values: &[f64]| widened(&stored::<T::Real>(values));
    for (shape, normalised) in SHAPES.into_iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let [n, h, w, k] = shape;
        let channels = if T::NARROW { STEM_CHANNELS } else { 3 };
        let pixels = n * h * w;
        // Whole numbers: their sums are exact in f32 whatever the order, so that every sign is the true one, zeros included.
        let whole =
            |seed, count: usize, most: f64| uniform(seed, count, -most, most).iter().map(|v| v.round()).collect::<Vec<_>>();
        let (dy, filter) = (whole(1, pixels * k, 2.0), whole(2, k * 9 * channels, 3.0));
        let clean = real(&uniform(3, pixels * 3, 0.0, 1.0));
        let moved: Vec<f64> =
            uniform(4, pixels * 3, -0.04, 0.04).iter().zip(&clean).map(|(d, c)| (c + d).clamp(0.0, 1.0)).collect();
        let moved = real(&moved);
        let found = same_bits_everywhere(|device| {
            let vector = |values: &[f64]| upload::<T::Real, 1>(device, [3], values);
            let (mean, std) = (vector(&mean), vector(&std));
            let images = |values: &[f64]| upload::<T::Real, 4>(device, [n, h, w, 3], values);
            let (x, next) = (images(&moved), Tensor::<T>::zeros(device, [n, h, w, channels]).unwrap());
            let stem = StemStep {
                dy: &upload::<T, 4>(device, [n, h, w, k], &dy),
                filter: &upload::<T, 4>(device, [k, 3, 3, channels], &filter),
                next: Some(&next),
                statistics: normalised.then_some([&mean, &std]),
            };
            let step = LinfStep { size: T::Real::from_f64(SIZE), radius: T::Real::from_f64(RADIUS) };
            ops::stem_pgd_step(&stem, &images(&clean), &step, &x).unwrap();
            // As the kernels make it that this one stands in for.
            let expected = Tensor::<T>::zeros(device, [n, h, w, channels]).unwrap();
            let statistics = [&mean, &std];
            match x.same_type::<T>() {
                _ if T::NARROW => ops::stem_images(&x, normalised.then_some(statistics), &expected).unwrap(),
                Some(_) if normalised => ops::normalize(&x, &mean, &std, &expected).unwrap(),
                Some(x) => expected.copy_from(&x).unwrap(),
                None => unreachable!("one type unless narrow"),
            }
            assert_eq!(download(&next), download(&expected), "{}: the next input", T::NAME);
            x.to_vec().unwrap()
        });
        let slopes = gradient(shape, &dy, &filter, channels);
        let expected: Vec<f64> = (0..pixels * 3)
            .map(|i| {
                let sign = if slopes[i] == 0.0 { 0.0 } else { slopes[i].signum() };
                (moved[i] + SIZE * sign).clamp(0.0, 1.0).clamp(clean[i] - RADIUS, clean[i] + RADIUS)
            })
            .collect();
        assert!(k < 8 || slopes.iter().any(|slope| *slope != 0.0), "signs to be found");
        // The rounded step size and radius, and two additions of numbers below 1.04.
        assert_close(&format!("{} {shape:?}", T::NAME), &widened(&found), &expected, 4.0 * rounding::<T::Real>(), 1.0);
    }
}

#[test]
fn steps_equal_the_oracle() {
    steps::<f32>();
    steps::<f16>();
    steps::<bf16>();
    steps::<f64>();
}

/// Without a next input, x moves alike.
#[test]
fn the_next_input_may_be_left_out() {
    for_each_device(|device| {
        let run = |next: Option<&Tensor<f16>>| {
            let x = upload::<f32, 4>(device, [1, 5, 5, 3], &uniform(1, 75, 0.0, 1.0));
            let (dy, filter) = (
                upload::<f16, 4>(device, [1, 5, 5, 8], &uniform(2, 200, -1.0, 1.0)),
                upload::<f16, 4>(device, [8, 3, 3, 8], &uniform(3, 576, -1.0, 1.0)),
            );
            let stem = StemStep { dy: &dy, filter: &filter, next, statistics: None };
            let clean = upload::<f32, 4>(device, [1, 5, 5, 3], &uniform(1, 75, 0.0, 1.0));
            ops::stem_pgd_step(&stem, &clean, &LinfStep { size: 0.01, radius: 0.03 }, &x).unwrap();
            x.to_vec().unwrap()
        };
        let next = Tensor::<f16>::zeros(device, [1, 5, 5, 8]).unwrap();
        assert_eq!(run(None), run(Some(&next)));
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::host().unwrap();
    let tensor = |dims: [usize; 4]| Tensor::<f32>::zeros(&device, dims).unwrap();
    let (dy, x) = (tensor([1, 2, 2, 4]), tensor([1, 2, 2, 3]));
    let refusal = |filter: [usize; 4], x: &Tensor<f32>| {
        let stem = StemStep { dy: &dy, filter: &tensor(filter), next: None, statistics: None };
        let clean = tensor([1, 2, 2, 3]);
        ops::stem_pgd_step(&stem, &clean, &LinfStep { size: 0.1, radius: 0.1 }, x).unwrap_err().to_string()
    };
    let message = refusal([4, 3, 3, 4], &x);
    assert!(message.contains("`filter` has 4 channels but must have 3 or 8"), "{message}");
    let message = refusal([4, 5, 5, 3], &x);
    assert!(message.contains("`filter` is [4, 5, 5, 3] but must be [4, 3, 3, 3]"), "{message}");
    let message = refusal([4, 3, 3, 3], &tensor([1, 2, 3, 3]));
    assert!(message.contains("`x` is [1, 2, 3, 3] but must be [1, 2, 2, 3]"), "{message}");
}
