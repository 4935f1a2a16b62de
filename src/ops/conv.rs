//! Convolution: activations NHWC, filters KRSC, square strides, symmetric zero padding.
//!
//! What a device does not fuse into the call runs afterwards, as a kernel in place. A device that convolves directly runs the portable kernels.

use super::activation::{finish, finish_gradient};
use super::cast::cast_to_real;
use super::check::{has_shape, like_or_none};
use super::conv_direct::{conv_direct_dgrad, conv_direct_fprop, conv_direct_wgrad};
use super::filter::{Filters, add_filter_gradient};
use crate::device::conv::{self, DgradEpilogue, Gradient};
pub use crate::device::conv::{ConvShape, Epilogue};
use crate::element::Element;
use crate::{Error, Result, Tensor};

/// y = relu(x ∗ filter + bias + residual), the last three where the epilogue asks for them.
///
/// `x` is `[n, h, w, c]`, the filters `[k, r, s, c]`, `y` `[n, h', w', k]`. The filters may come with other forms of them.
pub fn conv_fprop<'a, T: Element>(
    x: &Tensor<T>,
    filters: impl Into<Filters<'a, T>>,
    stride: usize,
    pad: usize,
    epilogue: Epilogue<T>,
    y: &Tensor<T>,
) -> Result<()> {
    const OP: &str = "conv_fprop";
    let filters = filters.into();
    let filter = filters.filter;
    let shape = shape(OP, x, filter.dims_of(OP)?, stride, pad)?;
    has_shape(OP, "y", y, &output(&shape))?;
    if let Some(bias) = epilogue.bias {
        has_shape(OP, "bias", bias, &[shape.k])?;
    }
    like_or_none(OP, "residual", epilogue.residual, y)?;
    if y.device().convolves_directly() {
        conv_direct_fprop(x, filter, stride, pad, y)?;
        return finish(epilogue, y);
    }
    conv::tune_fprop(&shape, x, filter, epilogue, y, |left| finish(left, y))?;
    let left = conv::fprop(&shape, x, filters.for_fprop(&shape)?, epilogue, y)?;
    finish(left, y)
}

/// dx = (mask > 0) · (gradient + residual), the two where given: the gradient with respect to the input, another branch's contribution,
/// and the ReLU the input came out of (whose output is `mask`). Both have the shape of `dx`. The filters may come with other forms of them.
pub fn conv_dgrad<'a, T: Element>(
    dy: &Tensor<T>,
    filters: impl Into<Filters<'a, T>>,
    stride: usize,
    pad: usize,
    residual: Option<&Tensor<T>>,
    mask: Option<&Tensor<T>>,
    dx: &Tensor<T>,
) -> Result<()> {
    const OP: &str = "conv_dgrad";
    let filters = filters.into();
    let shape = shape(OP, dx, filters.filter.dims_of(OP)?, stride, pad)?;
    has_shape(OP, "dy", dy, &output(&shape))?;
    like_or_none(OP, "residual", residual, dx)?;
    like_or_none(OP, "mask", mask, dx)?;
    let epilogue = DgradEpilogue { residual, mask };
    if dx.device().convolves_directly() {
        conv_direct_dgrad(dy, filters.filter, stride, pad, dx)?;
        return finish_gradient(epilogue, dx);
    }
    let form = |turned| if turned { filters.turned(&shape) } else { Ok(filters.filter.clone()) };
    conv::tune_dgrad(&shape, dy, form, epilogue, dx, |left| finish_gradient(left, dx))?;
    let left = if conv::turns_filter::<T>(dx.device(), &shape, residual.is_some(), mask.is_some())? {
        conv::dgrad(&shape, dy, &filters.turned(&shape)?, epilogue, dx)?
    } else {
        conv::dgrad(&shape, dy, filters.for_dgrad(&shape)?, epilogue, dx)?
    };
    finish_gradient(left, dx)
}

/// The gradient with respect to the filters `dw` (`[k, r, s, c]`), in the arithmetic type, added to what is there when `accumulate`.
pub fn conv_wgrad<T: Element>(
    x: &Tensor<T>,
    dy: &Tensor<T>,
    stride: usize,
    pad: usize,
    accumulate: bool,
    dw: &Tensor<T::Real>,
) -> Result<()> {
    const OP: &str = "conv_wgrad";
    let shape = shape(OP, x, dw.dims_of(OP)?, stride, pad)?;
    has_shape(OP, "dy", dy, &output(&shape))?;
    if dw.device().convolves_directly() {
        return conv_direct_wgrad(x, dy, stride, pad, accumulate, dw);
    }
    conv::tune_wgrad(&shape, x, dy, accumulate, dw)?;
    match conv::gradient::<T>(dw.device(), &shape, accumulate)? {
        Gradient::Itself => conv::wgrad(&shape, x, dy, accumulate, dw),
        Gradient::Wide(gradient) => {
            conv::wgrad_aside(&shape, x, dy, accumulate, &gradient)?;
            deliver(&gradient, accumulate, dw)
        }
        Gradient::Narrow(gradient) => {
            conv::wgrad_aside(&shape, x, dy, accumulate, &gradient)?;
            deliver(&gradient, accumulate, dw)
        }
    }
}

/// A gradient that a library has written elsewhere than into `dw`.
fn deliver<G: Element>(gradient: &Tensor<G>, accumulate: bool, dw: &Tensor<G::Real>) -> Result<()> {
    if accumulate { add_filter_gradient(gradient, dw) } else { cast_to_real(gradient, dw) }
}

fn output(shape: &ConvShape) -> [usize; 4] {
    [shape.n, shape.out_h(), shape.out_w(), shape.k]
}

fn shape<T: Element>(op: &'static str, x: &Tensor<T>, filter: [usize; 4], stride: usize, pad: usize) -> Result<ConvShape> {
    let ([n, h, w, c], [k, r, s, filter_c]) = (x.dims_of(op)?, filter);
    if c != filter_c {
        return Err(Error::shape(op, format!("the images have {c} channels but the filters {filter_c}")));
    }
    Ok(ConvShape { n, h, w, c, k, r, s, stride, pad })
}
