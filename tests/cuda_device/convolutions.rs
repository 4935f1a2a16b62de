//! Convolutions and products through the libraries: which tensor is which operand, what is turned, split off, widened and added, against the CPU.

use crate::libraries;
use half::{bf16, f16};
use rocl::device::cudnn::{Form, Operation, Problem};
use rocl::device::record::record as record_calls;
use rocl::device::{Arithmetic, CudaOptions};
use rocl::element::Element;
use rocl::ops::{self, ConvShape, Epilogue};
use rocl::{Device, Tensor};

/// Tensors of -1, 0 and 1, of any shape. Sums of up to 100 products of them, and what is added behind, are whole numbers that every storage type
/// holds: so nothing is rounded, wherever an epilogue is split, and results have to be equal.
struct Operands<'a> {
    device: &'a Device,
}

impl Operands<'_> {
    fn draw<T: Element, const N: usize>(&self, seed: usize, shape: [usize; N]) -> Tensor<T> {
        let number = |i: usize| ((i * 31 + i / 5 * 7 + i / 11 + seed * 13) % 3) as f32 - 1.0;
        let bits: Vec<T> = (0..shape.iter().product()).map(|i| T::from_real(to_real::<T>(number(i)))).collect();
        Tensor::from_slice(self.device, shape, &bits).unwrap()
    }
}

fn to_real<T: Element>(value: f32) -> T::Real {
    <T::Real as rocl::element::Real>::from_f64(value.into())
}

fn wide<T: Element>(tensor: &Tensor<T>) -> Vec<f64> {
    tensor.to_vec().unwrap().iter().map(|v| rocl::element::Real::to_f64(v.to_real())).collect()
}

/// A convolution: images, size, channels, filters, filter size, stride, padding.
#[derive(Clone, Copy, Debug)]
struct Case(usize, usize, usize, usize, usize, usize, usize);

/// Same size, smaller and larger output, single pixels, and a stride, with channels as 16-bit engines want them.
const CASES: [Case; 6] = [
    Case(2, 6, 8, 16, 3, 1, 1),
    Case(1, 5, 8, 8, 3, 1, 0),
    Case(1, 5, 8, 8, 3, 1, 2),
    Case(2, 4, 16, 8, 1, 1, 0),
    Case(2, 7, 8, 16, 3, 2, 1),
    Case(2, 6, 8, 16, 1, 2, 0),
];

impl Case {
    fn out(&self) -> usize {
        let Case(_, size, _, _, r, stride, pad) = *self;
        (size + 2 * pad - r) / stride + 1
    }
}

/// Everything that a convolution is asked for in any pass, with everything that may follow it.
fn results<T: Element>(device: &Device, case: Case) -> Vec<(String, Vec<f64>)> {
    let Case(n, size, c, k, r, stride, pad) = case;
    let (draw, out) = (Operands { device }, case.out());
    let image = |seed| draw.draw::<T, 4>(seed, [n, size, size, c]);
    let filter = draw.draw::<T, 4>(2, [k, r, r, c]);
    let output = |seed| draw.draw::<T, 4>(seed, [n, out, out, k]);
    let bias = draw.draw::<T, 1>(4, [k]);
    let mut results = Vec::new();
    for parts in 0..8 {
        let [with_bias, with_residual, relu] = [0, 1, 2].map(|bit| parts >> bit & 1 != 0);
        let (x, residual, y) = (image(1), output(5), output(6));
        let epilogue = Epilogue { bias: with_bias.then_some(&bias), residual: with_residual.then_some(&residual), relu };
        ops::conv_fprop(&x, &filter, stride, pad, epilogue, &y).unwrap();
        results.push((format!("fprop, bias {with_bias}, residual {with_residual}, relu {relu}"), wide(&y)));
    }
    for parts in 0..4 {
        let [with_residual, with_mask] = [0, 1].map(|bit| parts >> bit & 1 != 0);
        let (dy, residual, mask, dx) = (output(3), image(7), image(8), image(9));
        let (residual, mask) = (with_residual.then_some(&residual), with_mask.then_some(&mask));
        ops::conv_dgrad(&dy, &filter, stride, pad, residual, mask, &dx).unwrap();
        results.push((format!("dgrad, residual {with_residual}, mask {with_mask}"), wide(&dx)));
    }
    for accumulate in [false, true] {
        let dw = draw.draw::<T::Real, 4>(10, [k, r, r, c]);
        ops::conv_wgrad(&image(1), &output(3), stride, pad, accumulate, &dw).unwrap();
        results.push((format!("wgrad, accumulate {accumulate}"), wide(&dw)));
    }
    results
}

