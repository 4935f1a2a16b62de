//! The networks by name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A family of residual networks with the CIFAR stem (3×3, stride 1, no pooling; He et al. 2016).
///
/// In recipes: `resnet18`, `resnet50`, `preactresnet18`, and `wrn` with a depth, such as `wrn34`. The last two have no training form
/// ([`Backbone`](super::Backbone)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Architecture {
    /// Basic blocks [2, 2, 2, 2].
    ResNet18,
    /// Bottleneck blocks [3, 4, 6, 3], expansion 4.
    ResNet50,
    /// ResNet-18 with batch normalisation and rectifier in front of convolutions (He et al. 2016b), and once more in front of the pooling.
    PreActResNet18,
    /// A wide residual network (Zagoruyko & Komodakis 2016): a stem of 16 channels and three stages of basic blocks, normalised and rectified in front of
    /// convolutions. WRN-34-10 has 5 blocks in a stage and a first stage of width 160.
    WideResNet {
        /// Blocks of each stage; the depth is 6 · `blocks` + 4.
        blocks: u16,
    },
}

/// Which comes first in a block.
pub(super) enum Order {
    /// The convolution; batch normalisation and rectifier are behind it.
    ConvolutionFirst,
    /// Batch normalisation and rectifier; the network's last are in front of the pooling, under this name.
    ActivationFirst { last: &'static str },
}

/// The deepest WRN that has a name here, 1000 layers.
const MOST_BLOCKS: u16 = 166;

impl Architecture {
    /// As papers write it.
    pub fn title(self) -> String {
        match self {
            Self::ResNet18 => "ResNet-18".into(),
            Self::ResNet50 => "ResNet-50".into(),
            Self::PreActResNet18 => "PreActResNet-18".into(),
            Self::WideResNet { .. } => format!("WRN-{}", self.depth()),
        }
    }

    /// Layers with weights, those of projections not counted.
    fn depth(self) -> usize {
        match self {
            Self::ResNet18 | Self::PreActResNet18 => 18,
            Self::ResNet50 => 50,
            Self::WideResNet { blocks } => 6 * usize::from(blocks) + 4,
        }
    }

    /// Blocks of each stage.
    pub(super) fn blocks(self) -> Vec<usize> {
        match self {
            Self::ResNet18 | Self::PreActResNet18 => vec![2, 2, 2, 2],
            Self::ResNet50 => vec![3, 4, 6, 3],
            Self::WideResNet { blocks } => vec![blocks.into(); 3],
        }
    }

    /// Channels of a block's output over those of its inner convolutions: 1 of a basic block, 4 of a bottleneck.
    pub(super) fn expansion(self) -> usize {
        match self {
            Self::ResNet50 => 4,
            _ => 1,
        }
    }

    /// Channels of the stem where they are not those of the first stage.
    pub(super) fn stem_channels(self) -> Option<usize> {
        matches!(self, Self::WideResNet { .. }).then_some(16)
    }

    pub(super) fn order(self) -> Order {
        match self {
            Self::ResNet18 | Self::ResNet50 => Order::ConvolutionFirst,
            Self::PreActResNet18 => Order::ActivationFirst { last: "bn" },
            Self::WideResNet { .. } => Order::ActivationFirst { last: "bn1" },
        }
    }

    /// State-dict name of a block, both counted from 0: that of public code, as is [`Architecture::shortcut_name`].
    pub(super) fn block_name(self, stage: usize, index: usize) -> String {
        match self {
            Self::WideResNet { .. } => format!("block{}.layer.{index}", stage + 1),
            _ => format!("layer{}.{index}", stage + 1),
        }
    }

    /// What a block's projection is called.
    pub(super) fn shortcut_name(self) -> &'static str {
        match self {
            Self::WideResNet { .. } => "convShortcut",
            _ => "shortcut.0",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::ResNet18 => f.write_str("resnet18"),
            Self::ResNet50 => f.write_str("resnet50"),
            Self::PreActResNet18 => f.write_str("preactresnet18"),
            Self::WideResNet { .. } => write!(f, "wrn{}", self.depth()),
        }
    }
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = [Self::ResNet18, Self::ResNet50, Self::PreActResNet18].into_iter();
        let wide = (1..=MOST_BLOCKS).map(|blocks| Self::WideResNet { blocks });
        named.chain(wide).find(|architecture| architecture.to_string() == name).ok_or_else(|| {
            format!("there is no network {name:?}; give resnet18, resnet50, preactresnet18, or wrn with a depth of 6n + 4, such as wrn34")
        })
    }
}

impl TryFrom<String> for Architecture {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Architecture> for String {
    fn from(architecture: Architecture) -> Self {
        architecture.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (architecture, name, title) in [
            (Architecture::ResNet18, "resnet18", "ResNet-18"),
            (Architecture::ResNet50, "resnet50", "ResNet-50"),
            (Architecture::PreActResNet18, "preactresnet18", "PreActResNet-18"),
            (Architecture::WideResNet { blocks: 5 }, "wrn34", "WRN-34"),
            (Architecture::WideResNet { blocks: 11 }, "wrn70", "WRN-70"),
        ] {
            assert_eq!(
                (name.parse::<Architecture>(), architecture.to_string().as_str(), architecture.title().as_str()),
                (Ok(architecture), name, title)
            );
        }
        for wrong in ["", "vgg", "wrn", "wrn4", "wrn35", "wrn034", "wrn1006", "ResNet18"] {
            assert!(
                wrong.parse::<Architecture>().unwrap_err().contains("give resnet18, resnet50, preactresnet18, or wrn"),
                "{wrong}"
            );
        }
    }
}
