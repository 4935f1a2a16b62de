//! Global average pooling.

use super::check::{has_shape, like_or_none};
use crate::device::launch::{self, Work};
use crate::element::Element;
use crate::{Error, Result, Tensor};

/// Images, pixels and channels of `x` `[n, h, w, c]`, of which none is zero.
fn pooled<T: Element>(op: &'static str, x: &Tensor<T>) -> Result<(usize, usize, usize)> {
    let [images, height, width, channels] = x.dims_of(op)?;
    if x.is_empty() || i32::try_from(height * width).is_err() || i32::try_from(channels).is_err() {
        return Err(Error::shape(op, format!("{:?} is empty or too large to pool", x.shape())));
    }
    Ok((images, height * width, channels))
}

/// y = the mean of `x` over its pixels: `[n, h, w, c]` to `[n, c]`.
pub fn average_pool<T: Element>(x: &Tensor<T>, y: &Tensor<T>) -> Result<()> {
    const OP: &str = "average_pool";
    let (images, pixels, channels) = pooled(OP, x)?;
    has_shape(OP, "y", y, &[images, channels])?;
    let work = Work::ItemsChannels(images, channels, pixels);
    launch::average_pool(work, x, y, images as i64, pixels as i32, channels as i32)
}

/// The gradient of [`average_pool`]: every pixel of `dx` `[n, h, w, c]` receives `dy` `[n, c]` divided by the number of pixels; where `mask`
/// (the output of the rectifier in front of the pool) is not positive, 0.
pub fn average_pool_backward<T: Element>(dy: &Tensor<T>, mask: Option<&Tensor<T>>, dx: &Tensor<T>) -> Result<()> {
    const OP: &str = "average_pool_backward";
    let (images, pixels, channels) = pooled(OP, dx)?;
    has_shape(OP, "dy", dy, &[images, channels])?;
    like_or_none(OP, "mask", mask, dx)?;
    launch::average_pool_backward(
        Work::ItemsChannels(images, channels, pixels),
        dy,
        mask,
        dx,
        images as i64,
        pixels as i32,
        channels as i32,
    )
}
