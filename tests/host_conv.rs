//! The host convolution against the definition of convolution, summed in `f64`.

use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::device::conv::ConvShape;
use rocl::device::host::conv::{Filter, dgrad, dgrad_packed_len, fprop, fprop_packed_len, pack_dgrad, pack_fprop, wgrad};
use rocl::element::Element;

/// Multiples of 1/16 up to 2, which every storage type holds exactly. Their products are multiples of 2⁻⁸ up to 4, so sums of
/// up to 2¹⁴ of them are exact in `f32` in any order: the tests below demand equality, and a wrong tap cannot hide in a tolerance.
fn values<T: Storage>(rng: &mut ChaCha8Rng, len: usize) -> Vec<T> {
    (0..len).map(|_| T::store(f64::from(rng.random_range(-32i8..=32)) / 16.0)).collect()
}

/// An element type as the oracle sees it.
trait Storage: Element + PartialEq + std::fmt::Debug {
    fn store(value: f64) -> Self;
    fn exact(self) -> f64;
}

macro_rules! storage {
    ($($type:ident),*) => {
        $(impl Storage for $type {
            fn store(value: f64) -> Self {
                Self::from_real(value as <Self as Element>::Real)
            }
            fn exact(self) -> f64 {
                f64::from(self)
            }
        })*
    };
}

storage!(f32, f64, f16, bf16);

/// Visits every product of a convolution: the indices into x, filter and y that belong together.
fn taps(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let ConvShape { n, h, w, c, k, r, s, stride, pad } = *shape;
    for image in 0..n {
        for (u, v) in (0..shape.out_h()).flat_map(|u| (0..shape.out_w()).map(move |v| (u, v))) {
            for filter in 0..k {
                for (i, j) in (0..r).flat_map(|i| (0..s).map(move |j| (i, j))) {
                    let (row, column) = (u * stride + i, v * stride + j);
                    if row < pad || column < pad || row - pad >= h || column - pad >= w {
                        continue;
                    }
                    for channel in 0..c {
                        visit(
                            ((image * h + row - pad) * w + column - pad) * c + channel,
                            ((filter * r + i) * s + j) * c + channel,
                            ((image * shape.out_h() + u) * shape.out_w() + v) * k + filter,
                        );
                    }
                }
            }
        }
    }
}

/// Asserts that every element is the exact value, rounded once to the type it is stored in.
fn assert_exact<S: Storage>(what: &str, shape: &ConvShape, found: &[S], expected: &[f64]) {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(*found, S::store(*expected), "{what} {} {shape:?}: element {index}", S::NAME);
    }
}

fn check<T: Storage<Real: Storage>>(shape: &ConvShape, seed: u64) {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let (x, filter): (Vec<T>, Vec<T>) = (values(rng, shape.x_len()), values(rng, shape.filter_len()));
    let (dy, bias): (Vec<T>, Vec<T>) = (values(rng, shape.y_len()), values(rng, shape.k));
    let (y_residual, dx_residual): (Vec<T>, Vec<T>) = (values(rng, shape.y_len()), values(rng, shape.x_len()));
    let mask: Vec<T> = values(rng, shape.x_len());
    let start: Vec<T> = values(rng, shape.filter_len());

    let mut y_sums = vec![0.0; shape.y_len()];
    let mut dx_sums = vec![0.0; shape.x_len()];
    let mut dw_sums = vec![0.0; shape.filter_len()];
    taps(shape, |i, j, o| {
        y_sums[o] += x[i].exact() * filter[j].exact();
        dx_sums[i] += dy[o].exact() * filter[j].exact();
        dw_sums[j] += dy[o].exact() * x[i].exact();
    });

    let nan = T::store(f64::NAN);
    // Packed for another batch.
    let larger = ConvShape { n: shape.n + 5, ..*shape };
    let mut fprop_packed = vec![T::Real::store(f64::NAN); fprop_packed_len::<T>(&larger)];
    let mut dgrad_packed = vec![T::Real::store(f64::NAN); dgrad_packed_len::<T>(&larger)];
    pack_fprop(&larger, &filter, &mut fprop_packed).unwrap();
    pack_dgrad(&larger, &filter, &mut dgrad_packed).unwrap();
    for options in 0..8 {
        let (has_bias, has_residual, relu) = (options & 1 != 0, options & 2 != 0, options & 4 != 0);
        let (bias, residual) = (has_bias.then_some(&*bias), has_residual.then_some(&*y_residual));
        let expected: Vec<f64> = (0..shape.y_len())
            .map(|i| y_sums[i] + bias.map_or(0.0, |b| b[i % shape.k].exact()) + residual.map_or(0.0, |r| r[i].exact()))
            .map(|value| if relu { value.max(0.0) } else { value })
            .collect();
        for filter in [Filter::Plain(&filter), Filter::Packed(&fprop_packed)] {
            let mut y = vec![nan; shape.y_len()];
            fprop(shape, &x, filter, bias, residual, relu, &mut y).unwrap();
            assert_exact("fprop", shape, &y, &expected);
        }
    }
    for options in 0..4 {
        let (has_residual, has_mask) = (options & 1 != 0, options & 2 != 0);
        let (residual, mask) = (has_residual.then_some(&*dx_residual), has_mask.then_some(&*mask));
        let expected: Vec<f64> = (0..shape.x_len())
            .map(|i| (i, dx_sums[i] + residual.map_or(0.0, |r| r[i].exact())))
            .map(|(i, value)| if mask.is_some_and(|m| m[i].exact() <= 0.0) { 0.0 } else { value })
            .collect();
        for filter in [Filter::Plain(&filter), Filter::Packed(&dgrad_packed)] {
            let mut dx = vec![nan; shape.x_len()];
            dgrad(shape, &dy, filter, residual, mask, &mut dx).unwrap();
            assert_exact("dgrad", shape, &dx, &expected);
        }
    }
    for accumulate in [false, true] {
        let mut dw: Vec<T::Real> =
            if accumulate { start.iter().map(|v| v.to_real()).collect() } else { vec![T::Real::store(f64::NAN); start.len()] };
        wgrad(shape, &x, &dy, accumulate, &mut dw).unwrap();
        let expected: Vec<f64> =
            dw_sums.iter().zip(&start).map(|(sum, start)| if accumulate { sum + start.exact() } else { *sum }).collect();
        assert_exact("wgrad", shape, &dw, &expected);
    }
}

