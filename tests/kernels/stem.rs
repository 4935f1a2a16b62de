//! `kernels/stem.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::ops::{self, Epilogue, STEM_CHANNELS};
use rocl::{Device, Tensor};

/// Images, height, width: ragged ends, and whole images.
const SHAPES: [[usize; 3]; 4] = [[1, 1, 1], [2, 3, 5], [1, 31, 7], [3, 32, 32]];

/// Rounded once to the arithmetic type.
fn real<T: Element>(values: &[f64]) -> Vec<f64> {
    widened(&stored::<T::Real>(values))
}

fn images<T: Element>() {
    let (mean, std) = (real::<T>(&[0.49, 0.48, 0.45]), real::<T>(&[0.2, 0.25, 0.3]));
    for ([n, h, w], normalised) in SHAPES.into_iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let pixels = n * h * w;
        let x = real::<T>(&uniform(1, pixels * 3, 0.0, 1.0));
        let vector = |device: &Device, values: &[f64]| upload::<T::Real, 1>(device, [3], values);
        let found = same_bits_everywhere(|device| {
            let (mean, std) = (vector(device, &mean), vector(device, &std));
            let y = Tensor::<T>::zeros(device, [n, h, w, STEM_CHANNELS]).unwrap();
            let x = upload::<T::Real, 4>(device, [n, h, w, 3], &x);
            ops::stem_images(&x, normalised.then_some([&mean, &std]), &y).unwrap();
            bytemuck::cast_slice::<T, u8>(&y.to_vec().unwrap()).to_vec()
        });
        let found = widened(bytemuck::cast_slice::<u8, T>(&found));
        let value = |i: usize| if normalised { (x[i] - mean[i % 3]) / std[i % 3] } else { x[i] };
        // Normalising rounds twice, of numbers below 5. Of what the first number leaves over, half its last place, the second keeps all but half of its own
        // last place; below 2⁻¹⁴ that of f16 is 2⁻²⁴.
        let least = if T::NAME == "f16" { 2f64.powi(-25) } else { 0.0 };
        for (pixel, parts) in found.chunks(STEM_CHANNELS).enumerate() {
            for c in 0..3 {
                let exact = value(pixel * 3 + c);
                let allowed = if normalised { 10.0 * rounding::<T::Real>() } else { 0.0 }
                    + (exact.abs() * rounding::<T>() * rounding::<T>()).max(least);
                assert!((parts[c] + parts[3 + c] - exact).abs() <= allowed, "{}: {exact} became {parts:?}", T::NAME);
                assert!((parts[c] - exact).abs() <= (rounding::<T>() + 2.0 * rounding::<T::Real>()) * exact.abs().max(1.0));
            }
            assert_eq!(parts[6..], [0.0, 0.0]);
        }
    }
}

fn images_backward<T: Element>() {
    let std = real::<T>(&[0.2, 0.25, 0.3]);
    for ([n, h, w], given) in SHAPES.into_iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let pixels = n * h * w;
        let dy = widened(&stored::<T>(&uniform(1, pixels * STEM_CHANNELS, -1.0, 1.0)));
        let powers: Vec<f64> = (0..n).map(|i| 2f64.powi(3 - 20 * i as i32)).collect();
        let found = same_bits_everywhere(|device| {
            let (std, unscale) = (upload::<T::Real, 1>(device, [3], &std), upload::<T::Real, 1>(device, [n], &powers));
            let dx = Tensor::<T::Real>::zeros(device, [n, h, w, 3]).unwrap();
            let dy = upload::<T, 4>(device, [n, h, w, STEM_CHANNELS], &dy);
            ops::stem_images_backward(&dy, given.then_some(&std), given.then_some(&unscale), &dx).unwrap();
            dx.to_vec().unwrap()
        });
        for (i, found) in widened(&found).into_iter().enumerate() {
            let (pixel, c) = (i / 3, i % 3);
            let gradient = dy[pixel * STEM_CHANNELS + c];
            let exact = if given { gradient / std[c] * powers[pixel / (h * w)] } else { gradient };
            // One quotient, correctly rounded; powers of two are exact.
            assert!((found - exact).abs() <= rounding::<T::Real>() * exact.abs(), "{i}: {found} instead of {exact}");
        }
    }
}

fn filters<T: Element>() {
    for [k, r] in [[1, 1], [5, 3], [64, 3]] {
        let taps = k * r * r;
        let (filter, gradient) =
            (widened(&stored::<T>(&uniform(1, taps * 3, -1.0, 1.0))), real::<T>(&uniform(2, taps * 3, -1.0, 1.0)));
        let repeated = real::<T>(&uniform(3, taps * STEM_CHANNELS, -1.0, 1.0));
        let found = same_bits_everywhere(|device| {
            let eight = Tensor::<T>::zeros(device, [k, r, r, STEM_CHANNELS]).unwrap();
            ops::stem_filters(&upload::<T, 4>(device, [k, r, r, 3], &filter), &eight).unwrap();
            let sum = upload::<T::Real, 4>(device, [k, r, r, 3], &gradient);
            ops::stem_filters_backward(&upload::<T::Real, 4>(device, [k, r, r, STEM_CHANNELS], &repeated), &sum).unwrap();
            [download(&eight), download(&sum)].concat()
        });
        let (eight, sum) = found.split_at(taps * STEM_CHANNELS);
        for (parts, filter) in eight.chunks(STEM_CHANNELS).zip(filter.chunks(3)) {
            assert_eq!(parts, [filter, filter, &[0.0, 0.0]].concat());
        }
        let expected: Vec<f64> = (0..taps * 3)
            .map(|i| gradient[i] + (repeated[i / 3 * STEM_CHANNELS + i % 3] + repeated[i / 3 * STEM_CHANNELS + 3 + i % 3]))
            .collect();
        // Two additions of numbers up to 3.
        assert_close("gradient", sum, &expected, 2.0 * rounding::<T::Real>(), 3.0);
    }
}

