//! A device that fuses no epilogue agrees with one that fuses all: operation by operation, and over a step of pretraining. So does every other device,
//! whatever it fuses.

mod common;

use common::devices;
use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::data::{Split, textures};
use rocl::device::HostOptions;
use rocl::element::{Element, Real};
use rocl::ops::{self, Epilogue};
use rocl::recipe::Recipe;
use rocl::recipe::pretrain::Pretraining;
use rocl::{Device, Tensor};

fn device(fused_epilogues: bool) -> Device {
    Device::host_with(HostOptions { fused_epilogues, ..HostOptions::default() }).unwrap()
}

/// Where operands come from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operands {
    /// Uniform in [-1, 1).
    Uniform,
    /// Multiples of 1/8 up to 1, whose sums `f32` holds exactly.
    Grid,
}

impl Operands {
    fn draw<T: Element>(self, device: &Device, seed: u64, shape: &[usize]) -> Tensor<T> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shape: [usize; 4] = std::array::from_fn(|axis| shape.get(axis).copied().unwrap_or(1));
        let mut value = || match self {
            Self::Uniform => rng.random_range(-1.0..1.0),
            Self::Grid => f64::from(rng.random_range(-8i8..=8)) / 8.0,
        };
        let values: Vec<T> = (0..shape.iter().product()).map(|_| T::from_real(T::Real::from_f64(value()))).collect();
        Tensor::from_slice(device, shape, &values).unwrap()
    }
}

/// A convolution: images, size, channels, filters, filter size, stride.
type Case = (usize, usize, usize, usize, usize, usize);

/// Vectors and ragged ends, few channels and many, sums in several blocks of the depth, strides that leave pixels without a term.
const CASES: [Case; 5] =
    [(2, 6, 3, 5, 3, 1), (2, 7, 8, 16, 3, 2), (1, 5, 64, 3, 3, 1), (3, 4, 16, 8, 1, 2), (2, 1, 24, 10, 1, 1)];

/// y = relu(x ∗ filter + bias + residual) with the parts that the bits of `parts` ask for.
fn forward<T: Element>(device: &Device, operands: Operands, (n, size, c, k, r, stride): Case, parts: u32) -> Vec<T> {
    let out = (size + r / 2 * 2 - r) / stride + 1;
    let (x, filter) = (operands.draw::<T>(device, 1, &[n, size, size, c]), operands.draw::<T>(device, 2, &[k, r, r, c]));
    let bias = operands.draw::<T>(device, 3, &[k]).slice(0, [k]).unwrap();
    let (residual, y) = (operands.draw::<T>(device, 4, &[n, out, out, k]), operands.draw::<T>(device, 5, &[n, out, out, k]));
    let [with_bias, with_residual, relu] = [0, 1, 2].map(|bit| parts >> bit & 1 != 0);
    let epilogue = Epilogue { bias: with_bias.then_some(&bias), residual: with_residual.then_some(&residual), relu };
    ops::conv_fprop(&x, &filter, stride, r / 2, epilogue, &y).unwrap();
    y.to_vec().unwrap()
}

/// dx = (mask > 0) · (gradient + residual), likewise.
fn backward<T: Element>(device: &Device, operands: Operands, (n, size, c, k, r, stride): Case, parts: u32) -> Vec<T> {
    let out = (size + r / 2 * 2 - r) / stride + 1;
    let (dy, filter) = (operands.draw::<T>(device, 1, &[n, out, out, k]), operands.draw::<T>(device, 2, &[k, r, r, c]));
    let [residual, mask, dx] = [3, 4, 5].map(|seed| operands.draw::<T>(device, seed, &[n, size, size, c]));
    let [residual, mask] = [(0, residual), (1, mask)].map(|(bit, tensor)| (parts >> bit & 1 != 0).then_some(tensor));
    ops::conv_dgrad(&dy, &filter, stride, r / 2, residual.as_ref(), mask.as_ref(), &dx).unwrap();
    dx.to_vec().unwrap()
}

