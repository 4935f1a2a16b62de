//! What follows a convolution's sum, and how much of it a device runs within the call.
//!
//! A device declares here what it fuses. The rest comes back as `left`, and [`crate::ops`] runs it as a kernel, in place on the result: the
//! same values, but for one more rounding to storage in between, and for the bias, which a fused sum starts from.

use super::{ConvShape, cuda};
use crate::device::{Device, Host};
use crate::element::Element;
use crate::{Result, Tensor};

/// What follows a convolution's sum: y = relu(sum + bias + residual), each where asked for.
#[derive(Clone, Copy)]
pub struct Epilogue<'a, T: Element> {
    /// `[k]`.
    pub bias: Option<&'a Tensor<T>>,
    /// The shape of y.
    pub residual: Option<&'a Tensor<T>>,
    /// Whether negative values become zero.
    pub relu: bool,
}

impl<T: Element> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self { bias: None, residual: None, relu: false }
    }
}

impl<T: Element> Epilogue<'_, T> {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.bias.is_none() && self.residual.is_none() && !self.relu
    }
}

/// What follows the sum of an input's gradient: dx = (mask > 0) · (sum + residual), each where asked for. Both have the shape of dx.
#[derive(Clone, Copy)]
pub(crate) struct DgradEpilogue<'a, T: Element> {
    pub residual: Option<&'a Tensor<T>>,
    pub mask: Option<&'a Tensor<T>>,
}

impl<T: Element> Default for DgradEpilogue<'_, T> {
    fn default() -> Self {
        Self { residual: None, mask: None }
    }
}

impl<T: Element> DgradEpilogue<'_, T> {
    pub fn is_empty(&self) -> bool {
        self.residual.is_none() && self.mask.is_none()
    }
}

/// An epilogue as a device takes it. Its steps have an order, so what is left begins where the fused part ends.
pub(super) struct Split<E> {
    /// Runs within the call.
    pub fused: E,
    /// Is to be run on the result afterwards.
    pub left: E,
}

impl<E: Default> Split<E> {
    /// All of it runs within the call: what is hoped for of a GPU's library.
    fn all(epilogue: E) -> Self {
        Self { fused: epilogue, left: E::default() }
    }

    pub(super) fn on_host(host: &Host, epilogue: E) -> Self {
        if host.options().fused_epilogues { Self::all(epilogue) } else { Self { fused: E::default(), left: epilogue } }
    }
}

/// What `device` fuses into [`fprop`](super::fprop) of this shape.
pub(super) fn fprop_epilogue<'a, T: Element>(
    device: &Device,
    shape: &ConvShape,
    epilogue: Epilogue<'a, T>,
) -> Result<Split<Epilogue<'a, T>>> {
    match device {
        Device::Host(host) => Ok(Split::on_host(host, epilogue)),
        device => device.gpu().map_or(Ok(Split::all(epilogue)), |cuda| cuda::fprop_epilogue(cuda, shape, epilogue)),
    }
}

/// What `device` fuses into [`dgrad`](super::dgrad) of this shape.
pub(super) fn dgrad_epilogue<'a, T: Element>(
    device: &Device,
    shape: &ConvShape,
    epilogue: DgradEpilogue<'a, T>,
) -> Result<Split<DgradEpilogue<'a, T>>> {
    match device {
        Device::Host(host) => Ok(Split::on_host(host, epilogue)),
        device => device.gpu().map_or(Ok(Split::all(epilogue)), |cuda| cuda::dgrad_epilogue(cuda, shape, epilogue)),
    }
}
