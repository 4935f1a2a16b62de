//! Each layer by itself, under the loss Σ c·y with random c.

use crate::common::devices;
use crate::difference::{assert_gradient, dot, random};
use rocl::loss::{EmbeddingLoss, NtXent};
use rocl::nn::{Linear, ParameterSpec, Parameters, Projector, initialize};
use rocl::ops::{self, BnParameters, BnSaved, Epilogue};
use rocl::{Device, Tensor};

const EPS: f64 = 1e-5;

fn on_each_device(test: impl Fn(&Device)) {
    devices::in_type::<f64>().iter().for_each(test);
}

fn zeros<const N: usize>(device: &Device, shape: [usize; N]) -> Tensor<f64> {
    Tensor::zeros(device, shape).unwrap()
}

#[test]
fn convolution() {
    on_each_device(|device| {
        for (r, stride, pad) in [(3, 1, 1), (3, 2, 1), (1, 1, 0), (1, 2, 0)] {
            let (n, size, c, k) = (2, 6, 3, 5);
            let out = (size + 2 * pad - r) / stride + 1;
            let (x, filter) = (random(device, 1, [n, size, size, c]), random(device, 2, [k, r, r, c]));
            let (d_y, y) = (random(device, 3, [n, out, out, k]), zeros(device, [n, out, out, k]));
            let (d_x, d_filter) = (zeros(device, [n, size, size, c]), zeros(device, [k, r, r, c]));
            ops::conv_dgrad(&d_y, &filter, stride, pad, None, None, &d_x).unwrap();
            ops::conv_wgrad(&x, &d_y, stride, pad, false, &d_filter).unwrap();
            let loss = || {
                ops::conv_fprop(&x, &filter, stride, pad, Epilogue::default(), &y).unwrap();
                dot(&d_y, &y)
            };
            assert_gradient("conv input", &x, &d_x, loss);
            assert_gradient("conv filter", &filter, &d_filter, loss);
        }
    });
}

/// Bias, residual and ReLU behind the sum, and the same on the way back: the masked gradient of a residual block's input.
#[test]
fn convolution_in_a_residual_branch() {
    on_each_device(|device| {
        let shape = [2, 5, 5, 4];
        let (before, filter) = (random(device, 1, shape), random(device, 2, [4, 3, 3, 4]));
        let (x, y, d_y) = (zeros(device, shape), zeros(device, shape), random(device, 3, shape));
        // y = conv(x) + x with x = relu(before).
        let loss = || {
            x.copy_from(&before).unwrap();
            ops::bias_activation(&x, None, None, true).unwrap();
            ops::conv_fprop(&x, &filter, 1, 1, Epilogue { bias: None, residual: Some(&x), relu: false }, &y).unwrap();
            dot(&d_y, &y)
        };
        loss();
        let d_before = zeros(device, shape);
        ops::conv_dgrad(&d_y, &filter, 1, 1, Some(&d_y), Some(&x), &d_before).unwrap();
        assert_gradient("input before its ReLU", &before, &d_before, loss);
    });
}

#[test]
fn batch_normalisation() {
    on_each_device(|device| {
        for (with_residual, relu) in [(false, false), (false, true), (true, false), (true, true)] {
            let (shape, channels) = ([3, 4, 4, 5], 5);
            let (x, residual, d_y) = (random(device, 1, shape), random(device, 2, shape), random(device, 3, shape));
            let (gamma, beta) = (random(device, 4, [channels]), random(device, 5, [channels]));
            let (y, saved) = (zeros(device, shape), BnSaved::new(device, 48, channels).unwrap());
            let residual = with_residual.then_some(&residual);
            let affine = BnParameters { gamma: &gamma, beta: &beta };
            let loss = || {
                ops::bn_statistics(&x, None, 0.1, EPS, &saved).unwrap();
                ops::bn_apply(&x, affine, &saved, residual, relu, &y).unwrap();
                dot(&d_y, &y)
            };
            loss();
            let (d_gamma, d_beta) = (zeros(device, [channels]), zeros(device, [channels]));
            let (d_x, d_residual) = (zeros(device, shape), zeros(device, shape));
            let mask = relu.then_some(&y);
            ops::bn_backward(&d_y, &x, mask, affine, &saved, &d_gamma, &d_beta, &d_x, residual.map(|_| &d_residual)).unwrap();
            let what = format!("batch norm, residual {with_residual}, relu {relu}");
            assert_gradient(&format!("{what}: x"), &x, &d_x, loss);
            assert_gradient(&format!("{what}: gamma"), &gamma, &d_gamma, loss);
            assert_gradient(&format!("{what}: beta"), &beta, &d_beta, loss);
            if let Some(residual) = residual {
                assert_gradient(&format!("{what}: residual"), residual, &d_residual, loss);
            }
        }
    });
}

