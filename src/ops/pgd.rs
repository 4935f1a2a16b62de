//! Steps of projected gradient descent.

use super::ball::{pgd_l1_step, pgd_l2_step, random_start_l1, random_start_l2};
use super::check::same_shape;
use super::random::random_start;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Result, Tensor};

/// What bounds a perturbation, and so what steepest ascent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// The largest change of a number.
    Linf,
    /// The Euclidean length of an image's change.
    L2,
    /// The sum of an image's changes.
    L1,
}

/// The sizes of a step of PGD: x ← Π(x + the steepest step of length `size`), where Π projects onto the `radius`-ball around the clean
/// image and onto [0, 1]; in units of the pixel range [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PgdStep<R> {
    /// What lengths are measured by.
    pub norm: Norm,
    /// α.
    pub size: R,
    /// ε.
    pub radius: R,
}

impl<R: Real> PgdStep<R> {
    /// The radius of an L2 or L1 ball is rounded downwards, so that what is inside the stored one is inside the other.
    pub fn new(norm: Norm, size: f64, radius: f64) -> Self {
        let nearest = R::from_f64(radius);
        let rounds_up = norm != Norm::Linf && nearest.to_f64() > radius;
        // One or two units in the last place below.
        let radius = if rounds_up { R::from_f64(radius * (1.0 - f64::from(f32::EPSILON))) } else { nearest };
        Self { norm, size: R::from_f64(size), radius }
    }

    /// As a step in the L∞ ball, if it is one.
    pub fn linf(&self) -> Option<LinfStep<R>> {
        (self.norm == Norm::Linf).then_some(LinfStep { size: self.size, radius: self.radius })
    }

    /// Takes the step, in place. All tensors are `[n, 32, 32, 3]`.
    pub fn take(&self, x: &Tensor<R>, gradient: &Tensor<R>, clean: &Tensor<R>) -> Result<()> {
        let step = match self.norm {
            Norm::Linf => pgd_linf_step,
            Norm::L2 => pgd_l2_step,
            Norm::L1 => pgd_l1_step,
        };
        step(x, gradient, clean, self.size, self.radius)
    }

    /// Writes to `x` a random point of the ball around `clean`, within [0, 1]: for L∞ as [`random_start`] has it, else as
    /// [`random_start_l2`] and [`random_start_l1`].
    pub fn start(&self, clean: &Tensor<R>, seed: u64, stream: u32, clock: &Tensor<i64>, x: &Tensor<R>) -> Result<()> {
        let start = match self.norm {
            Norm::Linf => random_start,
            Norm::L2 => random_start_l2,
            Norm::L1 => random_start_l1,
        };
        start(clean, self.radius, seed, stream, clock, x)
    }
}

/// The sizes of a step of PGD in the L∞ ball: x ← Π(x + `size`·sign ∇), where Π projects onto the `radius`-ball around the clean image and
/// onto [0, 1]; in units of the pixel range [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinfStep<R> {
    /// α.
    pub size: R,
    /// ε.
    pub radius: R,
}

/// One L∞ step, in place: x ← Π(x + `step_size`·sign(∇)), where Π clamps to [0, 1] and to the `epsilon`-ball around `clean`
/// (RoCL, Algorithm 1). All tensors have one shape; pixels are in [0, 1].
pub fn pgd_linf_step<R: Real>(x: &Tensor<R>, gradient: &Tensor<R>, clean: &Tensor<R>, step_size: R, epsilon: R) -> Result<()> {
    same_shape("pgd_linf_step", &[("x", x), ("gradient", gradient), ("clean", clean)])?;
    launch::pgd_linf_step(Work::Elements(x.len()), x, gradient, clean, step_size, epsilon, x.len() as i64)
}

/// The same step to the same bits, one elementary operation after the other: sign, move, clamp, project, each a kernel of its own. `direction` is
/// room for the signs. For benchmarks.
pub fn pgd_linf_step_unfused<R: Real>(
    x: &Tensor<R>,
    gradient: &Tensor<R>,
    clean: &Tensor<R>,
    step_size: R,
    epsilon: R,
    direction: &Tensor<R>,
) -> Result<()> {
    let tensors = [("x", x), ("gradient", gradient), ("clean", clean), ("direction", direction)];
    same_shape("pgd_linf_step_unfused", &tensors)?;
    let (work, n) = (Work::Elements(x.len()), x.len() as i64);
    launch::pgd_sign(work, gradient, direction, n)?;
    launch::pgd_move(work, x, direction, step_size, n)?;
    launch::pgd_clamp(work, x, n)?;
    launch::pgd_project(work, x, clean, epsilon, n)
}
