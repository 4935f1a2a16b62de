//! Random views of images that need not be 8-bit, and the gradient's way back through them.

use super::check::has_shape;
use super::image::{image_dims, images_len};
use crate::data::augmentation::Augmentation;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// Threads of a block, which has an image; `THREADS` of `kernels/transform.cu`.
const THREADS: usize = 64;

fn work<R: Real>(op: &'static str, from: &Tensor<R>, records: &Tensor<i32>, to: &Tensor<R>) -> Result<Work> {
    let n = images_len(op, "x", from)?;
    has_shape(op, "out", to, &image_dims(n))?;
    has_shape(op, "records", records, &[n, Augmentation::WORDS])?;
    match u32::try_from(n) {
        Ok(_) => Ok(Work::Blocks(n, THREADS)),
        Err(_) => Err(Error::shape(op, format!("{n} images are too many for one launch; use a smaller batch"))),
    }
}

/// `out[i]` = the view of `x[i]` that the [`Augmentation`] in row `i` of `records` `[n, 12]` asks for: crop, resize, flip, grayscale, as
/// [`augment`](super::augment) has them but without rounding to 8 bits, and **without colour jitter**, which is defined on 8 bits only. `x`
/// and `out` are `[n, 32, 32, 3]`.
pub fn transform_views<R: Real>(x: &Tensor<R>, records: &Tensor<i32>, out: &Tensor<R>) -> Result<()> {
    let work = work("transform_views", x, records, out)?;
    launch::transform_views(work, x, records, out)
}

/// The gradient by `x` of [`transform_views`], times `weight`, from that by `out`; added to what is in `d_x` where `accumulate` is set.
pub fn transform_views_backward<R: Real>(
    d_out: &Tensor<R>,
    records: &Tensor<i32>,
    weight: f64,
    accumulate: bool,
    d_x: &Tensor<R>,
) -> Result<()> {
    let work = work("transform_views_backward", d_out, records, d_x)?;
    launch::transform_views_backward(work, d_out, records, R::from_f64(weight), accumulate.into(), d_x)
}