fn shape(n: usize, [h, w]: [usize; 2], [c, k]: [usize; 2], r: usize, stride: usize, pad: usize) -> ConvShape {
    ConvShape { n, h, w, c, k, r, s: r, stride, pad }
}

/// Small sizes in every combination that treats an edge differently.
fn ragged() -> Vec<ConvShape> {
    let mut shapes = Vec::new();
    for (n, size) in [(1, [1, 1]), (1, [7, 5]), (2, [4, 4]), (3, [5, 8]), (2, [3, 9])] {
        for channels in [[1, 1], [3, 8], [5, 17], [8, 3], [17, 5]] {
            for (r, stride, pad) in [(3, 1, 1), (3, 2, 1), (3, 1, 0), (1, 1, 0), (1, 2, 0), (1, 1, 1), (2, 3, 1), (3, 2, 2)] {
                if size.iter().all(|size| size + 2 * pad >= r) {
                    shapes.push(shape(n, size, channels, r, stride, pad));
                }
            }
        }
    }
    // A filter that is not square.
    shapes.push(ConvShape { n: 2, h: 6, w: 5, c: 3, k: 4, r: 1, s: 3, stride: 1, pad: 0 });
    shapes.push(ConvShape { n: 2, h: 6, w: 5, c: 3, k: 4, r: 3, s: 1, stride: 2, pad: 1 });
    shapes
}

/// Sizes that reach several bands, blocks, panels and tasks.
fn large() -> Vec<ConvShape> {
    vec![
        shape(3, [32, 32], [3, 16], 3, 1, 1),
        shape(2, [32, 32], [8, 8], 3, 1, 1),
        shape(2, [32, 32], [16, 32], 3, 2, 1),
        shape(1, [19, 33], [70, 66], 3, 1, 1),
        shape(2, [16, 16], [24, 130], 1, 2, 0),
        shape(19, [4, 4], [130, 72], 3, 1, 1),
        // More than a band may copy, in either type and with any vectors.
        shape(19, [4, 4], [600, 8], 3, 1, 1),
        shape(19, [4, 4], [8, 600], 3, 1, 1),
        shape(5, [3, 3], [64, 300], 3, 2, 1),
    ]
}

#[test]
fn every_direction_matches_the_definition_on_ragged_shapes() {
    for (seed, shape) in ragged().iter().enumerate() {
        check::<f32>(shape, seed as u64);
        check::<f64>(shape, seed as u64);
        check::<f16>(shape, seed as u64);
        check::<bf16>(shape, seed as u64);
    }
}

#[test]
fn every_direction_matches_the_definition_on_large_shapes() {
    for (seed, shape) in large().iter().enumerate() {
        check::<f32>(shape, seed as u64);
        check::<f64>(shape, seed as u64);
    }
    check::<f16>(&large()[2], 0);
    check::<bf16>(&large()[2], 0);
}

