//! A step of PGD in one kernel with the stem's convolution by its input.

use super::check::{has_shape, same_shape};
use super::pgd::LinfStep;
use super::stem::STEM_CHANNELS;
use crate::device::launch::{self, Work};
use crate::device::record;
use crate::element::Element;
use crate::{Error, Result, Tensor};

/// Pixels of a block's tile in either direction, and its threads, as in the kernel.
const SIDE: usize = 16;
const THREADS: usize = 64;

/// What stands behind the input of the stem, and where its next one goes.
pub struct StemStep<'a, T: Element> {
    /// The gradient of the stem's output before its bias, `[n, h, w, k]`.
    pub dy: &'a Tensor<T>,
    /// `[k, 3, 3, c]`, of stride and padding 1; c is 3, or 8 with the images in [two parts](super::stem_images), of which the first counts.
    pub filter: &'a Tensor<T>,
    /// Where to write the stem's input for the moved images, `[n, h, w, c]`.
    pub next: Option<&'a Tensor<T>>,
    /// Mean and standard deviation, `[3]` each, by which the input is normalised.
    pub statistics: Option<[&'a Tensor<T::Real>; 2]>,
}

/// [`pgd_linf_step`](super::pgd_linf_step) along the gradient of the stem's input, which is never stored: it takes the place of
/// [`conv_dgrad`](super::conv_dgrad), the step, and [`stem_images`](super::stem_images) or [`normalize`](super::normalize). `x` and `clean` are `[n, h, w, 3]`.
/// That the images are normalised, and each image's gradient scaled, changes no sign.
pub fn stem_pgd_step<T: Element>(
    stem: &StemStep<T>,
    clean: &Tensor<T::Real>,
    step: &LinfStep<T::Real>,
    x: &Tensor<T::Real>,
) -> Result<()> {
    const OP: &str = "stem_pgd_step";
    let [n, h, w, k] = stem.dy.dims_of(OP)?;
    let [_, _, _, channels] = stem.filter.dims_of(OP)?;
    if channels != 3 && channels != STEM_CHANNELS {
        return Err(Error::shape(OP, format!("`filter` has {channels} channels but must have 3 or {STEM_CHANNELS}")));
    }
    has_shape(OP, "filter", stem.filter, &[k, 3, 3, channels])?;
    has_shape(OP, "x", x, &[n, h, w, 3])?;
    same_shape(OP, &[("x", x), ("clean", clean)])?;
    stem.next.map_or(Ok(()), |next| has_shape(OP, "next", next, &[n, h, w, channels]))?;
    for statistic in stem.statistics.into_iter().flatten() {
        has_shape(OP, "mean and std", statistic, &[3])?;
    }
    let [mean, std] = [0, 1].map(|index| stem.statistics.map(|both| both[index]));
    let work = Work::Blocks(n * h.div_ceil(SIDE) * w.div_ceil(SIDE), THREADS);
    record::computing((2 * n * h * w * k * 27) as u64, || {
        launch::stem_pgd_step(
            work,
            stem.dy,
            stem.filter,
            clean,
            x,
            stem.next,
            mean,
            std,
            h as i32,
            w as i32,
            k as i32,
            channels as i32,
            step.size,
            step.radius,
        )
    })
}
