//! What a residual network consists of: the one description its training form, its inference form, its parameter names and its cost are
//! derived from.

use super::architecture::{Architecture, Order};
use super::parameters::ParameterSpec;
use crate::ops::ConvShape;
use serde::{Deserialize, Serialize};

/// A convolution, with the batch normalisation behind it if there is one; square images, "same" padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// State-dict name of the convolution, e.g. `layer1.0.conv1`.
    pub conv: String,
    /// State-dict name of the batch normalisation that alone reads the convolution's sum, e.g. `layer1.0.bn1`.
    pub bn: Option<String>,
    /// Channels in.
    pub c: usize,
    /// Channels out.
    pub k: usize,
    /// Filter height and width.
    pub r: usize,
    /// Stride.
    pub stride: usize,
    /// Height and width of the input image.
    pub size: usize,
}

impl ConvSpec {
    /// Padding on every side.
    pub fn pad(&self) -> usize {
        self.r / 2
    }

    /// Height and width of the output image.
    pub fn out_size(&self) -> usize {
        (self.size + 2 * self.pad() - self.r) / self.stride + 1
    }

    /// Elements of one output image.
    pub fn out_len(&self) -> usize {
        self.out_size() * self.out_size() * self.k
    }

    /// With that many images.
    pub fn shape(&self, images: usize) -> ConvShape {
        let &Self { size, c, k, r, stride, .. } = self;
        ConvShape { n: images, h: size, w: size, c, k, r, s: r, stride, pad: self.pad() }
    }

    /// Multiply-adds for one image, forward.
    pub fn multiply_adds(&self) -> usize {
        self.out_len() * self.r * self.r * self.c
    }

    fn parameters(&self, prefix: &str) -> Vec<ParameterSpec> {
        let filter = ParameterSpec::new(format!("{prefix}{}.weight", self.conv), &[self.k, self.r, self.r, self.c]);
        std::iter::once(filter).chain(self.bn.iter().flat_map(|bn| affine(prefix, bn, self.k))).collect()
    }
}

/// A batch normalisation and a rectifier in front of convolutions: its input is read by others too, or is a sum of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivationSpec {
    /// State-dict name of the batch normalisation, e.g. `layer1.0.bn1`.
    pub bn: String,
    /// Channels.
    pub c: usize,
    /// Height and width of the image.
    pub size: usize,
}

/// Scale and shift of a batch normalisation.
fn affine(prefix: &str, bn: &str, channels: usize) -> [ParameterSpec; 2] {
    ["weight", "bias"].map(|name| ParameterSpec::new(format!("{prefix}{bn}.{name}"), &[channels]))
}

/// A residual block: a chain of convolutions, and a projection where the shape changes.
///
/// Every convolution of the chain with a batch normalisation behind it is rectified after that, the last one with the shortcut added before. So a block whose last
/// convolution has none gives the bare sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSpec {
    /// What chain and projection read in place of the block's input; an identity shortcut passes it by.
    pub activation: Option<ActivationSpec>,
    /// Two (basic) or three (bottleneck) units.
    pub units: Vec<ConvSpec>,
    /// 1×1 convolution on the shortcut, when shapes differ.
    pub shortcut: Option<ConvSpec>,
}

/// Per-channel statistics that images are normalised by before the stem: x′ = (x − mean)/std. Neither the paper nor the released code does so;
/// many other pretrained models were.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Subtracted: red, green, blue, for pixels in [0, 1].
    pub mean: [f64; 3],
    /// Divided by.
    pub std: [f64; 3],
}

/// A whole encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The stem, fed by RGB images; rectified where it has a batch normalisation.
    pub stem: ConvSpec,
    /// The blocks, in order.
    pub blocks: Vec<BlockSpec>,
    /// What pooling reads in place of the last block's output.
    pub activation: Option<ActivationSpec>,
    /// Width of the feature vector after average pooling.
    pub features: usize,
    /// Height and width of the images.
    pub image_size: usize,
    /// What images go through before the stem.
    pub normalization: Option<Normalization>,
}

