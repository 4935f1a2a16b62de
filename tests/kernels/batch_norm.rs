//! `kernels/batch_norm.cu` and `kernels/batch_norm_eval.cu`.

use crate::support::*;
use half::{bf16, f16};
use rocl::element::Element;
use rocl::ops::{self, BnParameters, BnRunning, BnSaved};
use rocl::{Device, Tensor};

/// Rows and channels: ragged, vectors and not, one chunk and several, more chunks than 32 and chunks longer than 32 rows.
const SHAPES: [(usize, usize); 8] = [(2, 1), (5, 3), (32, 8), (33, 16), (100, 13), (1000, 24), (300, 120), (131_073 + 40, 2)];
const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Inputs, rounded to the storage type: the oracle and the kernel start from the same numbers.
struct Case {
    rows: usize,
    channels: usize,
    x: Vec<f64>,
    dy: Vec<f64>,
    residual: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    running_mean: Vec<f64>,
    running_var: Vec<f64>,
}

impl Case {
    fn new<T: Element>((rows, channels): (usize, usize)) -> Self {
        let n = rows * channels;
        let stored_t = |seed, low, high| widened(&stored::<T>(&uniform(seed, n, low, high)));
        let stored_real = |seed, low, high| widened(&stored::<T::Real>(&uniform(seed, channels, low, high)));
        Self {
            rows,
            channels,
            x: stored_t(1, -1.0, 2.0),
            dy: stored_t(2, -1.0, 1.0),
            residual: stored_t(3, -1.0, 1.0),
            gamma: stored_real(4, 0.5, 1.5),
            beta: stored_real(5, -0.5, 0.5),
            running_mean: stored_real(6, -0.5, 0.5),
            running_var: stored_real(7, 0.5, 2.0),
        }
    }

    fn column(&self, values: &[f64], c: usize) -> Vec<f64> {
        values.iter().skip(c).step_by(self.channels).copied().collect()
    }

    /// Mean and biased variance of a channel, in two passes.
    fn moments(&self, c: usize) -> (f64, f64) {
        let x = self.column(&self.x, c);
        let mean = sum(x.iter().copied()) / self.rows as f64;
        (mean, sum(x.iter().map(|v| (v - mean).powi(2))) / self.rows as f64)
    }

    fn all_moments(&self) -> (Vec<f64>, Vec<f64>) {
        (0..self.channels).map(|c| self.moments(c)).unzip()
    }

    fn normalised(&self, mean: &[f64], var: &[f64], residual: bool, relu: bool) -> Vec<f64> {
        let at = |(i, x): (usize, &f64)| {
            let c = i % self.channels;
            let y = self.gamma[c] * (x - mean[c]) / (var[c] + EPS).sqrt()
                + self.beta[c]
                + if residual { self.residual[i] } else { 0.0 };
            if relu { y.max(0.0) } else { y }
        };
        self.x.iter().enumerate().map(at).collect()
    }

    fn upload<T: Element>(&self, device: &Device) -> Uploaded<T> {
        let matrix = |values: &[f64]| upload::<T, 2>(device, [self.rows, self.channels], values);
        let vector = |values: &[f64]| upload::<T::Real, 1>(device, [self.channels], values);
        Uploaded {
            x: matrix(&self.x),
            dy: matrix(&self.dy),
            residual: matrix(&self.residual),
            y: matrix(&vec![0.0; self.x.len()]),
            dx: matrix(&vec![0.0; self.x.len()]),
            d_residual: matrix(&vec![0.0; self.x.len()]),
            gamma: vector(&self.gamma),
            beta: vector(&self.beta),
            running_mean: vector(&self.running_mean),
            running_var: vector(&self.running_var),
            d_gamma: vector(&vec![1.0; self.channels]),
            d_beta: vector(&vec![-1.0; self.channels]),
            // Room for more rows than there are: the workspace of a larger batch serves a smaller one.
            saved: BnSaved::new(device, self.rows + 7, self.channels).unwrap(),
        }
    }
}

