//! Normalisation of images by given statistics per channel.

use super::check::has_shape;
use super::rows::rows_channels;
use crate::device::launch::{self, Work};
use crate::element::Element;
use crate::{Result, Tensor};

/// `y` = (`x` − `mean`)/`std` per channel, rounded once to the storage type. `x` and `y` are `[n, h, w, c]`, `mean` and `std` `[c]`.
pub fn normalize<T: Element>(x: &Tensor<T::Real>, mean: &Tensor<T::Real>, std: &Tensor<T::Real>, y: &Tensor<T>) -> Result<()> {
    const OP: &str = "normalize";
    let (rows, channels) = rows_channels(OP, x)?;
    has_shape(OP, "mean", mean, &[channels])?;
    has_shape(OP, "std", std, &[channels])?;
    has_shape(OP, "y", y, x.dims())?;
    launch::normalize(Work::RowsChannels(rows, channels), x, mean, std, y, rows as i64, channels as i32)
}

/// The gradient of [`normalize`] by its input: `dx` = `dy`/`std`. `dy` and `dx` are `[n, h, w, c]`, `std` `[c]`.
pub fn normalize_backward<T: Element>(dy: &Tensor<T>, std: &Tensor<T::Real>, dx: &Tensor<T::Real>) -> Result<()> {
    const OP: &str = "normalize_backward";
    let (rows, channels) = rows_channels(OP, dy)?;
    has_shape(OP, "std", std, &[channels])?;
    has_shape(OP, "dx", dx, dy.dims())?;
    launch::normalize_backward(Work::RowsChannels(rows, channels), dy, std, dx, rows as i64, channels as i32)
}