impl Topology {
    /// The network whose first stage has `width` channels (64 in the paper), for 32×32 images, which it takes as they are.
    pub fn new(architecture: Architecture, width: usize) -> Self {
        const IMAGE: usize = 32;
        let stem = architecture.stem_channels().unwrap_or(width);
        let (mut c, mut size) = (stem, IMAGE);
        let mut stem = ConvSpec { conv: "conv1".into(), bn: None, c: 3, k: stem, r: 3, stride: 1, size: IMAGE };
        let mut blocks = Vec::new();
        for (stage, &count) in architecture.blocks().iter().enumerate() {
            let inner = width << stage;
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(block(architecture, &architecture.block_name(stage, index), c, inner, stride, size));
                (c, size) = (inner * architecture.expansion(), size / stride);
            }
        }
        let activation = match architecture.order() {
            Order::ConvolutionFirst => {
                stem.bn = Some("bn1".into());
                None
            }
            Order::ActivationFirst { last } => {
                if let Some(first) = blocks.first_mut().filter(|block| block.shortcut.is_some()) {
                    // Without an identity shortcut nobody else reads the stem's sum.
                    stem.bn = first.activation.take().map(|activation| activation.bn);
                }
                Some(ActivationSpec { bn: last.into(), c, size })
            }
        };
        Self { stem, blocks, activation, features: c, image_size: IMAGE, normalization: None }
    }

    /// Every convolution, stem first, in the order of the forward pass.
    pub fn convs(&self) -> impl Iterator<Item = &ConvSpec> {
        std::iter::once(&self.stem).chain(self.blocks.iter().flat_map(|b| b.units.iter().chain(&b.shortcut)))
    }

    /// Every batch normalisation that is not behind a convolution.
    fn activations(&self) -> impl Iterator<Item = &ActivationSpec> {
        self.blocks.iter().filter_map(|block| block.activation.as_ref()).chain(&self.activation)
    }

    /// State-dict name and channels of every batch normalisation, those behind convolutions first.
    pub fn batch_norms(&self) -> impl Iterator<Item = (&str, usize)> {
        let behind = self.convs().filter_map(|conv| Some((conv.bn.as_deref()?, conv.k)));
        behind.chain(self.activations().map(|activation| (activation.bn.as_str(), activation.c)))
    }

    /// The trainable parameters, named as in the reference's state dict, or that of the architecture's public code, behind `prefix`.
    pub fn parameters(&self, prefix: &str) -> Vec<ParameterSpec> {
        let convs = self.convs().flat_map(|conv| conv.parameters(prefix));
        convs.chain(self.activations().flat_map(|activation| affine(prefix, &activation.bn, activation.c))).collect()
    }

    /// Elements of the largest activation of one image, including the images themselves.
    pub fn largest_activation(&self) -> usize {
        let input = self.image_size * self.image_size * self.stem.c;
        self.convs().map(|c| c.out_len().max(c.size * c.size * c.c)).fold(input, usize::max)
    }
}

