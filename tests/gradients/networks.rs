//! Whole networks that are trained, both families: parameters in training form, images in the form attacks run on.

use crate::common::devices;
use crate::difference::{assert_gradient, dot, random, uniform};
use rocl::attack::{InstanceBuffers, InstanceObjective, Objective};
use rocl::element::{Element, Real};
use rocl::loss::{EmbeddingLoss, NtXent};
use rocl::nn::{Architecture, ConvSpec, Inference, MODEL, Network, Normalization, PROJECTOR, Projection, Projector, Topology};
use rocl::ops::{self, BnParameters, BnRunning, Epilogue};
use rocl::{Device, Tensor};
use std::collections::HashMap;

const WIDTH: usize = 2;
const BATCH: usize = 4;
const HIDDEN: usize = 12;
const PROJECTION: usize = 6;
/// After these the running statistics are 97 % those of the batch, and activations of evaluation have a usual size.
const PASSES: usize = 35;
const ARCHITECTURES: [Architecture; 2] = [Architecture::ResNet18, Architecture::ResNet50];

fn on_each_device(test: impl Fn(&Device)) {
    devices::in_type::<f64>().iter().for_each(test);
}

/// Images in [0, 1].
fn images(device: &Device, seed: u64, n: usize) -> Tensor<f64> {
    let pixels: Vec<f64> = uniform(seed, n * 3072).iter().map(|v| 0.5 + 0.5 * v).collect();
    Tensor::from_slice(device, [n, 32, 32, 3], &pixels).unwrap()
}

/// A network whose batch normalisations are not the identity: random affine parameters and, after some passes, statistics of their own.
fn network(device: &Device, topology: &Topology) -> Network<f64> {
    let network = Network::new(device, topology, HIDDEN, PROJECTION, BATCH, 1).unwrap();
    for (index, (bn, _)) in topology.batch_norms().enumerate() {
        for (name, around) in [("weight", 1.0), ("bias", 0.0)] {
            let value = network.parameters().get(&format!("{MODEL}{bn}.{name}")).unwrap().value;
            let values: Vec<f64> = uniform(index as u64, value.len()).iter().map(|v| around + 0.3 * v).collect();
            value.write(&values).unwrap();
        }
    }
    let images = images(device, 9, BATCH);
    (0..PASSES).for_each(|_| drop(network.forward(&images).unwrap()));
    network
}

#[test]
fn parameters_of_a_training_step() {
    for (architecture, device) in
        ARCHITECTURES.into_iter().flat_map(|a| devices::in_type_for_long::<f64>().into_iter().map(move |d| (a, d)))
    {
        let topology = Topology::new(architecture, WIDTH);
        let network = network(&device, &topology);
        let images = images(&device, 1, BATCH);
        let nt_xent = NtXent::new(&device, BATCH, 0.5, 1, false).unwrap();
        let d_z = Tensor::zeros(&device, [BATCH, PROJECTION]).unwrap();
        let value = Tensor::zeros(&device, [1]).unwrap();
        let loss = || {
            let z = network.forward(&images).unwrap();
            nt_xent.evaluate(&z, 2, 1.0, &d_z, BATCH, &value).unwrap();
            value.to_vec().unwrap()[0]
        };
        loss();
        network.parameters().clear_gradients().unwrap();
        network.backward(&images, &d_z).unwrap();
        for spec in network.parameters().specs() {
            let parameter = network.parameters().get(&spec.name).unwrap();
            assert_gradient(&format!("{architecture:?} {}", spec.name), &parameter.value, &parameter.gradient, loss);
        }
    }
}