pub struct Uploaded<T: Element> {
    pub x: Tensor<T>,
    pub dy: Tensor<T>,
    residual: Tensor<T>,
    y: Tensor<T>,
    pub dx: Tensor<T>,
    d_residual: Tensor<T>,
    gamma: Tensor<T::Real>,
    beta: Tensor<T::Real>,
    running_mean: Tensor<T::Real>,
    running_var: Tensor<T::Real>,
    pub d_gamma: Tensor<T::Real>,
    pub d_beta: Tensor<T::Real>,
    pub saved: BnSaved<T::Real>,
}

impl<T: Element> Uploaded<T> {
    pub fn parameters(&self) -> BnParameters<'_, T::Real> {
        BnParameters { gamma: &self.gamma, beta: &self.beta }
    }

    fn running(&self) -> BnRunning<'_, T::Real> {
        BnRunning { mean: &self.running_mean, var: &self.running_var }
    }

    fn forward(&self, residual: bool, relu: bool) {
        ops::bn_statistics(&self.x, Some(self.running()), MOMENTUM, EPS, &self.saved).unwrap();
        ops::bn_apply(&self.x, self.parameters(), &self.saved, residual.then_some(&self.residual), relu, &self.y).unwrap();
    }

    /// The mask and the residual's gradient that [`ops::bn_backward`] is given behind a rectifier.
    pub fn behind(&self, relu: bool) -> [Option<&Tensor<T>>; 2] {
        [relu.then_some(&self.y), relu.then_some(&self.d_residual)]
    }

    fn backward(&self, relu: bool) -> rocl::Result<()> {
        let [mask, d_residual] = self.behind(relu);
        ops::bn_backward(
            &self.dy,
            &self.x,
            mask,
            self.parameters(),
            &self.saved,
            &self.d_gamma,
            &self.d_beta,
            &self.dx,
            d_residual,
        )
    }
}

/// Sums of at most 130,000 terms, chunk by chunk: errors of single additions, relative to terms of order one, add up to some tens of
/// roundings of the arithmetic type; results are then rounded once to the storage type.
fn tolerance<T: Element>() -> f64 {
    50.0 * rounding::<T::Real>() + 1.5 * rounding::<T>()
}

fn statistics_and_apply<T: Element + PartialEq + std::fmt::Debug>() {
    for shape in SHAPES {
        let case = Case::new::<T>(shape);
        let (mean, var) = case.all_moments();
        for (residual, relu) in [(false, false), (true, true)] {
            let y = same_bits_everywhere(|device| {
                let on = case.upload::<T>(device);
                on.forward(residual, relu);
                on.y.to_vec().unwrap()
            });
            // Deviations of up to two are divided by the smallest standard deviation met, about 0.1 (two rows).
            let scale = case.normalised(&mean, &var, residual, false).iter().fold(4.0, |a: f64, b| a.max(b.abs()));
            assert_close("y", &widened(&y), &case.normalised(&mean, &var, residual, relu), tolerance::<T>(), scale);
        }
        let statistics = same_bits_everywhere(|device| {
            let on = case.upload::<T>(device);
            on.forward(false, false);
            let vectors = [&on.saved.mean, &on.saved.inv_std, &on.running_mean, &on.running_var];
            vectors.iter().flat_map(|v| v.to_vec().unwrap()).collect()
        });
        let unbiased = case.rows as f64 / (case.rows - 1) as f64;
        let mut expected = mean.clone();
        expected.extend(var.iter().map(|v| 1.0 / (v + EPS).sqrt()));
        expected.extend(mean.iter().zip(&case.running_mean).map(|(new, old)| (1.0 - MOMENTUM) * old + MOMENTUM * new));
        expected.extend(var.iter().zip(&case.running_var).map(|(new, old)| (1.0 - MOMENTUM) * old + MOMENTUM * new * unbiased));
        // Statistics are kept in the arithmetic type. Two rows: the variance is a difference of numbers of order one.
        assert_close("statistics", &widened(&statistics), &expected, 100.0 * rounding::<T::Real>(), 1.0);
    }
}

#[test]
fn statistics_and_apply_equal_the_oracle() {
    statistics_and_apply::<f32>();
    statistics_and_apply::<f64>();
    statistics_and_apply::<f16>();
    statistics_and_apply::<bf16>();
}

