//! Networks whose batch normalisation precedes the convolution, PreActResNet-18 and WRNs, against their definitions written out in f64, and their gradients by the
//! images.

use crate::common::devices;
use crate::difference::{assert_gradient, dot, random, uniform};
use rocl::nn::{Architecture, Inference, MODEL, Normalization, RowScaled, Topology, Weights};
use rocl::ops::{self, LinfStep};
use rocl::{Device, Tensor};
use std::collections::HashMap;

const BATCH: usize = 3;
const NORMALIZATION: Normalization = Normalization { mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616] };

/// A PreActResNet; a WRN, whose first block projects; and one of 16 channels, whose first block does not.
const NETWORKS: [(Architecture, usize); 3] = [
    (Architecture::PreActResNet18, 2),
    (Architecture::WideResNet { blocks: 2 }, 3),
    (Architecture::WideResNet { blocks: 1 }, 16),
];

fn on_each_device(test: impl Fn(&Device)) {
    devices::in_type::<f64>().iter().for_each(test);
}

/// Random filters, and batch normalisations that are not the identity.
fn weights(device: &Device, topology: &Topology) -> Weights<f64> {
    let weights = Weights::new(device, topology, None, 1).unwrap();
    let write = |tensor: &Tensor<f64>, seed: usize, around: f64, within: f64| {
        let values: Vec<f64> = uniform(seed as u64, tensor.len()).iter().map(|v| around + within * v).collect();
        tensor.write(&values).unwrap();
    };
    for (index, (bn, _)) in topology.batch_norms().enumerate() {
        let parameter = |name: &str| weights.parameters().get(&format!("{MODEL}{bn}.{name}")).unwrap().value;
        write(&parameter("weight"), 2 * index, 1.0, 0.5);
        write(&parameter("bias"), 2 * index + 1, 0.0, 0.5);
    }
    for (index, (name, statistic)) in weights.running_statistics().iter().enumerate() {
        let (around, within) = if name.ends_with("running_var") { (1.0, 0.5) } else { (0.0, 0.3) };
        write(statistic, 1000 + index, around, within);
    }
    weights
}

/// Images in [0, 1].
fn images(device: &Device, seed: u64, n: usize) -> Tensor<f64> {
    let pixels: Vec<f64> = uniform(seed, n * 3072).iter().map(|v| 0.5 + 0.5 * v).collect();
    Tensor::from_slice(device, [n, 32, 32, 3], &pixels).unwrap()
}

/// Activations, `[n, size, size, c]`.
#[derive(Clone)]
struct Plain {
    n: usize,
    size: usize,
    c: usize,
    values: Vec<f64>,
}

impl Plain {
    fn map(&self, f: impl Fn(usize, f64) -> f64) -> Self {
        let values = self.values.iter().enumerate().map(|(i, v)| f(i % self.c, *v)).collect();
        Self { values, ..self.clone() }
    }

    fn plus(&self, other: &Self) -> Self {
        Self { values: self.values.iter().zip(&other.values).map(|(a, b)| a + b).collect(), ..self.clone() }
    }

    /// The mean over the pixels, `[n, c]`.
    fn pooled(&self) -> Vec<f64> {
        let pixels = self.size * self.size;
        let mean = |i: usize| (0..pixels).map(|p| self.values[(i / self.c * pixels + p) * self.c + i % self.c]).sum::<f64>();
        (0..self.n * self.c).map(|i| mean(i) / pixels as f64).collect()
    }
}

/// Public code's state dict, filters as `[k, r, r, c]`, and the layers that it is of.
struct Definition(HashMap<String, Vec<f64>>);

impl Definition {
    fn new(weights: &Weights<f64>) -> Self {
        let values = |tensor: &Tensor<f64>| tensor.to_vec().unwrap();
        let parameters = weights.parameters();
        let parameters = parameters
            .specs()
            .iter()
            .map(|spec| (spec.name[MODEL.len()..].to_owned(), values(&parameters.get(&spec.name).unwrap().value)));
        Self(parameters.chain(weights.running_statistics().iter().map(|(name, tensor)| (name.clone(), values(tensor)))).collect())
    }

