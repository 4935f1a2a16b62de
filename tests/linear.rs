//! Fully connected layers and convolutions as operations on tensors: values against plain loops, refusals, overlap.
//!
//! `host_conv.rs` tests the arithmetic underneath in every shape; here it is the wiring: which tensor goes where, which shape is asked for.

mod common;

use common::devices;
use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::device::HostOptions;
use rocl::element::{Element, Real};
use rocl::ops::{self, Epilogue};
use rocl::{Device, Tensor};

/// Multiples of 1/8 up to 1: all types hold them exactly, and sums of some hundred products are exact in `f32`. So the tests ask for
/// equality after the one rounding to the storage type.
fn grid(seed: u64, len: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| f64::from(rng.random_range(-8i8..=8)) / 8.0).collect()
}

fn upload<T: Element, const N: usize>(device: &Device, shape: [usize; N], values: &[f64]) -> Tensor<T> {
    let stored: Vec<T> = values.iter().map(|&v| T::from_real(T::Real::from_f64(v))).collect();
    Tensor::from_slice(device, shape, &stored).unwrap()
}

fn download<T: Element>(tensor: &Tensor<T>) -> Vec<f64> {
    tensor.to_vec().unwrap().iter().map(|v| v.to_real().to_f64()).collect()
}

/// Every expected value, rounded to the storage type.
fn rounded<T: Element>(values: &[f64]) -> Vec<f64> {
    values.iter().map(|&v| T::from_real(T::Real::from_f64(v)).to_real().to_f64()).collect()
}

/// Asserts that what a device has computed is what `expected` rounds to. A CUDA device may round a 16-bit sum before a kernel adds what follows it, and a
/// GPU's libraries round in f32 where their algorithm is not a plain sum: three roundings of the storage type at most, of numbers of that size.
#[track_caller]
fn assert_computed<T: Element>(device: &Device, found: &[f64], expected: &[f64], what: &str) {
    let expected = rounded::<T>(expected);
    if device.is_host() || !T::NARROW && !devices::is_gpu(device) {
        return assert_eq!(found, expected, "{}: {what}", T::NAME);
    }
    let epsilon = match T::NAME {
        "f32" => f32::EPSILON.into(),
        "f16" => f16::EPSILON.to_f64(),
        _ => bf16::EPSILON.to_f64(),
    };
    let scale = expected.iter().fold(0.0, |most: f64, e| most.max(e.abs())) + 2.0;
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() <= 3.01 * epsilon / 2.0 * scale, "{}: {what}[{i}] is {f} instead of {e} on {device:?}", T::NAME);
    }
}

/// A device that leaves epilogues to kernels. 16-bit types are then rounded twice, so it is held to these values in `f32` only.
fn unfused() -> Device {
    Device::host_with(HostOptions { fused_epilogues: false, ..HostOptions::default() }).unwrap()
}

fn linear_layer<T: Element>(device: &Device, n: usize, inputs: usize, outputs: usize) {
    let (x, w, b) = (grid(1, n * inputs), grid(2, outputs * inputs), grid(3, outputs));
    let (dy, start) = (grid(4, n * outputs), grid(5, outputs * inputs));
    let what = format!("{} [{n}, {inputs}] to {outputs}", T::NAME);

    let (x_t, w_t, b_t) = (
        upload::<T, 2>(device, [n, inputs], &x),
        upload::<T, 2>(device, [outputs, inputs], &w),
        upload::<T, 1>(device, [outputs], &b),
    );
    for (bias, relu) in [(false, false), (true, false), (true, true)] {
        // What was there before is overwritten.
        let y_t = upload::<T, 2>(device, [n, outputs], &vec![f64::NAN; n * outputs]);
        ops::linear(&x_t, &w_t, bias.then_some(&b_t), relu, &y_t).unwrap();
        let expected: Vec<f64> = (0..n * outputs)
            .map(|i| {
                let (row, out) = (i / outputs, i % outputs);
                let sum: f64 = (0..inputs).map(|k| x[row * inputs + k] * w[out * inputs + k]).sum();
                let sum = if bias { sum + b[out] } else { sum };
                if relu { sum.max(0.0) } else { sum }
            })
            .collect();
        assert_computed::<T>(device, &download(&y_t), &expected, &format!("{what}: y"));
    }

    let dy_t = upload::<T, 2>(device, [n, outputs], &dy);
    let dx_t = upload::<T, 2>(device, [n, inputs], &vec![f64::NAN; n * inputs]);
    ops::linear_dgrad(&dy_t, &w_t, &dx_t).unwrap();
    let expected: Vec<f64> = (0..n * inputs)
        .map(|i| (0..outputs).map(|out| dy[i / inputs * outputs + out] * w[out * inputs + i % inputs]).sum())
        .collect();
    assert_computed::<T>(device, &download(&dx_t), &expected, &format!("{what}: dx"));

    let dw_t = upload::<T::Real, 2>(device, [outputs, inputs], &start);
    ops::linear_wgrad(&x_t, &dy_t, &dw_t).unwrap();
    let expected: Vec<f64> = (0..outputs * inputs)
        .map(|i| {
            let sum: f64 = (0..n).map(|row| dy[row * outputs + i / inputs] * x[row * inputs + i % inputs]).sum();
            start[i] + sum
        })
        .collect();
    assert_computed::<T::Real>(device, &download(&dw_t), &expected, &format!("{what}: dW is added to what is there"));
}

