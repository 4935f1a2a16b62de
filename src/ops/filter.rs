//! Filters for libraries that want or give them in another form.

use super::check::has_shape;
use crate::Device;
use crate::device::conv::{self, ConvShape};
use crate::device::launch::{self, Work};
use crate::element::Element;
use crate::{Error, Result, Tensor};

/// turned[c, R−1−r, S−1−s, k] = filter[k, r, s, c]: `filter` is `[k, r, s, c]`, `turned` `[c, r, s, k]`. With stride 1 the gradient of a
/// convolution's input is the convolution of dy with `turned`, padded by R − 1 − pad.
pub fn turn_filter<T: Element>(filter: &Tensor<T>, turned: &Tensor<T>) -> Result<()> {
    const OP: &str = "turn_filter";
    let [k, r, s, c] = filter.dims_of(OP)?;
    has_shape(OP, "turned", turned, &[c, r, s, k])?;
    let size = |n: usize| i32::try_from(n).map_err(|_| Error::shape(OP, format!("{:?} is too large", filter.shape())));
    launch::turn_filter(Work::RowsChannels(c * r * s, k), filter, turned, size(k)?, size(r)?, size(s)?, size(c)?)
}

/// `dw` ← `dw` + `gradient`, widened. Both have one shape.
pub fn add_filter_gradient<T: Element>(gradient: &Tensor<T>, dw: &Tensor<T::Real>) -> Result<()> {
    has_shape("add_filter_gradient", "dw", dw, gradient.dims())?;
    launch::add_filter_gradient(Work::Elements(dw.len()), gradient, dw, dw.len() as i64)
}

/// The filters of a [`conv_dgrad`](super::conv_dgrad), and a form of them that a GPU's library may want.
#[derive(Clone, Copy)]
pub struct DgradFilters<'a, T: Element> {
    /// `[k, r, s, c]`.
    pub filter: &'a Tensor<T>,
    /// `[c, r, s, k]`: as [`turn_filter`] has made them, if someone keeps them so. Otherwise they are turned whenever they are wanted so.
    pub turned: Option<&'a Tensor<T>>,
}

impl<'a, T: Element> From<&'a Tensor<T>> for DgradFilters<'a, T> {
    fn from(filter: &'a Tensor<T>) -> Self {
        Self { filter, turned: None }
    }
}

impl<T: Element> DgradFilters<'_, T> {
    /// Turned before or now.
    pub(super) fn turned_now(&self, shape: &ConvShape) -> Result<Tensor<T>> {
        if let Some(turned) = self.turned {
            return Ok(turned.clone());
        }
        let turned = conv::turned_filter(self.filter.device(), shape)?;
        turn_filter(self.filter, &turned)?;
        Ok(turned)
    }
}

/// Room for the filters of such a convolution turned, `[c, r, s, k]`, where `device` wants them so for the input's gradient with these behind its
/// sum: for who uses the same filters more than once.
pub fn room_for_turned_filter<T: Element>(
    device: &Device,
    shape: &ConvShape,
    residual: bool,
    mask: bool,
) -> Result<Option<Tensor<T>>> {
    let turns = !device.convolves_directly() && conv::turns_filter::<T>(device, shape, residual, mask)?;
    turns.then(|| Tensor::zeros(device, [shape.c, shape.r, shape.s, shape.k])).transpose()
}