fn bits<T: Element>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// In the types that are not rounded for storage the arithmetic is the same, sum by sum, so the bits are. But a fused sum starts from the
/// bias, to which an unfused one is added last: then equal bits are asked for where every sum is exact.
fn same_bits<T: Element>() {
    let (fused, unfused) = (device(true), device(false));
    for (case, operands) in CASES.into_iter().flat_map(|case| [Operands::Uniform, Operands::Grid].map(|o| (case, o))) {
        for parts in (0..8).filter(|parts| operands == Operands::Grid || parts & 1 == 0) {
            let [a, b] = [&fused, &unfused].map(|device| bits(&forward::<T>(device, operands, case, parts)));
            assert_eq!(a, b, "y of {case:?}, {operands:?}, parts {parts}");
        }
        for parts in 0..4 {
            let [a, b] = [&fused, &unfused].map(|device| bits(&backward::<T>(device, operands, case, parts)));
            assert_eq!(a, b, "dx of {case:?}, {operands:?}, parts {parts}");
        }
    }
}

#[test]
fn unfused_epilogues_have_the_same_bits() {
    same_bits::<f32>();
    same_bits::<f64>();
}

/// In 16 bits the sum without epilogue is rounded to storage, and the result once more; fused, the result alone. `unit` is the relative
/// error of a rounding. What is added to a sum is at most 2; sums in `f32` are exact here, by their operands.
fn within_roundings<T: Element>(other: &Device, unit: f64) {
    let fused = device(true);
    let check = |compute: &dyn Fn(&Device, u32) -> Vec<T>, parts: u32, what: &str| {
        let wide = |values: Vec<T>| values.into_iter().map(|v| v.to_real().to_f64()).collect::<Vec<_>>();
        let (a, b, sums) = (wide(compute(&fused, parts)), wide(compute(other, parts)), wide(compute(&fused, 0)));
        for ((a, b), sum) in a.iter().zip(&b).zip(&sums) {
            assert!((a - b).abs() <= 3.01 * unit * (sum.abs() + 2.0), "{what}, parts {parts}: {b} instead of {a}");
        }
    };
    for case in CASES {
        (0..8).for_each(|parts| check(&|device, parts| forward::<T>(device, Operands::Grid, case, parts), parts, "y"));
        (0..4).for_each(|parts| check(&|device, parts| backward::<T>(device, Operands::Grid, case, parts), parts, "dx"));
    }
}

#[test]
fn unfused_epilogues_of_16_bits_differ_by_a_rounding() {
    within_roundings::<f16>(&device(false), f16::EPSILON.to_f64() / 2.0);
    within_roundings::<bf16>(&device(false), bf16::EPSILON.to_f64() / 2.0);
}

#[test]
fn every_device_has_the_same_epilogues() {
    fn on_each<T: Element>(epsilon: f64) {
        devices::in_type::<T>().iter().for_each(|device| within_roundings::<T>(device, epsilon / 2.0));
    }
    on_each::<f32>(f32::EPSILON.into());
    on_each::<f16>(f16::EPSILON.to_f64());
    on_each::<bf16>(bf16::EPSILON.to_f64());
}

/// In f64, where the order in which a bias is added costs 10⁻¹⁶: far less than the distance from zero of any gradient whose sign the attack
/// takes, or of any input of a rectifier.
#[test]
fn a_step_of_pretraining_needs_no_fused_epilogue() {
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.network.width = 2;
    recipe.network.projection_hidden = Some(16);
    recipe.network.projection = 8;
    recipe.train.batch_size = 8;
    recipe.attack.steps = 2;
    let data = textures::render(textures::SEED, Split::Train, 8);
    let [fused, unfused] = [true, false].map(|fused_epilogues| {
        let run = Pretraining::<f64>::new(&device(fused_epilogues), &recipe, &data).unwrap();
        run.begin_epoch(0, 0).unwrap();
        run.step().unwrap();
        let mut values = run.images().to_vec().unwrap();
        values.extend(run.network().parameters().values().to_vec().unwrap());
        values.extend(run.noted(1).unwrap().to_vec().unwrap());
        values
    });
    assert_ne!(fused, unfused, "the bias is added elsewhere");
    for (a, b) in fused.iter().zip(&unfused) {
        assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{b} instead of {a}");
    }
}

#[test]
fn copies_stay_on_their_device() {
    let [a, b] = [true, false].map(|fused| Tensor::<f32>::zeros(&device(fused), [4]).unwrap());
    let message = a.copy_from(&b).unwrap_err().to_string();
    assert!(message.contains("different devices; copy through the host"), "{message}");
}