/// The forms of all plans made on a device.
fn forms(device: &Device) -> Vec<Form> {
    libraries::cudnn(device).plans().iter().map(|plan| plan.pattern().form).collect()
}

fn agree<T: Element>(options: CudaOptions) {
    let host = Device::host().unwrap();
    let mut met = Vec::new();
    for case in CASES {
        let Some(gpu) = libraries::device(options) else { return };
        for ((what, expected), (_, found)) in results::<T>(&host, case).into_iter().zip(results::<T>(&gpu, case)) {
            assert_eq!(found, expected, "{what}: {case:?} in {}", T::NAME);
        }
        met.extend(forms(&gpu));
    }
    assert!([Form::Plain, Form::ZeroBias, Form::TurnedFilter].iter().all(|form| met.contains(form)), "{met:?}");
    assert_eq!(met.contains(&Form::NarrowGradient), size_of::<T>() == 2);
}

#[test]
fn convolutions_are_those_of_the_host() {
    agree::<f32>(CudaOptions::default());
    agree::<f32>(CudaOptions { tf32: true, ..CudaOptions::default() });
    agree::<f16>(CudaOptions::default());
    agree::<bf16>(CudaOptions::default());
}

/// A plan that only overwrites dw, as one could come from another card's engines, still serves to add to it.
#[test]
fn a_gradient_that_cannot_be_added_is_added_by_a_kernel() {
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    let cudnn = libraries::cudnn(&device);
    let shape = ConvShape { n: 2, h: 6, w: 6, c: 8, k: 16, r: 3, s: 3, stride: 1, pad: 1 };
    let alone = Problem { operation: Operation::WGRAD, shape, arithmetic: Arithmetic::F32 };
    cudnn.plan(alone).unwrap();
    let mut record = cudnn.record();
    record.plans[0].problem.operation = Operation::Wgrad { accumulate: true };
    cudnn.replay(&record).unwrap();
    let gradient = |device: &Device| {
        let draw = Operands { device };
        let (x, dy) = (draw.draw::<f32, 4>(1, [2, 6, 6, 8]), draw.draw(2, [2, 6, 6, 16]));
        let dw = draw.draw(3, [16, 3, 3, 8]);
        let calls = record_calls(|| ops::conv_wgrad(&x, &dy, 1, 1, true, &dw)).unwrap();
        (dw.to_vec().unwrap(), calls.iter().map(|call| call.name).collect::<Vec<_>>())
    };
    let (found, calls) = gradient(&device);
    assert_eq!(calls, ["conv_wgrad", "add_filter_gradient"]);
    assert_eq!(found, gradient(&Device::host().unwrap()).0);
}

/// A gradient of 70,000 in one place: more than `f16` holds, in which cuDNN writes it.
#[test]
fn an_overflow_of_a_narrow_gradient_is_infinite_in_the_wide_one() {
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    let filled = |shape: [usize; 4], value: f32| {
        Tensor::from_slice(&device, shape, &vec![f16::from_f32(value); shape.iter().product()]).unwrap()
    };
    let (x, dy) = (filled([1, 1, 1, 8], 200.0), filled([1, 1, 1, 8], 350.0));
    for accumulate in [false, true] {
        let dw = Tensor::from_slice(&device, [8, 1, 1, 8], &[1.0f32; 64]).unwrap();
        ops::conv_wgrad(&x, &dy, 1, 0, accumulate, &dw).unwrap();
        assert_eq!(dw.to_vec().unwrap(), [f32::INFINITY; 64], "accumulate {accumulate}");
        // A later pass of the step does not bring it back among the finite.
        ops::conv_wgrad(&x, &filled([1, 1, 1, 8], -350.0), 1, 0, true, &dw).unwrap();
        assert!(dw.to_vec().unwrap().iter().all(|value| !value.is_finite()));
    }
}

