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
    /// Room for the signs, where a step is not fused.
    direction: Option<Tensor<R>>,
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
        let (epsilon, step_size) = (R::from_f64(epsilon), R::from_f64(step_size));
        Ok(Self { epsilon, step_size, steps, random_start, gradient, direction: None })
    }

    /// The same attack to the same bits, with each step as a sequence of elementary operations, as a framework carries it out: for benchmarks.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when the device has no room for the signs.
    pub fn unfused(self) -> Result<Self> {
        let direction = Tensor::zeros(self.gradient.device(), self.gradient.shape())?;
        Ok(Self { direction: Some(direction), ..self })
    }

    /// One step, in place: evaluates the objective at `x` and moves it.
    pub fn step(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        let gradient = self.gradient.rows(0..x.rows_len())?;
        objective.gradient(x, &gradient)?;
        match &self.direction {
            None => ops::pgd_linf_step(x, &gradient, clean, self.step_size, self.epsilon),
            Some(direction) => {
                let direction = direction.rows(0..x.rows_len())?;
                ops::pgd_linf_step_unfused(x, &gradient, clean, self.step_size, self.epsilon, &direction)
            }
        }
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
