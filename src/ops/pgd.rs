//! Steps of projected gradient descent.

use super::check::same_shape;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Result, Tensor};

/// The sizes of a step of PGD in the L∞ ball: x ← Π(x + `size`·sign ∇), where Π projects onto the `radius`-ball around the clean image and onto [0, 1]; in units of the pixel
/// range [0, 1].
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
