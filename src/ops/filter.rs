//! Filters for libraries that want or give them in another form.

use super::check::has_shape;
use crate::Device;
use crate::device::conv::{self, ConvShape, Packing, Weights};
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

/// The filters of a convolution, and the forms in which its device computes with them, if someone keeps those.
#[derive(Clone, Copy)]
pub struct Filters<'a, T: Element> {
    /// `[k, r, s, c]`.
    pub filter: &'a Tensor<T>,
    /// [Renewed](FilterForms::renew) since the filters were last written. Without, a device makes the form that it wants in every call.
    pub forms: Option<&'a FilterForms<T>>,
}

impl<'a, T: Element> From<&'a Tensor<T>> for Filters<'a, T> {
    fn from(filter: &'a Tensor<T>) -> Self {
        Self { filter, forms: None }
    }
}

impl<'a, T: Element> Filters<'a, T> {
    /// What [`conv::fprop`] computes with.
    pub(super) fn for_fprop(self, shape: &ConvShape) -> Result<Weights<'a, T>> {
        Ok(Weights { filter: self.filter, packed: self.forms_for(shape)?.and_then(|forms| forms.fprop.as_ref()) })
    }

    /// What [`conv::dgrad`] computes with where it does not want the filters turned.
    pub(super) fn for_dgrad(self, shape: &ConvShape) -> Result<Weights<'a, T>> {
        Ok(Weights { filter: self.filter, packed: self.forms_for(shape)?.and_then(|forms| forms.dgrad.as_ref()) })
    }

    /// Turned before or now.
    pub(super) fn turned(self, shape: &ConvShape) -> Result<Tensor<T>> {
        if let Some(turned) = self.forms_for(shape)?.and_then(|forms| forms.turned.as_ref()) {
            return Ok(turned.clone());
        }
        let turned = conv::turned_filter(self.filter.device(), shape)?;
        turn_filter(self.filter, &turned)?;
        Ok(turned)
    }

    fn forms_for(self, shape: &ConvShape) -> Result<Option<&'a FilterForms<T>>> {
        match self.forms {
            Some(forms) if (ConvShape { n: shape.n, ..forms.shape }) != *shape => {
                Err(Error::shape("filter_forms", format!("they were made for {}, not for {shape}", forms.shape)))
            }
            forms => Ok(forms),
        }
    }
}

/// Filters in the forms in which a device computes with them, for who uses the same filters more than once: packed on a CPU, turned on a GPU
/// whose library wants them so.
pub struct FilterForms<T: Element> {
    /// With the largest batch.
    shape: ConvShape,
    fprop: Option<Tensor<T::Real>>,
    dgrad: Option<Tensor<T::Real>>,
    turned: Option<Tensor<T>>,
}

impl<T: Element> FilterForms<T> {
    /// Room for the forms that `device` wants for such a convolution and, where there is one, for the input's gradient with this behind its sum.
    pub fn new(device: &Device, shape: ConvShape, gradient: Option<GradientTail>) -> Result<Self> {
        let packed = |packing| {
            let len = conv::packed_len::<T>(device, packing, &shape);
            len.map(|len| Tensor::zeros(device, [len])).transpose()
        };
        let turned = match gradient {
            Some(tail) if !device.convolves_directly() => conv::turns_filter::<T>(device, &shape, tail.residual, tail.mask)?,
            _ => false,
        };
        Ok(Self {
            fprop: packed(Packing::Fprop)?,
            dgrad: if gradient.is_some() { packed(Packing::Dgrad)? } else { None },
            turned: turned.then(|| Tensor::zeros(device, [shape.c, shape.r, shape.s, shape.k])).transpose()?,
            shape,
        })
    }

    /// Makes them again, of filters `[k, r, s, c]` that have changed.
    pub fn renew(&self, filter: &Tensor<T>) -> Result<()> {
        for (packing, packed) in [(Packing::Fprop, &self.fprop), (Packing::Dgrad, &self.dgrad)] {
            packed.as_ref().map_or(Ok(()), |packed| conv::pack(packing, &self.shape, filter, packed))?;
        }
        self.turned.as_ref().map_or(Ok(()), |turned| turn_filter(filter, turned))
    }
}

/// What follows the sum of an input's gradient.
#[derive(Clone, Copy, Debug, Default)]
pub struct GradientTail {
    /// Another branch's gradient is added.
    pub residual: bool,
    /// It is masked by a rectifier.
    pub mask: bool,
}