/// All products of a layer of 5 → 6 with 7 rows.
fn products<T: Element>(device: &Device) -> Vec<Vec<f64>> {
    let draw = Operands { device };
    let (x, w, dy) = (draw.draw::<T, 2>(1, [7, 5]), draw.draw::<T, 2>(2, [6, 5]), draw.draw::<T, 2>(3, [7, 6]));
    let (bias, y, dx) = (draw.draw::<T, 1>(4, [6]), draw.draw::<T, 2>(5, [7, 6]), draw.draw::<T, 2>(6, [7, 5]));
    let mut results = Vec::new();
    for (bias, relu) in [(None, false), (None, true), (Some(&bias), false), (Some(&bias), true)] {
        ops::linear(&x, &w, bias, relu, &y).unwrap();
        results.push(wide(&y));
    }
    ops::linear_dgrad(&dy, &w, &dx).unwrap();
    let dw = draw.draw::<T::Real, 2>(7, [6, 5]);
    ops::linear_wgrad(&x, &dy, &dw).unwrap();
    results.extend([wide(&dx), wide(&dw)]);
    results
}

#[test]
fn products_are_those_of_the_host() {
    let (host, gpu) = (Device::host().unwrap(), libraries::with_products(CudaOptions::default()));
    assert_eq!(products::<f32>(&gpu), products::<f32>(&host));
    assert_eq!(products::<f16>(&gpu), products::<f16>(&host));
    assert_eq!(products::<bf16>(&gpu), products::<bf16>(&host));
}

#[test]
fn products_take_tensors_of_one_device_apart_from_the_result() {
    let (gpu, other) = (libraries::with_products(CudaOptions::default()), Device::host().unwrap());
    let zeros = |device: &Device, shape: [usize; 2]| Tensor::<f32>::zeros(device, shape).unwrap();
    let (x, w) = (zeros(&gpu, [4, 4]), zeros(&gpu, [4, 4]));
    let refusal = |x: &Tensor<f32>, w: &Tensor<f32>, y: &Tensor<f32>| ops::linear(x, w, None, false, y).unwrap_err().to_string();
    assert!(refusal(&x, &w, &x).contains("overlaps an input"));
    assert!(refusal(&x, &w, &w).contains("overlaps an input"));
    assert!(refusal(&zeros(&other, [4, 4]), &w, &zeros(&gpu, [4, 4])).contains("different devices"));
    assert!(refusal(&x, &w, &zeros(&other, [4, 4])).contains("different devices"));
}

/// A recorded call does the same again.
#[test]
fn library_calls_can_be_repeated() {
    let Some(device) = libraries::device(CudaOptions::default()) else { return };
    let draw = Operands { device: &device };
    let (x, filter, bias) = (draw.draw::<f16, 4>(1, [2, 6, 6, 8]), draw.draw(2, [16, 3, 3, 8]), draw.draw(3, [16]));
    let (weight, y, z) = (draw.draw::<f16, 2>(4, [8, 16]), draw.draw(5, [2, 6, 6, 16]), draw.draw(6, [72, 8]));
    let run = || {
        ops::conv_fprop(&x, &filter, 1, 1, Epilogue { bias: Some(&bias), residual: None, relu: true }, &y)?;
        ops::linear(&y.slice(0, [72, 16])?, &weight, None, false, &z)
    };
    let calls = record_calls(run).unwrap();
    let names: Vec<_> = calls.iter().map(|call| (call.name, call.shape.as_str())).collect();
    assert_eq!(names, [("conv_fprop", "2×6×6×8→16 3×3 + bias + relu"), ("linear_fprop", "72×16→8")]);
    let expected = (wide(&y), wide(&z));
    y.clear().unwrap();
    z.clear().unwrap();
    calls.iter().for_each(|call| call.repeat().unwrap());
    assert_eq!((wide(&y), wide(&z)), expected);
}