/// `back(tensors, relu)`, which does what [`ops::bn_backward`] does, against the oracle. `roundings`: those that the sums over
/// rows may be wrong by.
pub fn backward_equals<T: Element + PartialEq + std::fmt::Debug>(
    roundings: f64,
    back: impl Fn(&Uploaded<T>, bool) -> rocl::Result<()>,
) {
    for shape in SHAPES {
        let case = Case::new::<T>(shape);
        let (rows, channels) = shape;
        let (mean, var) = case.all_moments();
        for relu in [false, true] {
            // The mask is what the kernel itself computed, since y near 0 rounds to either side.
            let run = |device: &Device| {
                let on = case.upload::<T>(device);
                on.forward(true, relu);
                back(&on, relu).unwrap();
                on
            };
            let activations = same_bits_everywhere(|device| {
                let on = run(device);
                [&on.y, &on.dx, &on.d_residual].iter().flat_map(|v| v.to_vec().unwrap()).collect()
            });
            let gradients = same_bits_everywhere(|device| {
                let on = run(device);
                [&on.d_gamma, &on.d_beta].iter().flat_map(|v| v.to_vec().unwrap()).collect()
            });
            let activations = widened(&activations);
            let (y, rest) = activations.split_at(rows * channels);
            let (dx, d_residual) = rest.split_at(rows * channels);
            let g: Vec<f64> = case.dy.iter().zip(y).map(|(dy, y)| if !relu || *y > 0.0 { *dy } else { 0.0 }).collect();
            if relu {
                assert_eq!(d_residual, g, "the residual's gradient is a copy");
            }
            let mut expected_dx = vec![0.0; rows * channels];
            let (mut d_gamma, mut d_beta) = (vec![1.0; channels], vec![-1.0; channels]);
            for c in 0..channels {
                let inv_std = 1.0 / (var[c] + EPS).sqrt();
                let xhat = |i: usize| (case.x[i] - mean[c]) * inv_std;
                let indices = || (c..rows * channels).step_by(channels);
                let sum_g = sum(indices().map(|i| g[i]));
                let sum_gx = sum(indices().map(|i| g[i] * xhat(i)));
                for i in indices() {
                    let centred = g[i] - sum_g / rows as f64 - xhat(i) * sum_gx / rows as f64;
                    expected_dx[i] = case.gamma[c] * inv_std * centred;
                }
                d_gamma[c] += sum_gx;
                d_beta[c] += sum_g;
            }
            // With few rows 1/std reaches 30 and the terms of dx cancel; they are that large before they do.
            let scale = 2.0 / var.iter().fold(f64::INFINITY, |a: f64, b| a.min(*b)).sqrt();
            assert_close("dx", dx, &expected_dx, tolerance::<T>(), scale.max(2.0));
            d_gamma.extend(d_beta);
            // A sum of n random terms of order one, in f32: errors grow with the partial sums, about as √n.
            let scale = 2.0 * (rows as f64).sqrt();
            assert_close("dγ, dβ", &widened(&gradients), &d_gamma, roundings * rounding::<T::Real>(), scale);
        }
    }
}

#[test]
fn backward_equals_the_oracle() {
    backward_equals::<f32>(50.0, Uploaded::backward);
    backward_equals::<f64>(50.0, Uploaded::backward);
    backward_equals::<f16>(50.0, Uploaded::backward);
    backward_equals::<bf16>(50.0, Uploaded::backward);
}

