//! Attacks: how an image is changed within a budget so that a loss grows.
//!
//! An [`Attack`] sees the model only through an [`Objective`], x → loss and ∇x, so any attack runs against any loss: the contrastive one of
//! pretraining ([`InstanceObjective`]), those of a classifier ([`ClassifierObjective`], and as it trains [`BatchObjective`]), or their expectation
//! over random views ([`SmoothedObjective`]). An objective that is also a [`Judge`] says how each image fares, by which [`WorstOf`] several
//! attacks, such as restarts of one, keeps the worst for each image.

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
///
/// Those of the recipes are a network's; any function of images whose gradient can be computed is one. This one is their brightness:
///
/// ```
/// use rocl::attack::{Attack, Objective, Pgd};
/// use rocl::ops::{self, Norm, PgdStep};
/// use rocl::{Device, Result, Tensor};
///
/// struct Brightness {
///     ones: Tensor<f32>,
///     sum: Tensor<f32>,
/// }
///
/// impl Objective<f32> for Brightness {
///     fn gradient(&mut self, x: &Tensor<f32>, gradient: &Tensor<f32>) -> Result<()> {
///         ops::weighted_sum(x, 1.0, false, &self.sum)?;
///         gradient.copy_from(&self.ones)
///     }
///
///     fn loss(&self) -> &Tensor<f32> {
///         &self.sum
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let device = Device::host()?;
/// let images = |value: f32| Tensor::from_slice(&device, [2, 32, 32, 3], &[value; 6144]);
/// let mut brightness = Brightness { ones: images(1.0)?, sum: Tensor::zeros(&device, [1])? };
///
/// let (clean, x) = (images(0.5)?, images(0.0)?);
/// let pgd = Pgd::new(&device, 2, PgdStep::new(Norm::Linf, 0.125, 0.25), 3, None)?;
/// pgd.perturb(&clean, &mut brightness, &x)?;
/// assert!(x.to_vec()?.iter().all(|pixel| *pixel == 0.75));
/// // At the last step's beginning.
/// assert_eq!(brightness.loss().to_vec()?, [6144.0 * 0.75]);
/// # Ok(())
/// # }
/// ```
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
///
/// The built-in [`Pgd`] is written against this trait; so is an attack of your own, in training (as one of the
/// [`Ingredients`](crate::recipe::pretrain::Ingredients)) and in evaluation ([`Evaluation::and`](crate::recipe::evaluate::Evaluation::and)). One with a kernel of
/// its own is in `examples/own_attack/`. This one takes the steepest step from a random point of the ball:
///
/// ```
/// use rocl::attack::{Attack, Objective, RandomStart};
/// use rocl::element::Real;
/// use rocl::ops::{Norm, PgdStep};
/// use rocl::{Device, Result, Tensor};
///
/// struct RandomFgsm<R> {
///     step: PgdStep<R>,
///     start: RandomStart,
///     gradient: Tensor<R>,
/// }
///
/// impl<R: Real> RandomFgsm<R> {
///     fn new(device: &Device, max_batch: usize, epsilon: f64, start: RandomStart) -> Result<Self> {
///         let step = PgdStep::new(Norm::Linf, 1.25 * epsilon, epsilon);
///         Ok(Self { step, start, gradient: Tensor::zeros(device, [max_batch, 32, 32, 3])? })
///     }
/// }
///
/// impl<R: Real> Attack<R> for RandomFgsm<R> {
///     fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
///         let RandomStart { seed, stream, clock } = &self.start;
///         let gradient = self.gradient.rows(0..clean.rows_len())?;
///         self.step.start(clean, *seed, *stream, clock, x)?;
///         objective.gradient(x, &gradient)?;
///         self.step.take(x, &gradient, clean)
///     }
/// }
///
/// # struct Zero(Tensor<f32>);
/// # impl Objective<f32> for Zero {
/// #     fn gradient(&mut self, _: &Tensor<f32>, gradient: &Tensor<f32>) -> Result<()> {
/// #         gradient.clear()
/// #     }
/// #     fn loss(&self) -> &Tensor<f32> {
/// #         &self.0
/// #     }
/// # }
/// # fn main() -> Result<()> {
/// # let device = Device::host()?;
/// # let mut objective = Zero(Tensor::zeros(&device, [1])?);
/// let start = RandomStart { seed: 0, stream: 7, clock: Tensor::zeros(&device, [2])? };
/// let attack = RandomFgsm::new(&device, 4, 0.25, start)?;
/// let clean = Tensor::from_slice(&device, [2, 32, 32, 3], &[0.5f32; 6144])?;
/// let x = Tensor::zeros(&device, clean.shape())?;
/// attack.perturb(&clean, &mut objective, &x)?;
/// let x = x.to_vec()?;
/// assert!(x.iter().all(|pixel| (0.25..=0.75).contains(pixel)) && x.iter().any(|pixel| *pixel != 0.5));
/// # Ok(())
/// # }
/// ```
pub trait Attack<R: Real> {
    /// Writes adversarial versions of `clean` (`[n, 32, 32, 3]`, in [0, 1]) to `x`, which does not overlap it.
    fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()>;
}
