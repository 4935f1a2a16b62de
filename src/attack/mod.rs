//! Attacks: how an image is changed within a budget so that a loss grows.
//!
//! An [`Attack`] sees the model only through an [`Objective`], x → loss and ∇x, so any attack runs against any loss: the contrastive one of
//! pretraining ([`InstanceObjective`]) or the cross-entropy of a classifier ([`ClassifierObjective`]).

mod classifier;
mod instance;
mod pgd;

pub use classifier::{ClassifierBuffers, ClassifierObjective};
pub use instance::{InstanceBuffers, InstanceObjective};
pub use pgd::{LinfPgd, RandomStart};

use crate::element::Real;
use crate::{Result, Tensor};

/// What an attack increases.
pub trait Objective<R: Real> {
    /// Evaluates the loss at `x` (`[n, 32, 32, 3]`) and writes its gradient. The loss stays on the device, in [`Objective::loss`].
    fn gradient(&mut self, x: &Tensor<R>, gradient: &Tensor<R>) -> Result<()>;

    /// The loss of the last evaluation, `[1]`.
    fn loss(&self) -> &Tensor<R>;
}

/// A way to perturb images.
pub trait Attack<R: Real> {
    /// Writes adversarial versions of `clean` (`[n, 32, 32, 3]`, in [0, 1]) to `x`, which does not overlap it.
    fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()>;
}