#[test]
fn a_mean_far_from_zero_does_not_cancel_the_variance() {
    let (rows, channels) = (5000, 9);
    let x = stored::<f32>(&uniform(8, rows * channels, 1000.0 - 3f64.sqrt(), 1000.0 + 3f64.sqrt()));
    for_each_device(|device| {
        let x = Tensor::from_slice(device, [rows, channels], &x).unwrap();
        let saved = BnSaved::new(device, rows, channels).unwrap();
        ops::bn_statistics(&x, None, MOMENTUM, EPS, &saved).unwrap();
        let x = download(&x);
        for (c, (mean, inv_std)) in download(&saved.mean).into_iter().zip(download(&saved.inv_std)).enumerate() {
            let column: Vec<f64> = x.iter().skip(c).step_by(channels).copied().collect();
            let expected_mean = column.iter().sum::<f64>() / rows as f64;
            let expected_var = column.iter().map(|v| (v - expected_mean).powi(2)).sum::<f64>() / rows as f64;
            // The mean is rounded to f32, whose spacing at 1000 is 6e-5; the deviations are exact differences of order one.
            assert!((mean - expected_mean).abs() < 1e-4, "mean {mean}, expected {expected_mean}");
            let expected = 1.0 / (expected_var + EPS).sqrt();
            assert!((inv_std - expected).abs() < 1e-5, "1/std {inv_std}, expected {expected}");
        }
    });
}

/// L = Σ w·y for fixed w; central differences in f64 against the backward pass. No rectifier: it has a kink.
#[test]
fn backward_is_the_derivative_of_forward() {
    let case = Case::new::<f64>((37, 3));
    let device = Device::host().unwrap();
    let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| {
        let on = case.upload::<f64>(&device);
        on.x.write(x).unwrap();
        on.gamma.write(gamma).unwrap();
        on.beta.write(beta).unwrap();
        on.forward(false, false);
        on.y.to_vec().unwrap().iter().zip(&case.dy).map(|(y, w)| y * w).sum::<f64>()
    };
    let on = case.upload::<f64>(&device);
    on.forward(false, false);
    on.backward(false).unwrap();
    let differences = |of: &[f64], loss: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
        let step = 1e-5;
        let at = |i: usize, by: f64| {
            let mut moved = of.to_vec();
            moved[i] += by;
            loss(&moved)
        };
        (0..of.len()).map(|i| (at(i, step) - at(i, -step)) / (2.0 * step)).collect()
    };
    // A step of 1e-5 leaves 1e-10 of truncation and 1e-16/1e-5 times a few of rounding.
    let dx = differences(&case.x, &|x| loss(x, &case.gamma, &case.beta));
    assert_close("dx", &download(&on.dx), &dx, 1e-8, 1.0);
    let d_gamma: Vec<f64> = differences(&case.gamma, &|gamma| loss(&case.x, gamma, &case.beta)).iter().map(|d| d + 1.0).collect();
    assert_close("dγ", &download(&on.d_gamma), &d_gamma, 1e-8, 1.0);
    let d_beta: Vec<f64> = differences(&case.beta, &|beta| loss(&case.x, &case.gamma, beta)).iter().map(|d| d - 1.0).collect();
    assert_close("dβ", &download(&on.d_beta), &d_beta, 1e-8, 1.0);
}

fn evaluation<T: Element + PartialEq + std::fmt::Debug>() {
    for shape in SHAPES {
        let case = Case::new::<T>(shape);
        let y_then_dx = |device: &Device, with: bool| {
            let on = case.upload::<T>(device);
            let residual = with.then_some(&on.residual);
            ops::bn_eval(&on.x, on.parameters(), on.running(), EPS, residual, with, &on.y).unwrap();
            let (mask, d_residual) = (with.then_some(&on.y), with.then_some(&on.d_residual));
            ops::bn_eval_backward(&on.dy, mask, residual, on.parameters(), on.running(), EPS, &on.dx, d_residual).unwrap();
            [&on.y, &on.dx, &on.d_residual].iter().flat_map(|v| v.to_vec().unwrap()).collect::<Vec<T>>()
        };
        for with in [false, true] {
            let found = widened(&same_bits_everywhere(|device| y_then_dx(device, with)));
            let n = case.x.len();
            let (y, dx, d_residual) = (&found[..n], &found[n..2 * n], &found[2 * n..]);
            let expected = case.normalised(&case.running_mean, &case.running_var, with, with);
            assert_close("y", y, &expected, tolerance::<T>(), 1.0);
            let g: Vec<f64> = case.dy.iter().zip(y).map(|(dy, y)| if !with || *y > 0.0 { *dy } else { 0.0 }).collect();
            let scale = |i: usize| case.gamma[i % case.channels] / (case.running_var[i % case.channels] + EPS).sqrt();
            let branch = |i: usize| if with { case.residual[i] } else { 0.0 };
            let expected: Vec<f64> = g.iter().enumerate().map(|(i, g)| g * scale(i) + branch(i)).collect();
            assert_close("dx", dx, &expected, tolerance::<T>(), 1.0);
            if with {
                assert_eq!(d_residual, g, "the residual's gradient is a copy");
            }
        }
    }
}

