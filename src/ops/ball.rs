//! Steps and random starts of projected gradient descent in the L2 and the L1 ball, image by image.

use super::check::{has_shape, same_shape};
use super::clock::is_clock;
use super::image::images_len;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// Threads of a block, which has an image, as in `kernels/include/ball.cuh`.
const THREADS: usize = 96;

/// How many numbers of an image a step in the L1 ball moves: those whose gradient is at or above the 0.99-quantile of an image's 3072
/// magnitudes, linearly interpolated.
///
/// Tramèr & Boneh (2019) introduce the quantile q of SLIDE; 0.99 is the value that foolbox's `SparseL1DescentAttack` takes when none is given.
pub const L1_STEP_SUPPORT: usize = 31;

fn blocks(op: &'static str, images: usize) -> Result<Work> {
    match u32::try_from(images) {
        Ok(_) => Ok(Work::Blocks(images, THREADS)),
        Err(_) => Err(Error::shape(op, format!("{images} images are too many for one launch; use a smaller batch"))),
    }
}

fn step_work<R: Real>(op: &'static str, x: &Tensor<R>, gradient: &Tensor<R>, clean: &Tensor<R>) -> Result<Work> {
    let images = images_len(op, "x", x)?;
    same_shape(op, &[("x", x), ("gradient", gradient), ("clean", clean)])?;
    images_len(op, "gradient", gradient)?;
    images_len(op, "clean", clean)?;
    blocks(op, images)
}

/// One step in the L2 ball, in place, image by image: x ← Π(x + `step_size`·∇/|∇|₂), where Π is the nearest point of the ball of radius
/// `epsilon` around `clean` **and** of [0, 1], exactly: clip(clean + s·(x − clean)) with the largest s ≤ 1 that lies inside.
///
/// All tensors are `[n, 32, 32, 3]`. No image ends outside its ball, not by a rounding error. An image whose gradient is zero or not finite
/// is projected only; of the gradient's scale nothing depends.
pub fn pgd_l2_step<R: Real>(x: &Tensor<R>, gradient: &Tensor<R>, clean: &Tensor<R>, step_size: R, epsilon: R) -> Result<()> {
    let work = step_work("pgd_l2_step", x, gradient, clean)?;
    launch::pgd_l2_step(work, x, gradient, clean, step_size, epsilon)
}

/// One step in the L1 ball, in place, image by image: SLIDE (Tramèr & Boneh 2019). The [`L1_STEP_SUPPORT`] largest gradients by magnitude
/// each move their pixel by the same amount along their sign, `step_size` in all; of equal ones the first in memory. A pixel at 0 or 1 that
/// would leave [0, 1] passes its turn on. Then Π, the nearest point of the ball of radius `epsilon` around `clean` **and** of [0, 1] (Croce
/// & Hein 2021): clip(clean + soft(x − clean, t)) with the smallest t ≥ 0 that lies inside.
///
/// All tensors are `[n, 32, 32, 3]`. No image ends outside its ball, not by a rounding error.
pub fn pgd_l1_step<R: Real>(x: &Tensor<R>, gradient: &Tensor<R>, clean: &Tensor<R>, step_size: R, epsilon: R) -> Result<()> {
    let work = step_work("pgd_l1_step", x, gradient, clean)?;
    launch::pgd_l1_step(work, x, gradient, clean, step_size, epsilon, L1_STEP_SUPPORT as i32)
}

fn start_work<R: Real>(op: &'static str, clean: &Tensor<R>, clock: &Tensor<i64>, x: &Tensor<R>) -> Result<Work> {
    let images = images_len(op, "clean", clean)?;
    has_shape(op, "x", x, clean.dims())?;
    images_len(op, "x", x)?;
    is_clock(op, clock)?;
    blocks(op, images)
}

/// `x` ← Π(`clean` + noise), image by image, the noise uniform in the L2 ball of radius `epsilon`, and Π as in [`pgd_l2_step`]. `x` and
/// `clean` are `[n, 32, 32, 3]`.
///
/// The numbers are those of (`seed`, `stream`, `clock[1]`, element), as for [`random_start`](super::random_start).
pub fn random_start_l2<R: Real>(
    clean: &Tensor<R>,
    epsilon: R,
    seed: u64,
    stream: u32,
    clock: &Tensor<i64>,
    x: &Tensor<R>,
) -> Result<()> {
    let work = start_work("random_start_l2", clean, clock, x)?;
    launch::random_start_l2(work, clean, epsilon, seed, stream.into(), clock, x)
}

/// The same in the L1 ball, with Π as in [`pgd_l1_step`].
pub fn random_start_l1<R: Real>(
    clean: &Tensor<R>,
    epsilon: R,
    seed: u64,
    stream: u32,
    clock: &Tensor<i64>,
    x: &Tensor<R>,
) -> Result<()> {
    let work = start_work("random_start_l1", clean, clock, x)?;
    launch::random_start_l1(work, clean, epsilon, seed, stream.into(), clock, x)
}
