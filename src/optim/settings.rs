//! Which optimiser, and its hyper-parameters; the recipe's `[optimizer]`.

use serde::{Deserialize, Serialize};

/// `[optimizer]`: how a gradient moves the weights. Each kind has its own keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum OptimizerSettings {
    /// SGD with momentum on gradients scaled per tensor by `trust · |p| / (|g| + weight_decay · |p| + 1e-8)`.
    Lars {
        /// Base learning rate, before the schedule.
        learning_rate: f64,
        /// Momentum.
        momentum: f64,
        /// L2 penalty, added to the gradient.
        weight_decay: f64,
        /// Trust coefficient.
        trust: f64,
    },
    /// SGD with momentum.
    Sgd {
        /// Base learning rate, before the schedule.
        learning_rate: f64,
        /// Momentum.
        momentum: f64,
        /// L2 penalty, added to the gradient.
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay; with a weight decay of 0 it is Adam.
    Adamw {
        /// Base learning rate, before the schedule.
        learning_rate: f64,
        /// Decay of the mean of gradients.
        beta1: f64,
        /// Decay of the mean of squared gradients.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// Fraction of the weights, times the learning rate, taken off per step.
        weight_decay: f64,
    },
}

impl OptimizerSettings {
    /// The base learning rate, before the schedule.
    pub fn learning_rate(&self) -> f64 {
        match *self {
            Self::Lars { learning_rate, .. } | Self::Sgd { learning_rate, .. } | Self::Adamw { learning_rate, .. } => {
                learning_rate
            }
        }
    }
}