#[test]
fn evaluation_equals_the_oracle() {
    evaluation::<f32>();
    evaluation::<f64>();
    evaluation::<f16>();
    evaluation::<bf16>();
}

fn fold<T: Element + PartialEq + std::fmt::Debug>() {
    for [k, r, s, c] in [[1, 1, 1, 1], [5, 3, 3, 3], [16, 3, 3, 8], [40, 1, 1, 24]] {
        let case = Case::new::<T>((2, k));
        let filter = widened(&stored::<T::Real>(&uniform(9, k * r * s * c, -1.0, 1.0)));
        let found = same_bits_everywhere(|device| {
            let on = case.upload::<T>(device);
            let filter = upload::<T::Real, 4>(device, [k, r, s, c], &filter);
            let (folded, bias) = (Tensor::<T>::zeros(device, [k, r, s, c]).unwrap(), Tensor::<T>::zeros(device, [k]).unwrap());
            ops::bn_fold(&filter, on.parameters(), on.running(), EPS, &folded, &bias).unwrap();
            [folded.to_vec().unwrap(), bias.to_vec().unwrap()].concat()
        });
        let scale = |k: usize| case.gamma[k] / (case.running_var[k] + EPS).sqrt();
        let mut expected: Vec<f64> = filter.iter().enumerate().map(|(i, w)| w * scale(i / (r * s * c))).collect();
        expected.extend((0..k).map(|k| case.beta[k] - case.running_mean[k] * scale(k)));
        assert_close("folded, bias", &widened(&found), &expected, tolerance::<T>(), 1.0);
    }
}

#[test]
fn folding_equals_the_oracle() {
    fold::<f32>();
    fold::<f64>();
    fold::<f16>();
    fold::<bf16>();
}

#[test]
fn a_nan_passes_the_rectifier() {
    for_each_device(|device| {
        let on = Case::new::<f32>((4, 8)).upload::<f32>(device);
        let mut x = on.x.to_vec().unwrap();
        x[11] = f32::NAN;
        on.x.write(&x).unwrap();
        ops::bn_eval(&on.x, on.parameters(), on.running(), EPS, None, true, &on.y).unwrap();
        let y = on.y.to_vec().unwrap();
        assert!(y[11].is_nan() && y.iter().filter(|y| y.is_nan()).count() == 1);
    });
}

#[test]
fn refusals_say_why() {
    for_each_device(|device| {
        let on = Case::new::<f32>((3, 4)).upload::<f32>(device);
        let row = on.x.rows(0..1).unwrap();
        let message = ops::bn_statistics(&row, None, MOMENTUM, EPS, &on.saved).unwrap_err().to_string();
        assert!(message.contains("variance is undefined; train with a larger batch"), "{message}");
        let large = Tensor::<f32>::zeros(device, [50, 4]).unwrap();
        let message = ops::bn_statistics(&large, None, MOMENTUM, EPS, &on.saved).unwrap_err().to_string();
        assert!(message.contains("made for 10 rows, not 50"), "{message}");
        let message = ops::bn_apply(&on.x, on.parameters(), &on.saved, None, true, &row).unwrap_err().to_string();
        assert!(message.contains("`y` is [1, 4] but `x` is [3, 4]"), "{message}");
        let other = Tensor::<f32>::zeros(device, [5]).unwrap();
        let parameters = BnParameters { gamma: &on.gamma, beta: &other };
        let message = ops::bn_apply(&on.x, parameters, &on.saved, None, true, &on.y).unwrap_err().to_string();
        assert!(message.contains("`beta` is [5] but must be [4]"), "{message}");
        let message = ops::bn_apply(&on.x, on.parameters(), &on.saved, None, true, &on.x).unwrap_err().to_string();
        assert!(message.contains("overlap in memory"), "{message}");
    });
}