/// Gradients of several passes add up: RoCL's regulariser and main loss share one update.
#[test]
fn passes_accumulate() {
    on_each_device(|device| {
        let network = network(device, &Topology::new(Architecture::ResNet18, WIDTH));
        let images = images(device, 1, BATCH);
        let d_z = random(device, 2, [BATCH, PROJECTION]);
        let gradients = |passes: usize| {
            network.parameters().clear_gradients().unwrap();
            for _ in 0..passes {
                network.forward(&images).unwrap();
                network.backward(&images, &d_z).unwrap();
            }
            network.parameters().gradients().to_vec().unwrap()
        };
        for (once, thrice) in gradients(1).into_iter().zip(gradients(3)) {
            // Exact but for the order in which a sum over rows takes in what is there already.
            assert!((3.0 * once - thrice).abs() <= 1e-12 * (1.0 + once.abs()), "{once} {thrice}");
        }
    });
}

/// Statistics of CIFAR-10, far from 0 and 1.
const NORMALIZATION: Normalization = Normalization { mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616] };

/// Both inference forms of a network, with and without normalised images.
fn inference_forms(
    device: &Device,
    architecture: Architecture,
    mut test: impl FnMut(&str, &Topology, &Network<f64>, Inference<f64>),
) {
    for normalization in [None, Some(NORMALIZATION)] {
        let topology = Topology { normalization, ..Topology::new(architecture, WIDTH) };
        let network = network(device, &topology);
        for (form, build) in [("folded", Inference::folded as fn(&_, &_, _) -> _), ("unfolded", Inference::unfolded)] {
            let inference: Inference<f64> = build(device, &topology, 2 * BATCH).unwrap();
            inference.copy_from(&network).unwrap();
            let name = format!("{architecture:?}, {form}{}", if normalization.is_some() { ", normalised" } else { "" });
            test(&name, &topology, &network, inference);
        }
    }
}

#[test]
fn images_of_the_inference_forms() {
    on_each_device(|device| {
        for architecture in ARCHITECTURES {
            inference_forms(device, architecture, |name, topology, _, inference| {
                let (x, d_x) = (images(device, 1, BATCH), Tensor::zeros(device, [BATCH, 32, 32, 3]).unwrap());
                let d_features = random(device, 3, [BATCH, topology.features]);
                let loss = || dot(&d_features, &inference.forward(&x).unwrap());
                loss();
                inference.backward(&d_features.clone().into(), &d_x).unwrap();
                assert_gradient(&format!("{name}: images"), &x, &d_x, loss);
            });
        }
    });
}

/// What the attack follows: the loss as a function of the attacked view, with the target held.
#[test]
fn images_of_the_attack() {
    on_each_device(|device| {
        inference_forms(device, Architecture::ResNet18, |name, _, network, inference| {
            let projector = Projector::new(device, network.parameters(), PROJECTOR, 2 * BATCH).unwrap();
            let nt_xent = NtXent::new(device, 2 * BATCH, 0.5, 2, false).unwrap();
            for build in [InstanceBuffers::new as fn(&_, _, _) -> _, InstanceBuffers::for_both] {
                let buffers = build(device, BATCH, PROJECTION).unwrap();
                let target = images(device, 2, BATCH);
                let objective = InstanceObjective::new(&inference, &projector, &nt_xent, &buffers, &target).unwrap();
                let objective = std::cell::RefCell::new(objective);
                let (x, d_x) = (images(device, 1, BATCH), Tensor::zeros(device, [BATCH, 32, 32, 3]).unwrap());
                let unused = Tensor::zeros(device, [BATCH, 32, 32, 3]).unwrap();
                objective.borrow_mut().gradient(&x, &d_x).unwrap();
                assert_gradient(&format!("{name}: attacked view"), &x, &d_x, || {
                    objective.borrow_mut().gradient(&x, &unused).unwrap();
                    objective.borrow().loss().to_vec().unwrap()[0]
                });
            }
        });
    });
}