#[test]
fn linear_layers_are_matrix_products() {
    fn on_each_device<T: Element>(n: usize, inputs: usize, outputs: usize) {
        devices::in_type::<T>().iter().for_each(|device| linear_layer::<T>(device, n, inputs, outputs));
    }
    for (n, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (17, 64, 10), (8, 33, 128)] {
        linear_layer::<f32>(&unfused(), n, inputs, outputs);
        on_each_device::<f32>(n, inputs, outputs);
        on_each_device::<f64>(n, inputs, outputs);
        on_each_device::<f16>(n, inputs, outputs);
        on_each_device::<bf16>(n, inputs, outputs);
    }
}

fn zeros<const N: usize>(device: &Device, shape: [usize; N]) -> Tensor<f32> {
    Tensor::zeros(device, shape).unwrap()
}

/// Refused with a message that names the operation and contains `expected`.
#[track_caller]
fn refused(result: rocl::Result<()>, expected: &str) {
    let message = result.unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn linear_layers_refuse_other_shapes() {
    let device = Device::host().unwrap();
    let (x, w, b, y) = (zeros(&device, [4, 3]), zeros(&device, [5, 3]), zeros(&device, [5]), zeros(&device, [4, 5]));
    ops::linear(&x, &w, Some(&b), false, &y).unwrap();
    refused(ops::linear(&x, &zeros(&device, [5, 4]), None, false, &y), "linear: rows of 3 values do not fit a weight for 4");
    refused(ops::linear(&x, &w, Some(&zeros(&device, [4])), false, &y), "`bias` is [4] but must be [5]");
    refused(ops::linear(&x, &w, None, false, &zeros(&device, [5, 4])), "`y` is [5, 4] but must be [4, 5]");
    refused(ops::linear(&zeros(&device, [12]), &w, None, false, &y), "a tensor of 2 dimensions is needed, not [12]");
    refused(ops::linear_dgrad(&y, &w, &zeros(&device, [4, 4])), "linear_dgrad: rows of 4 values");
    refused(ops::linear_dgrad(&zeros(&device, [3, 5]), &w, &x), "`dy` is [3, 5] but must be [4, 5]");
    refused(ops::linear_wgrad(&x, &zeros(&device, [3, 5]), &w), "`dy` is [3, 5] but must be [4, 5]");
    refused(ops::linear_wgrad(&x, &y, &zeros(&device, [3, 5])), "`dw` is [3, 5] but must be [5, 3]");
}

#[test]
fn overlap_and_foreign_devices_are_refused() {
    let device = Device::host().unwrap();
    let memory = zeros(&device, [6, 4]);
    let w = zeros(&device, [4, 4]);
    let (x, y) = (memory.rows(0..4).unwrap(), memory.rows(2..6).unwrap());
    refused(ops::linear(&x, &w, None, false, &y), "overlaps an input");
    refused(ops::linear_dgrad(&y, &w, &x), "overlaps an input");
    refused(ops::linear_wgrad(&x, &zeros(&device, [4, 4]), &y), "overlaps an input");
    // Neighbours do not overlap.
    ops::linear(&memory.rows(0..3).unwrap(), &w, None, false, &memory.rows(3..6).unwrap()).unwrap();

    let other = Device::host().unwrap();
    refused(ops::linear(&zeros(&other, [4, 4]), &w, None, false, &zeros(&device, [4, 4])), "different devices");
}

/// One convolution as an operation, 3×3 with stride 2, against its definition.
fn convolution<T: Element>(device: &Device) {
    let (n, size, c, k, stride, pad) = (2, 5, 3, 4, 2, 1);
    let out = 3;
    let (x, w, b) = (grid(1, n * size * size * c), grid(2, k * 9 * c), grid(3, k));
    let (dy, residual, start) = (grid(4, n * out * out * k), grid(5, n * out * out * k), grid(6, k * 9 * c));
    let mask = grid(7, x.len());
    let mut y: Vec<f64> = (0..dy.len()).map(|i| b[i % k] + residual[i]).collect();
    let (mut dx, mut dw) = (x.clone(), start.clone());
    for image in 0..n {
        for (u, v) in (0..out).flat_map(|u| (0..out).map(move |v| (u, v))) {
            for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                let (row, column) = (u * stride + i, v * stride + j);
                if !(pad..pad + size).contains(&row) || !(pad..pad + size).contains(&column) {
                    continue;
                }
                for (filter, channel) in (0..k).flat_map(|f| (0..c).map(move |ch| (f, ch))) {
                    let at_x = ((image * size + row - pad) * size + column - pad) * c + channel;
                    let at_w = ((filter * 3 + i) * 3 + j) * c + channel;
                    let at_y = ((image * out + u) * out + v) * k + filter;
                    y[at_y] += x[at_x] * w[at_w];
                    dx[at_x] += dy[at_y] * w[at_w];
                    dw[at_w] += dy[at_y] * x[at_x];
                }
            }
        }
    }
    let y: Vec<f64> = y.iter().map(|v| v.max(0.0)).collect();
    let dx: Vec<f64> = dx.iter().zip(&mask).map(|(d, m)| if *m > 0.0 { *d } else { 0.0 }).collect();

    let x_t = upload::<T, 4>(device, [n, size, size, c], &x);
    let w_t = upload::<T, 4>(device, [k, 3, 3, c], &w);
    let b_t = upload::<T, 1>(device, [k], &b);
    let (dy_t, residual_t) = (upload::<T, 4>(device, [n, out, out, k], &dy), upload::<T, 4>(device, [n, out, out, k], &residual));
    let y_t = Tensor::<T>::zeros(device, [n, out, out, k]).unwrap();
    let epilogue = Epilogue { bias: Some(&b_t), residual: Some(&residual_t), relu: true };
    ops::conv_fprop(&x_t, &w_t, stride, pad, epilogue, &y_t).unwrap();
    assert_computed::<T>(device, &download(&y_t), &y, "y");

    let dx_t = Tensor::<T>::zeros(device, [n, size, size, c]).unwrap();
    let mask_t = upload::<T, 4>(device, [n, size, size, c], &mask);
    ops::conv_dgrad(&dy_t, &w_t, stride, pad, Some(&x_t), Some(&mask_t), &dx_t).unwrap();
    assert_computed::<T>(device, &download(&dx_t), &dx, "dx");

    for accumulate in [true, false] {
        let dw_t = upload::<T::Real, 4>(device, [k, 3, 3, c], &start);
        ops::conv_wgrad(&x_t, &dy_t, stride, pad, accumulate, &dw_t).unwrap();
        let expected: Vec<f64> = dw.iter().zip(&start).map(|(sum, start)| if accumulate { *sum } else { sum - start }).collect();
        let (found, what) = (download(&dw_t), format!("dw, accumulated {accumulate}"));
        // Libraries that write gradients in 16 bits only have rounded them before they are widened.
        if devices::is_gpu(device) {
            assert_computed::<T>(device, &found, &expected, &what);
        } else {
            assert_computed::<T::Real>(device, &found, &expected, &what);
        }
    }
}