/// `⟨dy, conv x⟩ = ⟨dgrad dy, x⟩ = ⟨wgrad(x, dy), filter⟩`, on sizes too large for the definition.
#[test]
fn the_gradients_are_adjoint_to_the_convolution() {
    for shape in [
        shape(4, [32, 32], [16, 24], 3, 1, 1),
        shape(3, [33, 31], [20, 40], 3, 2, 1),
        shape(3, [16, 16], [64, 128], 1, 2, 0),
        shape(2, [4, 4], [512, 256], 3, 1, 1),
    ] {
        let rng = &mut ChaCha8Rng::seed_from_u64(7);
        let x: Vec<f64> = (0..shape.x_len()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let filter: Vec<f64> = (0..shape.filter_len()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let dy: Vec<f64> = (0..shape.y_len()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), filter.clone());
        fprop(&shape, &x, Filter::Plain(&filter), None, None, false, &mut y).unwrap();
        dgrad(&shape, &dy, Filter::Plain(&filter), None, None, &mut dx).unwrap();
        wgrad(&shape, &x, &dy, false, &mut dw).unwrap();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let [forward, input, weights] = [dot(&dy, &y), dot(&dx, &x), dot(&dw, &filter)];
        // Rounding of sums of up to 10⁵ terms of size 10: far above 1e-9, far below what a missing tap would change.
        assert!((forward - input).abs() < 1e-8, "{shape:?}: ⟨dy, y⟩ = {forward}, ⟨dx, x⟩ = {input}");
        assert!((forward - weights).abs() < 1e-8, "{shape:?}: ⟨dy, y⟩ = {forward}, ⟨dw, w⟩ = {weights}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for shape in large() {
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let mut random = |len| -> Vec<f32> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (x, filter, dy) = (random(shape.x_len()), random(shape.filter_len()), random(shape.y_len()));
        let results = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), filter.clone());
                fprop(&shape, &x, Filter::Plain(&filter), None, Some(&dy), true, &mut y).unwrap();
                dgrad(&shape, &dy, Filter::Plain(&filter), None, Some(&x), &mut dx).unwrap();
                wgrad(&shape, &x, &dy, true, &mut dw).unwrap();
                [y, dx, dw].map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        });
        assert!(results[0] == results[1] && results[0] == results[2], "{shape:?}");
    }
}

#[test]
fn an_image_gets_the_same_bits_in_any_batch() {
    let one = shape(1, [8, 8], [40, 24], 3, 1, 1);
    let all = ConvShape { n: 9, ..one };
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    let mut random = |len| -> Vec<f32> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let (x, filter) = (random(all.x_len()), random(all.filter_len()));
    let (mut y_all, mut y_one) = (vec![0.0; all.y_len()], vec![0.0; one.y_len()]);
    fprop(&all, &x, Filter::Plain(&filter), None, None, false, &mut y_all).unwrap();
    for image in 0..all.n {
        fprop(&one, &x[image * one.x_len()..][..one.x_len()], Filter::Plain(&filter), None, None, false, &mut y_one).unwrap();
        assert_eq!(y_one, y_all[image * one.y_len()..][..one.y_len()], "image {image}");
    }
}

#[test]
fn relu_and_mask_treat_nan_as_the_device_kernels_do() {
    let shape = shape(1, [1, 1], [1, 1], 1, 1, 0);
    let mut out = [0.0f32];
    fprop(&shape, &[f32::NAN], Filter::Plain(&[1.0]), None, None, true, &mut out).unwrap();
    assert!(out[0].is_nan(), "a ReLU that hides a NaN hides a diverged run");
    dgrad(&shape, &[1.0f32], Filter::Plain(&[1.0]), None, Some(&[f32::NAN]), &mut out).unwrap();
    assert_eq!(out[0], 0.0, "a mask that is not positive keeps nothing");
}

#[test]
fn an_empty_batch_is_no_error() {
    let shape = shape(0, [4, 4], [3, 2], 3, 1, 1);
    let (filter, mut dw) = (vec![1.0f32; shape.filter_len()], vec![1.0; shape.filter_len()]);
    fprop(&shape, &[], Filter::Plain(&filter), None, None, false, &mut []).unwrap();
    dgrad(&shape, &[], Filter::Plain(&filter), None, None, &mut []).unwrap();
    wgrad::<f32>(&shape, &[], &[], true, &mut dw).unwrap();
    assert!(dw.iter().all(|v| *v == 1.0));
    wgrad::<f32>(&shape, &[], &[], false, &mut dw).unwrap();
    assert!(dw.iter().all(|v| *v == 0.0));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let good = shape(1, [4, 4], [2, 3], 3, 1, 0);
    let (x, filter, mut y) = (vec![0.0f32; good.x_len()], vec![0.0; good.filter_len()], vec![0.0; good.y_len()]);
    let error = fprop(&good, &x[1..], Filter::Plain(&filter), None, None, false, &mut y).unwrap_err().to_string();
    assert!(error.contains("x has 31 elements") && error.contains("pass that many"), "{error}");
    for bad in [ConvShape { r: 5, ..good }, ConvShape { stride: 0, ..good }, ConvShape { c: 0, ..good }] {
        let error = fprop(&bad, &x, Filter::Plain(&filter), None, None, false, &mut y).unwrap_err().to_string();
        assert!(error.contains("has no output"), "{error}");
    }
}
