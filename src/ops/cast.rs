//! Conversion between the storage type and the type of arithmetic.

use super::check::has_shape;
use crate::device::launch::{self, Work};
use crate::element::Element;
use crate::{Result, Tensor};

/// y = `x`, by a kernel that moves nothing else. Both have one shape.
pub fn copy<T: Element>(x: &Tensor<T>, y: &Tensor<T>) -> Result<()> {
    has_shape("copy", "y", y, x.dims())?;
    launch::copy(Work::Elements(x.len()), x, y, x.len() as i64)
}

/// y = `x`, widened exactly. Both have one shape; where storage and arithmetic type are the same this is a copy.
pub fn cast_to_real<T: Element>(x: &Tensor<T>, y: &Tensor<T::Real>) -> Result<()> {
    has_shape("cast_to_real", "y", y, x.dims())?;
    match x.same_type::<T::Real>() {
        Some(x) => y.copy_from(&x),
        None => launch::cast_to_real(Work::Elements(x.len()), x, y, x.len() as i64),
    }
}

/// y = `x`, rounded to nearest even; a value too large for the storage type becomes infinite. Both have one shape; where the types are the
/// same this is a copy.
pub fn cast_from_real<T: Element>(x: &Tensor<T::Real>, y: &Tensor<T>) -> Result<()> {
    has_shape("cast_from_real", "y", y, x.dims())?;
    match y.same_type::<T::Real>() {
        Some(y) => y.copy_from(x),
        None => launch::cast_from_real(Work::Elements(x.len()), x, y, x.len() as i64),
    }
}