#[test]
fn convolutions_are_their_definition() {
    convolution::<f32>(&unfused());
    devices::in_type::<f32>().iter().for_each(convolution::<f32>);
    devices::in_type::<f64>().iter().for_each(convolution::<f64>);
    devices::in_type::<f16>().iter().for_each(convolution::<f16>);
    devices::in_type::<bf16>().iter().for_each(convolution::<bf16>);
}

#[test]
fn convolutions_refuse_other_shapes() {
    let device = Device::host().unwrap();
    let (x, w, y) = (zeros(&device, [2, 8, 8, 3]), zeros(&device, [4, 3, 3, 3]), zeros(&device, [2, 8, 8, 4]));
    let forward = |x: &Tensor<f32>, w: &Tensor<f32>, stride, epilogue: Epilogue<f32>, y: &Tensor<f32>| {
        ops::conv_fprop(x, w, stride, 1, epilogue, y)
    };
    let plain = Epilogue::default();
    forward(&x, &w, 1, plain, &y).unwrap();
    refused(forward(&x, &zeros(&device, [4, 3, 3, 4]), 1, plain, &y), "images have 3 channels but the filters 4");
    refused(forward(&x, &w, 2, plain, &y), "`y` is [2, 8, 8, 4] but must be [2, 4, 4, 4]");
    refused(forward(&x, &zeros(&device, [4, 27]), 1, plain, &y), "a tensor of 4 dimensions is needed");
    let bias = zeros(&device, [3]);
    refused(forward(&x, &w, 1, Epilogue { bias: Some(&bias), ..plain }, &y), "`bias` is [3] but must be [4]");
    refused(forward(&x, &w, 1, Epilogue { residual: Some(&x), ..plain }, &y), "`residual` is [2, 8, 8, 3]");
    refused(forward(&x, &zeros(&device, [4, 11, 11, 3]), 1, plain, &zeros(&device, [2, 0, 0, 4])), "no output");
    refused(forward(&x, &w, 0, plain, &zeros(&device, [2, 0, 0, 4])), "no output");
    refused(forward(&y, &zeros(&device, [4, 3, 3, 4]), 1, plain, &y), "overlaps an input");
    refused(ops::conv_dgrad(&y, &w, 1, 1, None, Some(&y), &x), "`mask` is [2, 8, 8, 4]");
    refused(ops::conv_dgrad(&x, &w, 1, 1, None, None, &x), "`dy` is [2, 8, 8, 3]");
    refused(ops::conv_wgrad(&x, &x, 1, 1, false, &w), "`dy` is [2, 8, 8, 3]");
}
