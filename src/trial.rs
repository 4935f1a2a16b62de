//! Whether a device computes what the CPU does: a try of each kind of work that training hands to it.

use crate::device::Graph;
use crate::element::{Element, Real};
use crate::ops::{self, ConvShape, Epilogue};
use crate::{Device, Error, Result, Tensor};
use half::f16;

/// Something to compute, and its result.
type Try = fn(&Device) -> Result<Vec<f64>>;

/// What is tried, in a word.
const TRIES: [(&str, Try); 10] = [
    ("a sum by a kernel", sum),
    ("a convolution in fp32", convolution::<f32>),
    ("a convolution in fp16", convolution::<f16>),
    ("its filters' gradient in fp32", filter_gradient::<f32>),
    ("its filters' gradient in fp16", filter_gradient::<f16>),
    ("its input's gradient in fp32", input_gradient::<f32>),
    ("its input's gradient in fp16", input_gradient::<f16>),
    ("a linear layer in fp32", linear::<f32>),
    ("a linear layer in fp16", linear::<f16>),
    ("a step as a graph", graph),
];

/// Has `device` compute each kind of work in small, and returns how many there were. Whatever the order in which it adds up, the results have to be
/// the CPU's to the bit.
///
/// # Errors
/// [`Error::Device`] when a result is another, or what the device refuses, with what was tried.
pub fn try_out(device: &Device) -> Result<usize> {
    let host = Device::host()?;
    for (what, compute) in TRIES {
        let found = compute(device).map_err(|error| Error::Device(format!("it cannot compute {what}: {error}")))?;
        let expected = compute(&host)?;
        if let Some(at) = (0..expected.len()).find(|&at| found[at] != expected[at]) {
            let (found, expected) = (found[at], expected[at]);
            return Err(Error::Device(format!(
                "it computes {what} wrongly: {found} instead of {expected} at {at}; see what nvidia-smi says, and run compute-sanitizer"
            )));
        }
    }
    Ok(TRIES.len())
}

/// -1, 0 and 1 in an order without a pattern. Sums of fewer than 1000 products of them are whole numbers that every storage type holds.
fn draw<E: Element, const N: usize>(device: &Device, seed: usize, shape: [usize; N]) -> Result<Tensor<E>> {
    let number = |i: usize| ((i * 31 + i / 5 * 7 + i / 11 + seed * 13) % 3) as f64 - 1.0;
    let values: Vec<E> = (0..shape.iter().product()).map(|i| E::from_real(E::Real::from_f64(number(i)))).collect();
    Tensor::from_slice(device, shape, &values)
}

fn wide<E: Element>(tensor: &Tensor<E>) -> Result<Vec<f64>> {
    Ok(tensor.to_vec()?.iter().map(|value| value.to_real().to_f64()).collect())
}

fn sum(device: &Device) -> Result<Vec<f64>> {
    let (values, sum) = (draw::<f32, 1>(device, 1, [1000])?, Tensor::zeros(device, [1])?);
    ops::weighted_sum(&values, 1.0, false, &sum)?;
    wide(&sum)
}

/// With channels as engines for 16 bits want them.
const SHAPE: ConvShape = ConvShape { n: 2, h: 6, w: 6, c: 8, k: 16, r: 3, s: 3, stride: 1, pad: 1 };
const IMAGE: [usize; 4] = [SHAPE.n, SHAPE.h, SHAPE.w, SHAPE.c];
const FILTER: [usize; 4] = [SHAPE.k, SHAPE.r, SHAPE.s, SHAPE.c];
const OUTPUT: [usize; 4] = [SHAPE.n, SHAPE.h, SHAPE.w, SHAPE.k];

