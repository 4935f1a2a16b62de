//! Projected gradient descent in the L∞ ball (Madry et al. 2018).

use super::{Attack, Objective};
use crate::element::Real;
use crate::{Device, Result, Tensor, ops};

/// A uniformly random start within the ball; the noise is a pure function of seed, stream and the step counter of `clock`.
pub struct RandomStart {
    /// Seed of the run.
    pub seed: u64,
    /// Separates the attacks of one run.
    pub stream: u32,
    /// `[2]`: step within the epoch, and global step.
    pub clock: Tensor<i64>,
}

/// `steps` steps of x ← Π(x + α·sign ∇), where Π projects onto the `epsilon`-ball around the clean image and onto [0, 1].
pub struct LinfPgd<R: Real> {
    epsilon: R,
    step_size: R,
    steps: usize,
    random_start: Option<RandomStart>,
    gradient: Tensor<R>,
}

impl<R: Real> LinfPgd<R> {
    /// For batches of up to `max_batch` images of 32×32. `epsilon` and `step_size` are in units of the pixel range [0, 1].
    pub fn new(
        device: &Device,
        max_batch: usize,
        epsilon: f64,
        step_size: f64,
        steps: usize,
        random_start: Option<RandomStart>,
    ) -> Result<Self> {
        let gradient = Tensor::zeros(device, [max_batch, 32, 32, 3])?;
        Ok(Self { epsilon: R::from_f64(epsilon), step_size: R::from_f64(step_size), steps, random_start, gradient })
    }

    /// One step, in place: evaluates the objective at `x` and moves it.
    pub fn step(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        let gradient = self.gradient.rows(0..x.rows_len())?;
        objective.gradient(x, &gradient)?;
        ops::pgd_linf_step(x, &gradient, clean, self.step_size, self.epsilon)
    }
}

impl<R: Real> Attack<R> for LinfPgd<R> {
    fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        match &self.random_start {
            Some(RandomStart { seed, stream, clock }) => ops::random_start(clean, self.epsilon, *seed, *stream, clock, x)?,
            None => x.copy_from(clean)?,
        }
        (0..self.steps).try_for_each(|_| self.step(clean, objective, x))
    }
}