/// Without a projector the losses see the features, in training and in the attack.
#[test]
fn a_network_without_a_projector() {
    on_each_device(|device| {
        let topology = Topology::new(Architecture::ResNet18, WIDTH);
        let network = Network::<f64>::with(device, &topology, Projection::Identity, BATCH, 1).unwrap();
        assert!(network.parameters().specs().iter().all(|spec| spec.name.starts_with(MODEL)));
        let (x, d_z) = (images(device, 1, BATCH), Tensor::zeros(device, [BATCH, topology.features]).unwrap());
        let (nt_xent, value) = (NtXent::new(device, BATCH, 0.5, 1, false).unwrap(), Tensor::zeros(device, [1]).unwrap());
        let loss = || {
            let z = network.forward(&x).unwrap();
            assert_eq!(z.to_vec().unwrap(), network.encoder().features(BATCH).unwrap().to_vec().unwrap());
            nt_xent.evaluate(&z, 2, 1.0, &d_z, BATCH, &value).unwrap();
            value.to_vec().unwrap()[0]
        };
        loss();
        network.parameters().clear_gradients().unwrap();
        network.backward(&x, &d_z).unwrap();
        for name in ["conv1.weight", "layer2.0.shortcut.0.weight", "layer4.1.bn2.weight", "layer4.1.bn2.bias"] {
            let parameter = network.parameters().get(&format!("{MODEL}{name}")).unwrap();
            assert_gradient(name, &parameter.value, &parameter.gradient, loss);
        }

        let inference = Inference::folded(device, &topology, BATCH).unwrap();
        inference.copy_from(&network).unwrap();
        let projector = network.another_projector(device, BATCH).unwrap();
        let buffers = InstanceBuffers::new(device, BATCH, topology.features).unwrap();
        let (nt_xent, target) = (NtXent::new(device, 2 * BATCH, 0.5, 1, false).unwrap(), images(device, 2, BATCH));
        let objective = InstanceObjective::new(&inference, &projector, &nt_xent, &buffers, &target).unwrap();
        let objective = std::cell::RefCell::new(objective);
        let [d_x, unused] = [(); 2].map(|()| Tensor::zeros(device, [BATCH, 32, 32, 3]).unwrap());
        objective.borrow_mut().gradient(&x, &d_x).unwrap();
        assert_gradient("attacked view", &x, &d_x, || {
            objective.borrow_mut().gradient(&x, &unused).unwrap();
            objective.borrow().loss().to_vec().unwrap()[0]
        });
    });
}

/// A network with normalisation is one without it that is given normalised images: in training form, parameter gradients included, and in
/// both inference forms.
#[test]
fn normalisation_is_that_of_the_images() {
    on_each_device(|device| {
        let plain = Topology::new(Architecture::ResNet18, WIDTH);
        let normalised = Topology { normalization: Some(NORMALIZATION), ..plain.clone() };
        let x = images(device, 5, BATCH);
        let Normalization { mean, std } = NORMALIZATION;
        let pixels = x.to_vec().unwrap().into_iter().enumerate().map(|(i, x)| (x - mean[i % 3]) / std[i % 3]);
        let by_hand = Tensor::from_slice(device, x.shape(), &pixels.collect::<Vec<f64>>()).unwrap();
        let d_z = random(device, 2, [BATCH, PROJECTION]);
        let run = |topology: &Topology, x: &Tensor<f64>| {
            let network = Network::<f64>::new(device, topology, HIDDEN, PROJECTION, BATCH, 1).unwrap();
            let z = network.forward(x).unwrap().to_vec().unwrap();
            network.parameters().clear_gradients().unwrap();
            network.backward(x, &d_z).unwrap();
            let gradients = network.parameters().gradients().to_vec().unwrap();
            let features = [Inference::folded, Inference::unfolded].map(|build| {
                let inference = build(device, topology, BATCH).unwrap();
                inference.copy_from(&network).unwrap();
                inference.forward(x).unwrap().to_vec().unwrap()
            });
            (z, gradients, features)
        };
        // The kernel's difference and quotient are those written above: equal bits.
        assert_eq!(run(&normalised, &x), run(&plain, &by_hand));
    });
}