#[test]
fn a_pixel_is_the_sum_of_its_parts() {
    images::<f16>();
    images::<bf16>();
    images::<f32>();
    images::<f64>();
}

#[test]
fn gradients_of_images_equal_the_oracle() {
    images_backward::<f16>();
    images_backward::<bf16>();
    images_backward::<f32>();
    images_backward::<f64>();
}

#[test]
fn filters_are_repeated_and_their_gradients_added() {
    filters::<f16>();
    filters::<bf16>();
    filters::<f32>();
    filters::<f64>();
}

/// What it is for: the convolution of an image in two parts is that of the image, far closer than that of the rounded image.
#[test]
fn the_stem_sees_more_than_a_rounded_image() {
    let device = Device::host().unwrap();
    let (n, size, k) = (2, 8, 4);
    let x = upload::<f32, 4>(&device, [n, size, size, 3], &uniform(1, n * size * size * 3, 0.0, 1.0));
    let filter = upload::<f16, 4>(&device, [k, 3, 3, 3], &uniform(2, k * 27, -1.0, 1.0));
    let sum = |x: &[f64], y: usize, row: usize, column: usize, filters: &[f64]| -> f64 {
        let taps = (0..27).map(|tap| (tap / 9, tap / 3 % 3, tap % 3));
        let inside = taps.filter(|(r, s, _)| (1..=size).contains(&(row + r)) && (1..=size).contains(&(column + s)));
        inside.map(|(r, s, c)| x[((y * size + row + r - 1) * size + column + s - 1) * 3 + c] * filters[(r * 3 + s) * 3 + c]).sum()
    };
    let (pixels, filters) = (download(&x), download(&filter));
    let exact: Vec<f64> = (0..n * size * size * k)
        .map(|i| sum(&pixels, i / (size * size * k), i / (size * k) % size, i / k % size, &filters[i % k * 27..][..27]))
        .collect();

    let (parts, repeated) =
        (Tensor::<f16>::zeros(&device, [n, size, size, 8]).unwrap(), Tensor::<f16>::zeros(&device, [k, 3, 3, 8]).unwrap());
    ops::stem_images(&x, None, &parts).unwrap();
    ops::stem_filters(&filter, &repeated).unwrap();
    // In f32, so that only the images are rounded.
    let wide = |tensor: &Tensor<f16>, shape: [usize; 4]| upload::<f32, 4>(&device, shape, &download(tensor));
    let y = Tensor::<f32>::zeros(&device, [n, size, size, k]).unwrap();
    let convolve = |x: &Tensor<f32>, filter: &Tensor<f32>| {
        ops::conv_fprop(x, filter, 1, 1, Epilogue::default(), &y).unwrap();
        relative_l2(&download(&y), &exact)
    };
    let split = convolve(&wide(&parts, [n, size, size, 8]), &wide(&repeated, [k, 3, 3, 8]));
    let rounded = upload::<f16, 4>(&device, [n, size, size, 3], &pixels);
    let plain = convolve(&wide(&rounded, [n, size, size, 3]), &wide(&filter, [k, 3, 3, 3]));
    // Rounding to f16 costs some 2⁻¹³; the rest of a pixel has an error of 2⁻²⁵, and f32's sums some 2⁻²⁴.
    assert!(split <= 4.0 * rounding::<f32>() && plain > 100.0 * split, "{split:e} and {plain:e}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::host().unwrap();
    let tensor = |dims: [usize; 4]| Tensor::<f32>::zeros(&device, dims).unwrap();
    let refusal = ops::stem_images(&tensor([1, 2, 2, 3]), None, &tensor([1, 2, 2, 3])).unwrap_err().to_string();
    assert!(refusal.contains("`y` is [1, 2, 2, 3] but must be [1, 2, 2, 8]"), "{refusal}");
    let refusal = ops::stem_filters(&tensor([4, 3, 3, 4]), &tensor([4, 3, 3, 8])).unwrap_err().to_string();
    assert!(refusal.contains("[4, 3, 3, 4] does not have 3 channels"), "{refusal}");
    let short = Tensor::<f32>::zeros(&device, [1]).unwrap();
    let refusal =
        ops::stem_images_backward(&tensor([2, 2, 2, 8]), None, Some(&short), &tensor([2, 2, 2, 3])).unwrap_err().to_string();
    assert!(refusal.contains("`unscale` is [1] but must be [2]"), "{refusal}");
}
