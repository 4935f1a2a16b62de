//! What the stem reads in a 16-bit type: each image as two numbers a colour, the pixel rounded and what rounding left over, in 8 channels
//! (x_hi, x_lo, two zeros); and each filter once for either.

use super::check::has_shape;
use crate::device::launch::{self, Work};
use crate::element::Element;
use crate::{Error, Result, Tensor};

/// Channels of the stem's input in a 16-bit type.
pub const STEM_CHANNELS: usize = 8;

/// Colours of an image.
const COLOURS: usize = 3;

/// The dimensions with another last one.
fn with_channels<E: bytemuck::Pod>(op: &'static str, tensor: &Tensor<E>, from: usize, to: usize) -> Result<[usize; 4]> {
    match tensor.dims_of(op)? {
        [a, b, c, channels] if channels == from => Ok([a, b, c, to]),
        _ => Err(Error::shape(op, format!("{:?} does not have {from} channels in its last dimension", tensor.shape()))),
    }
}

/// `y` = x_hi, x_lo, 0, 0 of the images `x`, which are normalised by (x − mean)/std where `mean` and `std` (`[3]`) are given: x_hi is the value
/// rounded to the storage type, x_lo the rest, rounded too. `x` is `[n, h, w, 3]`, `y` `[n, h, w, 8]`.
pub fn stem_images<T: Element>(x: &Tensor<T::Real>, statistics: Option<[&Tensor<T::Real>; 2]>, y: &Tensor<T>) -> Result<()> {
    const OP: &str = "stem_images";
    has_shape(OP, "y", y, &with_channels(OP, x, COLOURS, STEM_CHANNELS)?)?;
    for statistic in statistics.into_iter().flatten() {
        has_shape(OP, "mean and std", statistic, &[COLOURS])?;
    }
    let [mean, std] = [0, 1].map(|index| statistics.map(|both| both[index]));
    let pixels = x.len() / COLOURS;
    launch::stem_images(Work::Items(pixels, STEM_CHANNELS), x, mean, std, y, pixels as i64)
}

/// The gradient of [`stem_images`] by the images: `dx` = d x_hi / `std` · `unscale` of its image, each where given; the channels of x_lo have the
/// same gradient and are not read. `dy` is `[n, h, w, 8]`, `dx` `[n, h, w, 3]`, `std` `[3]`, `unscale` `[n]`, as [`scale_rows`](super::scale_rows)
/// leaves it.
pub fn stem_images_backward<T: Element>(
    dy: &Tensor<T>,
    std: Option<&Tensor<T::Real>>,
    unscale: Option<&Tensor<T::Real>>,
    dx: &Tensor<T::Real>,
) -> Result<()> {
    const OP: &str = "stem_images_backward";
    let [images, height, width, _] = with_channels(OP, dy, STEM_CHANNELS, COLOURS)?;
    has_shape(OP, "dx", dx, &[images, height, width, COLOURS])?;
    std.map_or(Ok(()), |std| has_shape(OP, "std", std, &[COLOURS]))?;
    unscale.map_or(Ok(()), |unscale| has_shape(OP, "unscale", unscale, &[images]))?;
    let (pixels, per_image) = (images * height * width, height * width);
    launch::stem_images_backward(Work::Items(pixels, STEM_CHANNELS), dy, std, unscale, dx, pixels as i64, per_image as i64)
}

/// The filters for [`stem_images`]: those of x_hi, the same again for x_lo, and zeros. `filter` is `[k, r, s, 3]`, `repeated` `[k, r, s, 8]`.
pub fn stem_filters<T: Element>(filter: &Tensor<T>, repeated: &Tensor<T>) -> Result<()> {
    const OP: &str = "stem_filters";
    has_shape(OP, "repeated", repeated, &with_channels(OP, filter, COLOURS, STEM_CHANNELS)?)?;
    let taps = filter.len() / COLOURS;
    launch::stem_filters(Work::Items(taps, STEM_CHANNELS), filter, repeated, taps as i64)
}

/// The gradient of [`stem_filters`]: adds both copies' gradients, `[k, r, s, 8]`, to `gradient`, `[k, r, s, 3]`.
pub fn stem_filters_backward<R: crate::element::Real>(repeated: &Tensor<R>, gradient: &Tensor<R>) -> Result<()> {
    const OP: &str = "stem_filters_backward";
    has_shape(OP, "gradient", gradient, &with_channels(OP, repeated, STEM_CHANNELS, COLOURS)?)?;
    let taps = gradient.len() / COLOURS;
    launch::stem_filters_backward(Work::Items(taps, STEM_CHANNELS), repeated, gradient, taps as i64)
}
