//! Projected gradient descent (Madry et al. 2018) in the L∞, L2 or L1 ball.

use super::{Attack, Objective};
use crate::element::Real;
use crate::ops::{Norm, PgdStep};
use crate::{Device, Result, Tensor};

/// A uniformly random start within the ball; the noise is a pure function of seed, stream and the step counter of `clock`.
#[derive(Clone)]
pub struct RandomStart {
    /// Seed of the run.
    pub seed: u64,
    /// Separates the attacks of one run.
    pub stream: u32,
    /// `[2]`: step within the epoch, and global step.
    pub clock: Tensor<i64>,
}

/// `steps` steps of x ← Π(x + α·steepest direction), where Π projects onto the ε-ball around the clean image and onto [0, 1].
#[derive(Clone)]
pub struct Pgd<R: Real> {
    step: PgdStep<R>,
    steps: usize,
    random_start: Option<RandomStart>,
    gradient: Tensor<R>,
}

impl<R: Real> Pgd<R> {
    /// For batches of up to `max_batch` images of 32×32; it begins at the clean image where there is no random start.
    pub fn new(
        device: &Device,
        max_batch: usize,
        step: PgdStep<R>,
        steps: usize,
        random_start: Option<RandomStart>,
    ) -> Result<Self> {
        Ok(Self { step, steps, random_start, gradient: Tensor::zeros(device, [max_batch, 32, 32, 3])? })
    }

    /// The fast gradient method (Goodfellow, Shlens & Szegedy 2015): one step from the clean image to the surface of the ball. In the L∞ ball FGSM.
    pub fn fast_gradient(device: &Device, max_batch: usize, norm: Norm, epsilon: f64) -> Result<Self> {
        Self::new(device, max_batch, PgdStep::new(norm, epsilon, epsilon), 1, None)
    }

    /// The same attack with other noise, over the same buffers.
    pub fn with_stream(&self, stream: u32) -> Self {
        let random_start = self.random_start.clone().map(|start| RandomStart { stream, ..start });
        Self { random_start, ..self.clone() }
    }

    /// One step, in place: evaluates the objective at `x` and moves it.
    pub fn step(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        self.ascend(1, clean, objective, x)
    }

    fn ascend(&self, steps: usize, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        objective.ascend(&self.step, steps, clean, x, &self.gradient.rows(0..x.rows_len())?)
    }
}

impl<R: Real> Attack<R> for Pgd<R> {
    fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        match &self.random_start {
            Some(RandomStart { seed, stream, clock }) => self.step.start(clean, *seed, *stream, clock, x)?,
            None => x.copy_from(clean)?,
        }
        self.ascend(self.steps, clean, objective, x)
    }
}
