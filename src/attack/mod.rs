//! Attacks: how an image is changed within a budget so that a loss grows.
//!
//! An [`Attack`] sees the model only through an [`Objective`], x → loss and ∇x, so any attack runs against any loss: the contrastive one of
//! pretraining ([`InstanceObjective`]), those of a classifier ([`ClassifierObjective`], and as it
//! trains [`BatchObjective`]), or their expectation over random views
//! ([`SmoothedObjective`]). An objective that is also a [`Judge`] says how each image fares, by which [`WorstOf`] several attacks, such as
//! restarts of one, keeps the worst for each image.

mod batch;
mod classifier;
mod instance;
mod pgd;
mod smoothed;
mod worst_of;

pub use batch::BatchObjective;
pub use classifier::{ClassifierBuffers, ClassifierLoss, ClassifierObjective};
pub use instance::{InstanceBuffers, InstanceObjective};
pub use pgd::{Pgd, RandomStart};
pub use smoothed::{SmoothedBuffers, SmoothedObjective, Smoothing};
pub use worst_of::{Judge, WorstOf};

use crate::element::Real;
use crate::ops::PgdStep;
use crate::{Result, Tensor};

/// What an attack increases.
pub trait Objective<R: Real> {
    /// Evaluates the loss at `x` (`[n, 32, 32, 3]`) and writes its gradient. The loss stays on the device, in [`Objective::loss`].
    fn gradient(&mut self, x: &Tensor<R>, gradient: &Tensor<R>) -> Result<()>;

    /// Moves `x` in place by `steps` steps around `clean`, each along the gradient at where the one before it led. `gradient` has room for one
    /// gradient, and holds nothing of use afterwards: an objective may have a way to step without storing it.
    fn ascend(&mut self, step: &PgdStep<R>, steps: usize, clean: &Tensor<R>, x: &Tensor<R>, gradient: &Tensor<R>) -> Result<()> {
        step_by_step(self, step, steps, clean, x, gradient)
    }

    /// The loss of the last evaluation, `[1]`.
    fn loss(&self) -> &Tensor<R>;
}

/// [`Objective::ascend`] by gradients that are stored.
fn step_by_step<R: Real, O: Objective<R> + ?Sized>(
    objective: &mut O,
    step: &PgdStep<R>,
    steps: usize,
    clean: &Tensor<R>,
    x: &Tensor<R>,
    gradient: &Tensor<R>,
) -> Result<()> {
    (0..steps).try_for_each(|_| {
        objective.gradient(x, gradient)?;
        step.take(x, gradient, clean)
    })
}

/// A way to perturb images.
pub trait Attack<R: Real> {
    /// Writes adversarial versions of `clean` (`[n, 32, 32, 3]`, in [0, 1]) to `x`, which does not overlap it.
    fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()>;
}