/// The encoder in evaluation, as it is defined: convolution, then batch normalisation with running statistics, nothing folded.
struct Unfolded<'a, T: Element> {
    device: &'a Device,
    network: &'a Network<T>,
    statistics: &'a HashMap<String, Tensor<T::Real>>,
}

impl<T: Element> Unfolded<'_, T> {
    fn normalised(&self, Normalization { mean, std }: &Normalization, images: &Tensor<T>) -> Tensor<T> {
        let pixels =
            images.to_vec().unwrap().into_iter().enumerate().map(|(i, x)| (x.to_real().to_f64() - mean[i % 3]) / std[i % 3]);
        let pixels: Vec<T> = pixels.map(|x| T::from_real(T::Real::from_f64(x))).collect();
        Tensor::from_slice(self.device, images.shape(), &pixels).unwrap()
    }

    fn unit(&self, spec: &ConvSpec, x: &Tensor<T>, residual: Option<&Tensor<T>>, relu: bool) -> Tensor<T> {
        let parameter = |name: &str| self.network.parameters().get(&format!("{MODEL}{name}")).unwrap();
        let shape = [x.rows_len(), spec.out_size(), spec.out_size(), spec.k];
        let (conv, out) = (Tensor::zeros(self.device, shape).unwrap(), Tensor::zeros(self.device, shape).unwrap());
        let filter = parameter(&format!("{}.weight", spec.conv)).working;
        ops::conv_fprop(x, &filter, spec.stride, spec.pad(), Epilogue::default(), &conv).unwrap();
        let bn = spec.bn.as_deref().unwrap();
        let (gamma, beta) = (parameter(&format!("{bn}.weight")).value, parameter(&format!("{bn}.bias")).value);
        let statistic = |name: &str| &self.statistics[&format!("{bn}.{name}")];
        let running = BnRunning { mean: statistic("running_mean"), var: statistic("running_var") };
        ops::bn_eval(&conv, BnParameters { gamma: &gamma, beta: &beta }, running, 1e-5, residual, relu, &out).unwrap();
        out
    }

    fn features(&self, topology: &Topology, images: &Tensor<T>) -> Tensor<T> {
        let images = topology.normalization.as_ref().map_or(images.clone(), |n| self.normalised(n, images));
        let mut h = self.unit(&topology.stem, &images, None, true);
        for block in &topology.blocks {
            let shortcut = block.shortcut.as_ref().map_or(h.clone(), |spec| self.unit(spec, &h, None, false));
            let (last, inner) = block.units.split_last().unwrap();
            let middle = inner.iter().fold(h.clone(), |h, spec| self.unit(spec, &h, None, true));
            h = self.unit(last, &middle, Some(&shortcut), true);
        }
        let pooled = Tensor::zeros(self.device, [images.rows_len(), topology.features]).unwrap();
        ops::average_pool(&h, &pooled).unwrap();
        pooled
    }
}

#[test]
fn inference_forms_are_the_definition() {
    on_each_device(|device| {
        for architecture in ARCHITECTURES {
            inference_forms(device, architecture, |name, topology, network, inference| {
                let statistics: HashMap<_, _> = network.encoder().running_statistics().into_iter().collect();
                let definition = Unfolded { device, network, statistics: &statistics };
                // A last batch is often smaller than the buffers.
                for n in [BATCH, 1] {
                    let x = images(device, 5, n);
                    let found = inference.forward(&x).unwrap().to_vec().unwrap();
                    let expected = definition.features(topology, &x).to_vec().unwrap();
                    let scale = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
                    for (found, expected) in found.iter().zip(&expected) {
                        // 53 layers, each with a rounding of 10⁻¹⁶ per term.
                        assert!((found - expected).abs() <= 1e-10 * scale, "{name}: {found} instead of {expected}");
                    }
                }
            });
        }
    });
}