/// With all that may follow it.
fn convolution<T: Element>(device: &Device) -> Result<Vec<f64>> {
    let (x, filter, y) = (draw::<T, 4>(device, 1, IMAGE)?, draw(device, 2, FILTER)?, draw(device, 3, OUTPUT)?);
    let (bias, residual) = (draw(device, 4, [SHAPE.k])?, draw(device, 5, OUTPUT)?);
    let epilogue = Epilogue { bias: Some(&bias), residual: Some(&residual), relu: true };
    ops::conv_fprop(&x, &filter, SHAPE.stride, SHAPE.pad, epilogue, &y)?;
    wide(&y)
}

/// Added to what is there.
fn filter_gradient<T: Element>(device: &Device) -> Result<Vec<f64>> {
    let (x, dy, dw) = (draw::<T, 4>(device, 1, IMAGE)?, draw(device, 2, OUTPUT)?, draw(device, 3, FILTER)?);
    ops::conv_wgrad(&x, &dy, SHAPE.stride, SHAPE.pad, true, &dw)?;
    wide(&dw)
}

/// With a residual, for which filters are turned, and a mask.
fn input_gradient<T: Element>(device: &Device) -> Result<Vec<f64>> {
    let (dy, filter, dx) = (draw::<T, 4>(device, 1, OUTPUT)?, draw(device, 2, FILTER)?, draw(device, 3, IMAGE)?);
    let (residual, mask) = (draw(device, 4, IMAGE)?, draw(device, 5, IMAGE)?);
    ops::conv_dgrad(&dy, &filter, SHAPE.stride, SHAPE.pad, Some(&residual), Some(&mask), &dx)?;
    wide(&dx)
}

/// Forwards and both ways backwards, with as many outputs as CIFAR-10 has classes: no multiple of what matrix engines like.
fn linear<T: Element>(device: &Device) -> Result<Vec<f64>> {
    let [rows, inputs, outputs] = [6, 24, 10];
    let (x, weight) = (draw::<T, 2>(device, 1, [rows, inputs])?, draw::<T, 2>(device, 2, [outputs, inputs])?);
    let (bias, dy) = (draw(device, 3, [outputs])?, draw::<T, 2>(device, 4, [rows, outputs])?);
    let mut results = Vec::new();
    for (bias, relu) in [(None, false), (Some(&bias), false), (None, true), (Some(&bias), true)] {
        let y = draw::<T, 2>(device, 5, [rows, outputs])?;
        ops::linear(&x, &weight, bias, relu, &y)?;
        results.extend(wide(&y)?);
    }
    let (dx, dw) = (draw::<T, 2>(device, 6, [rows, inputs])?, draw(device, 7, [outputs, inputs])?);
    ops::linear_dgrad(&dy, &weight, &dx)?;
    ops::linear_wgrad(&x, &dy, &dw)?;
    results.extend(wide(&dx)?);
    results.extend(wide(&dw)?);
    Ok(results)
}

/// A convolution, a kernel and a product, launched one by one, captured, and replayed: each run adds to the same gradient.
fn graph(device: &Device) -> Result<Vec<f64>> {
    let (x, dy, dw) = (draw::<f32, 4>(device, 1, IMAGE)?, draw(device, 2, OUTPUT)?, draw(device, 3, FILTER)?);
    let (matrix, factor) = (x.slice(0, [SHAPE.n, SHAPE.h * SHAPE.w * SHAPE.c])?, draw::<f32, 2>(device, 4, [10, 288])?);
    let (y, total) = (Tensor::zeros(device, [SHAPE.n, 10])?, Tensor::zeros(device, [1])?);
    let mut graph = Graph::new(device);
    for _ in 0..Graph::EAGER_RUNS + 2 {
        graph.run(|| {
            ops::conv_wgrad(&x, &dy, SHAPE.stride, SHAPE.pad, true, &dw)?;
            ops::linear(&matrix, &factor, None, false, &y)?;
            ops::weighted_sum(&dw, 1.0, true, &total)
        })?;
    }
    Ok([wide(&dw)?, wide(&y)?, wide(&total)?].concat())
}
