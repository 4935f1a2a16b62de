//! The training methods.

use serde::{Deserialize, Serialize};

/// What a run learns, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Adversarial contrastive learning (Algorithm 1 of the paper).
    Rocl,
    /// Contrastive learning of two clean views; `[attack]` and the regulariser are unused.
    Simclr,
    /// Supervised contrastive learning of two clean views (Khosla et al. 2020): positives are all images of the same label.
    Scl,
    /// Cross-entropy.
    Ce,
    /// Adversarial training (Madry et al. 2018): cross-entropy of adversarial images.
    At,
    /// TRADES (Zhang et al. 2019): cross-entropy of clean images, and β times the divergence of the adversarial images' classification from theirs.
    Trades,
    /// Adversarial training along with NT-Xent of two clean views, to fine-tune what was pretrained with it (RoCL+AT+SS in the paper).
    #[serde(rename = "at-ss")]
    #[value(name = "at-ss")]
    AtSs,
}

impl Method {
    /// As in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rocl => "rocl",
            Self::Simclr => "simclr",
            Self::Scl => "scl",
            Self::Ce => "ce",
            Self::At => "at",
            Self::Trades => "trades",
            Self::AtSs => "at-ss",
        }
    }

    /// Whether it trains a classifier; the others train embeddings.
    pub fn trains_a_classifier(self) -> bool {
        matches!(self, Self::Ce | Self::At | Self::Trades | Self::AtSs)
    }

    /// Whether its images are attacked.
    pub fn is_adversarial(self) -> bool {
        matches!(self, Self::Rocl | Self::At | Self::Trades | Self::AtSs)
    }
}
