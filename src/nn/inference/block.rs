//! A residual block.

use super::norm::Activation;
use super::unit::Unit;
use crate::element::Element;
use crate::nn::scratch::Scratch;
use crate::nn::topology::{BlockSpec, ConvSpec};
use crate::nn::weights::Weights;
use crate::ops::GradientTail;
use crate::{Device, Result, Tensor};

/// See [`BlockSpec`] for what it computes.
pub(super) struct Block<T: Element> {
    activation: Option<Activation<T>>,
    units: Vec<Unit<T>>,
    shortcut: Option<Unit<T>>,
}

impl<T: Element> Block<T> {
    pub fn new(device: &Device, spec: &BlockSpec, max_batch: usize, folded: bool, has_gradient: bool) -> Result<Self> {
        let unit = |spec: &ConvSpec, tail| Unit::inner(device, spec, max_batch, folded, has_gradient.then_some(tail));
        // The first unit's gradient meets that of the other branch, unless that branch is what passes the activation by.
        let meets = spec.activation.is_none() || spec.shortcut.is_some();
        let one = |(index, spec)| unit(spec, GradientTail { residual: index == 0 && meets, mask: true });
        Ok(Self {
            activation: spec.activation.as_ref().map(|spec| Activation::new(device, spec, max_batch)).transpose()?,
            units: spec.units.iter().enumerate().map(one).collect::<Result<_>>()?,
            shortcut: spec.shortcut.as_ref().map(|spec| unit(spec, GradientTail::default())).transpose()?,
        })
    }

    pub fn copy_from(&self, weights: &Weights<T>) -> Result<()> {
        self.activation.as_ref().map_or(Ok(()), |activation| activation.copy_from(weights))?;
        self.units.iter().chain(&self.shortcut).try_for_each(|unit| unit.copy_from(weights))
    }

    /// The stage that it belongs to, such as `layer1`.
    pub fn stage(&self) -> &str {
        self.units[0].name().split('.').next().unwrap_or_default()
    }

    pub fn output(&self, n: usize) -> Result<Tensor<T>> {
        self.units[self.units.len() - 1].output(n)
    }

    pub fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        let activated = self.activation.as_ref().map(|activation| activation.forward(x)).transpose()?;
        let activated = activated.as_ref().unwrap_or(x);
        let mut h = activated.clone();
        for (index, unit) in self.units.iter().enumerate() {
            h = if index + 1 < self.units.len() {
                unit.forward(&h, None, true)?
            } else {
                let projected = self.shortcut.as_ref().map(|s| s.forward(activated, None, false)).transpose()?;
                unit.forward(&h, Some(projected.as_ref().unwrap_or(x)), unit.is_normalised())?
            };
        }
        Ok(h)
    }

    /// From the gradient of the block's sum (where that is rectified, its output's, already masked) in scratch buffer `at` to that of its input, masked
    /// likewise, in another buffer, whose number is returned with it.
    pub fn backward(&self, x: &Tensor<T>, dy: &Tensor<T>, at: usize, scratch: &Scratch<T>) -> Result<(Tensor<T>, usize)> {
        let n = x.rows_len();
        let (inner, other, side) = ((at + 1) % 4, (at + 2) % 4, (at + 3) % 4);
        let mut gradient = dy.clone();
        let mut into = inner;
        for pair in (1..self.units.len()).rev() {
            let h = self.units[pair - 1].output(n)?;
            let d_h = scratch.get(into, h.shape())?;
            self.units[pair].backward(&gradient, None, Some(&h), &d_h)?;
            gradient = d_h;
            into = if into == inner { other } else { inner };
        }
        let residual = match (&self.shortcut, &self.activation) {
            (Some(projection), _) => {
                let d_x = scratch.get(side, x.shape())?;
                projection.backward(dy, None, None, &d_x)?;
                Some(d_x)
            }
            (None, None) => Some(dy.clone()),
            (None, Some(_)) => None,
        };
        let d_activated = scratch.get(into, x.shape())?;
        let Some(activation) = &self.activation else {
            self.units[0].backward(&gradient, residual.as_ref(), Some(x), &d_activated)?;
            return Ok((d_activated, into));
        };
        self.units[0].backward(&gradient, residual.as_ref(), Some(&activation.output(n)?), &d_activated)?;
        // What a projection had there has been added by now.
        let d_x = scratch.get(side, x.shape())?;
        activation.backward(&d_activated, self.shortcut.is_none().then_some(dy), &d_x)?;
        Ok((d_x, side))
    }
}