    fn of(&self, layer: &str, what: &str) -> &[f64] {
        &self.0[&format!("{layer}.{what}")]
    }

    /// A convolution of `r`×`r` filters, padded so that a stride of 1 keeps the size.
    fn conv(&self, layer: &str, x: &Plain, k: usize, r: usize, stride: usize) -> Plain {
        let (filter, size) = (self.of(layer, "weight"), x.size / stride);
        assert_eq!(filter.len(), k * r * r * x.c, "{layer}");
        let mut values = Vec::with_capacity(x.n * size * size * k);
        let inside = |at: usize, tap: usize| (at * stride + tap).checked_sub(r / 2).filter(|&place| place < x.size);
        for (image, h, w) in (0..x.n).flat_map(|n| (0..size).flat_map(move |h| (0..size).map(move |w| (n, h, w)))) {
            for k in 0..k {
                let mut sum = 0.0;
                for (i, j) in (0..r).flat_map(|i| (0..r).map(move |j| (i, j))) {
                    let (Some(row), Some(column)) = (inside(h, i), inside(w, j)) else { continue };
                    let pixel = &x.values[((image * x.size + row) * x.size + column) * x.c..][..x.c];
                    let tap = &filter[((k * r + i) * r + j) * x.c..][..x.c];
                    sum += pixel.iter().zip(tap).map(|(a, b)| a * b).sum::<f64>();
                }
                values.push(sum);
            }
        }
        Plain { n: x.n, size, c: k, values }
    }

    /// relu(γ (x − mean)/√(var + ε) + β), by running statistics.
    fn activated(&self, layer: &str, x: &Plain) -> Plain {
        let [gamma, beta, mean, var] = ["weight", "bias", "running_mean", "running_var"].map(|what| self.of(layer, what));
        x.map(|c, v| (gamma[c] * (v - mean[c]) / (var[c] + 1e-5).sqrt() + beta[c]).max(0.0))
    }

    /// He et al. 2016b: a projection reads what the first rectifier gives, an identity the sum in front of it.
    fn block(&self, name: &str, x: &Plain, channels: usize, stride: usize, projection: &str) -> Plain {
        let layer = |layer: &str| format!("{name}.{layer}");
        let first = self.activated(&layer("bn1"), x);
        let second = self.activated(&layer("bn2"), &self.conv(&layer("conv1"), &first, channels, 3, stride));
        let sum = self.conv(&layer("conv2"), &second, channels, 3, 1);
        if x.c == channels && stride == 1 {
            sum.plus(x)
        } else {
            sum.plus(&self.conv(&layer(projection), &first, channels, 1, stride))
        }
    }

    /// Stages of `blocks` blocks each, the later ones twice as wide on a quarter of the pixels.
    fn stages(&self, x: Plain, blocks: &[usize], width: usize, name: impl Fn(usize, usize) -> String, projection: &str) -> Plain {
        let places = blocks.iter().enumerate().flat_map(|(stage, &blocks)| (0..blocks).map(move |index| (stage, index)));
        places.fold(x, |x, (stage, index)| {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            self.block(&name(stage + 1, index), &x, width << stage, stride, projection)
        })
    }

    fn features(
        &self,
        (architecture, width): (Architecture, usize),
        normalization: Option<Normalization>,
        images: &Tensor<f64>,
    ) -> Vec<f64> {
        let x = Plain { n: images.rows_len(), size: 32, c: 3, values: images.to_vec().unwrap() };
        let x = normalization.map_or(x.clone(), |Normalization { mean, std }| x.map(|c, v| (v - mean[c]) / std[c]));
        match architecture {
            Architecture::PreActResNet18 => {
                let x = self.conv("conv1", &x, width, 3, 1);
                let x = self.stages(x, &[2; 4], width, |stage, index| format!("layer{stage}.{index}"), "shortcut.0");
                self.activated("bn", &x).pooled()
            }
            Architecture::WideResNet { blocks } => {
                let x = self.conv("conv1", &x, 16, 3, 1);
                let name = |stage, index| format!("block{stage}.layer.{index}");
                self.activated("bn1", &self.stages(x, &[usize::from(blocks); 3], width, name, "convShortcut")).pooled()
            }
            other => panic!("{other} has another order"),
        }
    }
}