fn block(architecture: Architecture, name: &str, c: usize, inner: usize, stride: usize, size: usize) -> BlockSpec {
    let out = inner * architecture.expansion();
    let after = size / stride;
    // Channels in and out, filter, stride, input size.
    let chain = match architecture.expansion() {
        1 => vec![(c, inner, 3, stride, size), (inner, out, 3, 1, after)],
        _ => vec![(c, inner, 1, 1, size), (inner, inner, 3, stride, size), (inner, out, 1, 1, after)],
    };
    let bn = |index: usize| format!("{name}.bn{index}");
    let activated_first = matches!(architecture.order(), Order::ActivationFirst { .. });
    // Behind a convolution stands the batch normalisation of its own number, or the one in front of the next.
    let (activation, first_behind) = match activated_first {
        true => (Some(ActivationSpec { bn: bn(1), c, size }), 2),
        false => (None, 1),
    };
    let last = chain.len();
    let behind = |index: usize| Some(index + first_behind).filter(|&number| number <= last).map(bn);
    let units = chain
        .into_iter()
        .enumerate()
        .map(|(index, (c, k, r, stride, size))| {
            let conv = format!("{name}.conv{}", index + 1);
            ConvSpec { conv, bn: behind(index), c, k, r, stride, size }
        })
        .collect();
    let shortcut = (stride != 1 || c != out).then(|| ConvSpec {
        conv: format!("{name}.{}", architecture.shortcut_name()),
        bn: (!activated_first).then(|| format!("{name}.shortcut.1")),
        c,
        k: out,
        r: 1,
        stride,
        size,
    });
    BlockSpec { activation, units, shortcut }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cost the paper's network is known by: 1.111 GFLOP forward for one image, counted as 2 per multiply-add, and its parameter count.
    #[test]
    fn resnet18_has_the_known_size() {
        let net = Topology::new(Architecture::ResNet18, 64);
        let flops: usize = 2 * net.convs().map(ConvSpec::multiply_adds).sum::<usize>();
        assert!((1.10e9..1.12e9).contains(&(flops as f64)), "{flops}");
        assert_eq!(parameters(&net), 11_168_832, "torch: 11,173,962 with the 10-way head, which has 5,130");
        assert_eq!((net.features, net.convs().count()), (512, 20));
    }

    fn parameters(net: &Topology) -> usize {
        net.parameters("").iter().map(|p| p.dims.iter().product::<usize>()).sum()
    }

    #[test]
    fn resnet50_has_the_known_size() {
        let net = Topology::new(Architecture::ResNet50, 64);
        assert_eq!(parameters(&net), 23_500_352, "torch: 23,520,842 with the 10-way head, which has 20,490");
        assert_eq!((net.features, net.convs().count()), (2048, 53));
    }

    #[test]
    fn preactresnet18_has_the_known_size() {
        let net = Topology::new(Architecture::PreActResNet18, 64);
        assert_eq!(parameters(&net), 11_167_040, "torch: 11,172,170 with the 10-way head, which has 5,130");
        assert_eq!((net.features, net.convs().count()), (512, 20));
        let normalised = |net: &Topology| net.convs().filter(|conv| conv.bn.is_some()).count();
        assert_eq!((normalised(&net), net.batch_norms().count()), (8, 17), "the second of each block follows a convolution");
    }

    #[test]
    fn wide_networks_have_the_known_sizes() {
        // torch, with a 10-way head: WRN-16-4 2,748,890, WRN-28-10 36,479,194, WRN-34-10 46,160,474, WRN-70-16 266,796,506.
        let sizes = [(2, 64, 2_746_320), (4, 160, 36_472_784), (5, 160, 46_154_064), (11, 256, 266_786_256)];
        for (blocks, width, expected) in sizes {
            let net = Topology::new(Architecture::WideResNet { blocks }, width);
            assert_eq!(parameters(&net), expected, "WRN-{}-{}", 6 * blocks + 4, width / 16);
            assert_eq!(net.features, 4 * width);
        }
        // The first normalisation follows the stem, but where an identity passes the stem's sum on.
        let stem = |width| Topology::new(Architecture::WideResNet { blocks: 1 }, width).stem.bn;
        assert_eq!((stem(160).as_deref(), stem(16)), (Some("block1.layer.0.bn1"), None));
    }

    /// Every parameter of the public code, whose names these are, is there once.
    #[test]
    fn names_are_those_of_public_code() {
        for (architecture, names) in [
            (Architecture::PreActResNet18, ["conv1.weight", "layer1.0.bn1.bias", "layer4.0.shortcut.0.weight", "bn.weight"]),
            (
                Architecture::WideResNet { blocks: 2 },
                ["conv1.weight", "block1.layer.0.bn1.bias", "block3.layer.0.convShortcut.weight", "bn1.weight"],
            ),
        ] {
            let mut found: Vec<String> = Topology::new(architecture, 4).parameters("").into_iter().map(|p| p.name).collect();
            assert!(
                names.iter().all(|name| found.iter().filter(|found| found == name).count() == 1),
                "{architecture}: {found:?}"
            );
            let count = found.len();
            found.sort();
            found.dedup();
            assert_eq!(found.len(), count);
        }
    }
}
