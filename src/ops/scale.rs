//! Gradients on their way into a 16-bit type, times a power of two that keeps small ones from vanishing.

use super::check::has_shape;
use super::loss_scale::LossScale;
use super::rows::rows_channels;
use crate::device::launch::{self, Work};
use crate::element::Element;
use crate::{Error, Result, Tensor};

/// Where the largest magnitude of a row is brought to: [2⁶, 2⁷).
///
/// f16 is normal from 2⁻¹⁴ to 2¹⁶. On the way from the embeddings or class scores back to the images, the largest magnitude of an image's gradient was
/// seen to rise to 2³·⁵ times what it began with (a trained ResNet-50), and half of its pixels' gradients to fall below 2⁻¹⁸ (an untrained one): 2⁹ of room above is for
/// networks that are steeper, and those pixels are at 2⁻¹², where f16 still has all its bits (`docs/decisions/0014-sixteen-bits.md`).
pub(crate) const BINADE: i32 = 6;

/// `y` = `x` with each row times a power of two of its own, so that no row's largest value is too small for the storage type or near its end;
/// `unscale` receives the powers' inverses. Both are exact. A row of zeros, or with an infinity, is left as it is. `x` and `y` are `[rows, c]`,
/// `unscale` is `[rows]`.
pub fn scale_rows<T: Element>(x: &Tensor<T::Real>, y: &Tensor<T>, unscale: &Tensor<T::Real>) -> Result<()> {
    const OP: &str = "scale_rows";
    let (rows, columns) = rows_channels(OP, x)?;
    has_shape(OP, "y", y, x.dims())?;
    has_shape(OP, "unscale", unscale, &[rows])?;
    if i32::try_from(rows).is_err() {
        return Err(Error::shape(OP, format!("{rows} rows are too many for one launch; use a smaller batch")));
    }
    launch::scale_rows(Work::Blocks(rows, 32), x, y, unscale, columns as i32, BINADE)
}

/// `y` = `x` times the step's loss scale, rounded to the storage type. Both have one shape.
pub fn scale_by_loss_scale<T: Element>(x: &Tensor<T::Real>, scale: &LossScale<T::Real>, y: &Tensor<T>) -> Result<()> {
    has_shape("scale_by_loss_scale", "y", y, x.dims())?;
    launch::scale_by_loss_scale(Work::Elements(x.len()), x, &scale.factors, y, x.len() as i64)
}