#[test]
fn average_pool() {
    on_each_device(|device| {
        let (before, d_y) = (random(device, 1, [2, 4, 4, 3]), random(device, 2, [2, 3]));
        let (x, y, d_before) = (zeros(device, [2, 4, 4, 3]), zeros(device, [2, 3]), zeros(device, [2, 4, 4, 3]));
        let loss = || {
            x.copy_from(&before).unwrap();
            ops::bias_activation(&x, None, None, true).unwrap();
            ops::average_pool(&x, &y).unwrap();
            dot(&d_y, &y)
        };
        loss();
        ops::average_pool_backward(&d_y, Some(&x), &d_before).unwrap();
        assert_gradient("pool, before the ReLU", &before, &d_before, loss);
    });
}

#[test]
fn linear() {
    on_each_device(|device| {
        let specs = vec![ParameterSpec::new("head.weight", &[5, 7]), ParameterSpec::new("head.bias", &[5])];
        let parameters = Parameters::<f64>::new(device, specs).unwrap();
        initialize(&parameters, 1).unwrap();
        let layer = Linear::new(&parameters, "head").unwrap();
        let (x, d_y) = (random(device, 1, [3, 7]), random(device, 2, [3, 5]));
        let (y, d_x) = (zeros(device, [3, 5]), zeros(device, [3, 7]));
        layer.backward_input(&d_y, &d_x).unwrap();
        layer.backward_parameters(&x, &d_y).unwrap();
        let loss = || {
            layer.forward(&x, false, &y).unwrap();
            dot(&d_y, &y)
        };
        assert_gradient("linear input", &x, &d_x, loss);
        for name in ["head.weight", "head.bias"] {
            let parameter = parameters.get(name).unwrap();
            assert_gradient(name, &parameter.value, &parameter.gradient, loss);
        }
    });
}

#[test]
fn projector() {
    on_each_device(|device| {
        let parameters = Parameters::<f64>::new(device, Projector::<f64>::specs("p/", 6, 9, 4)).unwrap();
        initialize(&parameters, 2).unwrap();
        let projector = Projector::new(device, &parameters, "p/", 5).unwrap();
        let (x, d_z) = (random(device, 1, [5, 6]), random(device, 2, [5, 4]));
        let loss = || dot(&d_z, &projector.forward(&x).unwrap());
        loss();
        let d_x = projector.backward(&x, &d_z, None).unwrap().to_vec().unwrap();
        // Both ways back give the same.
        assert_eq!(projector.backward_input(&d_z).unwrap().values.to_vec().unwrap(), d_x);
        let d_x = Tensor::from_slice(device, [5, 6], &d_x).unwrap();
        assert_gradient("projector input", &x, &d_x, loss);
        for spec in parameters.specs() {
            let parameter = parameters.get(&spec.name).unwrap();
            assert_gradient(&spec.name, &parameter.value, &parameter.gradient, loss);
        }
    });
}

/// With the gradient through the keys: without it, what the engine follows is by definition not the derivative.
#[test]
fn contrastive_loss() {
    on_each_device(|device| {
        for (views, groups) in [(2, 1), (3, 1), (2, 3), (3, 2)] {
            let (rows, d) = (views * 6, 5);
            let (z, d_z, loss) = (random(device, 1, [rows, d]), zeros(device, [rows, d]), zeros(device, [1]));
            let unused = zeros(device, [rows, d]);
            let nt_xent = NtXent::new(device, rows, 0.5, groups, false).unwrap();
            nt_xent.evaluate(&z, views, 0.7, &d_z, rows, &loss).unwrap();
            assert_gradient(&format!("NT-Xent of {views} views in {groups} groups"), &z, &d_z, || {
                nt_xent.evaluate(&z, views, 0.7, &unused, 0, &loss).unwrap();
                loss.to_vec().unwrap()[0]
            });
        }
    });
}
