//! What a residual network consists of: the one description its training form, its inference form, its parameter names and its cost are
//! derived from.

use super::parameters::ParameterSpec;
use crate::ops::ConvShape;
use serde::{Deserialize, Serialize};

/// A family of residual networks with the CIFAR stem (3×3, stride 1, no pooling; He et al. 2016).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Basic blocks [2, 2, 2, 2].
    ResNet18,
    /// Bottleneck blocks [3, 4, 6, 3], expansion 4.
    ResNet50,
}

impl Architecture {
    /// As papers write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::ResNet18 => "ResNet-18",
            Self::ResNet50 => "ResNet-50",
        }
    }

    fn blocks(self) -> [usize; 4] {
        match self {
            Self::ResNet18 => [2, 2, 2, 2],
            Self::ResNet50 => [3, 4, 6, 3],
        }
    }

    fn expansion(self) -> usize {
        match self {
            Self::ResNet18 => 1,
            Self::ResNet50 => 4,
        }
    }
}

/// A convolution with the batch normalisation behind it; square images, "same" padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// State-dict name of the convolution, e.g. `layer1.0.conv1`.
    pub conv: String,
    /// State-dict name of the batch normalisation, e.g. `layer1.0.bn1`.
    pub bn: String,
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

    fn parameters(&self, prefix: &str) -> [ParameterSpec; 3] {
        [
            ParameterSpec::new(format!("{prefix}{}.weight", self.conv), &[self.k, self.r, self.r, self.c]),
            ParameterSpec::new(format!("{prefix}{}.weight", self.bn), &[self.k]),
            ParameterSpec::new(format!("{prefix}{}.bias", self.bn), &[self.k]),
        ]
    }
}

/// A residual block: a chain of convolutions, and a projection where the shape changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSpec {
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
    /// The stem, fed by RGB images.
    pub stem: ConvSpec,
    /// The blocks, in order.
    pub blocks: Vec<BlockSpec>,
    /// Width of the feature vector after average pooling.
    pub features: usize,
    /// Height and width of the images.
    pub image_size: usize,
    /// What images go through before the stem.
    pub normalization: Option<Normalization>,
}

impl Topology {
    /// The network of the given base width (64 in the paper) for 32×32 images, which it takes as they are.
    pub fn new(architecture: Architecture, width: usize) -> Self {
        const IMAGE: usize = 32;
        let stem = ConvSpec { conv: "conv1".into(), bn: "bn1".into(), c: 3, k: width, r: 3, stride: 1, size: IMAGE };
        let mut blocks = Vec::new();
        let (mut c, mut size) = (width, IMAGE);
        for (stage, &count) in architecture.blocks().iter().enumerate() {
            let inner = width << stage;
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let block = block(architecture, &format!("layer{}.{index}", stage + 1), c, inner, stride, size);
                (c, size) = (inner * architecture.expansion(), size / stride);
                blocks.push(block);
            }
        }
        Self { stem, blocks, features: c, image_size: IMAGE, normalization: None }
    }

    /// Every convolution, stem first, in the order of the forward pass.
    pub fn convs(&self) -> impl Iterator<Item = &ConvSpec> {
        std::iter::once(&self.stem).chain(self.blocks.iter().flat_map(|b| b.units.iter().chain(&b.shortcut)))
    }

    /// The trainable parameters, named as in the reference's state dict behind `prefix`.
    pub fn parameters(&self, prefix: &str) -> Vec<ParameterSpec> {
        self.convs().flat_map(|conv| conv.parameters(prefix)).collect()
    }

    /// Elements of the largest activation of one image, including the images themselves.
    pub fn largest_activation(&self) -> usize {
        let input = self.image_size * self.image_size * self.stem.c;
        self.convs().map(|c| c.out_len().max(c.size * c.size * c.c)).fold(input, usize::max)
    }
}

fn block(architecture: Architecture, name: &str, c: usize, inner: usize, stride: usize, size: usize) -> BlockSpec {
    let unit = |index: usize, c, k, r, stride, size| ConvSpec {
        conv: format!("{name}.conv{index}"),
        bn: format!("{name}.bn{index}"),
        c,
        k,
        r,
        stride,
        size,
    };
    let out = inner * architecture.expansion();
    let after = size / stride;
    let units = match architecture {
        Architecture::ResNet18 => vec![unit(1, c, inner, 3, stride, size), unit(2, inner, out, 3, 1, after)],
        Architecture::ResNet50 => {
            vec![unit(1, c, inner, 1, 1, size), unit(2, inner, inner, 3, stride, size), unit(3, inner, out, 1, 1, after)]
        }
    };
    let shortcut = (stride != 1 || c != out).then(|| ConvSpec {
        conv: format!("{name}.shortcut.0"),
        bn: format!("{name}.shortcut.1"),
        c,
        k: out,
        r: 1,
        stride,
        size,
    });
    BlockSpec { units, shortcut }
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
        let parameters: usize = net.parameters("").iter().map(|p| p.dims.iter().product::<usize>()).sum();
        assert_eq!(parameters, 11_168_832, "torch: 11,173,962 with the 10-way head, which has 5,130");
        assert_eq!((net.features, net.convs().count()), (512, 20));
    }

    #[test]
    fn resnet50_has_the_known_size() {
        let net = Topology::new(Architecture::ResNet50, 64);
        let parameters: usize = net.parameters("").iter().map(|p| p.dims.iter().product::<usize>()).sum();
        assert_eq!(parameters, 23_500_352, "torch: 23,520,842 with the 10-way head, which has 20,490");
        assert_eq!((net.features, net.convs().count()), (2048, 53));
    }
}