/// Both inference forms of each network, with and without normalised images.
fn inference_forms(device: &Device, mut test: impl FnMut(&str, &dyn Fn(&Tensor<f64>) -> Vec<f64>, &Topology, Inference<f64>)) {
    // The last one has so many channels that the simulated device, which convolves number by number, would take minutes.
    let networks = if device.is_host() || devices::is_gpu(device) { &NETWORKS[..] } else { &NETWORKS[..2] };
    for (network, normalization) in networks.iter().flat_map(|&network| [None, Some(NORMALIZATION)].map(|n| (network, n))) {
        let topology = Topology { normalization, ..Topology::new(network.0, network.1) };
        let weights = weights(device, &topology);
        let definition = Definition::new(&weights);
        for (form, build) in [("folded", Inference::folded as fn(&_, &_, _) -> _), ("unfolded", Inference::unfolded)] {
            let inference: Inference<f64> = build(device, &topology, BATCH).unwrap();
            inference.copy_from(&weights).unwrap();
            let name = format!("{}, {form}{}", network.0, if normalization.is_some() { ", normalised" } else { "" });
            test(&name, &|images: &Tensor<f64>| definition.features(network, normalization, images), &topology, inference);
        }
    }
}

#[test]
fn inference_forms_are_the_definition() {
    on_each_device(|device| {
        inference_forms(device, |name, definition, _, inference| {
            // A last batch is often smaller than the buffers.
            for n in [BATCH, 1] {
                let x = images(device, 5, n);
                let (found, expected) = (inference.forward(&x).unwrap().to_vec().unwrap(), definition(&x));
                assert_eq!(found.len(), expected.len(), "{name}");
                let scale = expected.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
                assert!(scale > 0.01, "{name}: features of zero show nothing");
                for (found, expected) in found.iter().zip(&expected) {
                    // 20 layers, each with a rounding of 10⁻¹⁶ per term.
                    assert!((found - expected).abs() <= 1e-11 * scale, "{name}: {found} instead of {expected}");
                }
            }
        });
    });
}

#[test]
fn images_of_the_inference_forms() {
    on_each_device(|device| {
        inference_forms(device, |name, _, topology, inference| {
            let (x, d_x) = (images(device, 1, BATCH), Tensor::zeros(device, [BATCH, 32, 32, 3]).unwrap());
            let d_features = random(device, 3, [BATCH, topology.features]);
            let loss = || dot(&d_features, &inference.forward(&x).unwrap());
            loss();
            inference.backward(&d_features.clone().into(), &d_x).unwrap();
            assert_gradient(&format!("{name}: images"), &x, &d_x, loss);
        });
    });
}

/// Where steps are taken in the stem, with its batch normalisation folded or without any, they are those along the gradient.
#[test]
fn steps_in_the_stem_are_those_along_the_gradient() {
    const STEPS: usize = 3;
    on_each_device(|device| {
        inference_forms(device, |name, _, topology, inference| {
            if !inference.steps_in_the_stem() {
                return;
            }
            let step = LinfStep { size: 0.01, radius: 0.02 };
            let d_features = random(device, 3, [BATCH, topology.features]);
            let (clean, d_x) = (images(device, 1, BATCH), Tensor::zeros(device, [BATCH, 32, 32, 3]).unwrap());
            let [along, inside] = [0, 1].map(|_| Tensor::from_slice(device, clean.shape(), &clean.to_vec().unwrap()).unwrap());
            for _ in 0..STEPS {
                inference.forward(&along).unwrap();
                inference.backward(&d_features.clone().into(), &d_x).unwrap();
                ops::pgd_linf_step(&along, &d_x, &clean, step.size, step.radius).unwrap();
            }
            inference.ascend(&step, STEPS, &clean, &inside, |_| Ok(RowScaled::from(d_features.clone()))).unwrap();
            let (along, inside) = (along.to_vec().unwrap(), inside.to_vec().unwrap());
            // No gradient is so near zero that the order of its sum decides its sign.
            assert_eq!(along, inside, "{name}");
            assert!(along != clean.to_vec().unwrap());
        });
    });
}
