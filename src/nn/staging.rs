//! Where the arithmetic type meets the storage type.
//!
//! Embeddings and class scores are kept in the arithmetic type, the network works in the storage type. When the two are the same, a [`Staging`]
//! hands out the very tensor it is given and nothing is copied. Gradients pass through it multiplied by powers of two, so that they do not vanish in a
//! 16-bit type: in training by the loss scale, in an attack, where images are independent, each row by one of its own.

use crate::element::Element;
use crate::ops::LossScale;
use crate::tensor::Shape;
use crate::{Device, Error, Result, Tensor, ops};

/// Buffers in the storage type, present only where that differs from the arithmetic type.
pub struct Staging<T: Element> {
    narrow: Option<Narrow<T>>,
}

struct Narrow<T: Element> {
    buffer: Tensor<T>,
    /// `[rows]`
    unscale: Tensor<T::Real>,
}

/// A gradient in the storage type, each row times a power of two of its own.
pub struct RowScaled<T: Element> {
    /// The rows as they are stored.
    pub values: Tensor<T>,
    /// By what each row has to be multiplied to be the gradient, `[rows]`; none where it is already.
    pub unscale: Option<Tensor<T::Real>>,
}

impl<T: Element> From<Tensor<T>> for RowScaled<T> {
    /// A gradient that is not scaled.
    fn from(values: Tensor<T>) -> Self {
        Self { values, unscale: None }
    }
}

impl<T: Element> Staging<T> {
    /// For tensors of up to this shape.
    pub fn new(device: &Device, shape: impl Into<Shape>) -> Result<Self> {
        if !T::NARROW {
            return Ok(Self { narrow: None });
        }
        let buffer = Tensor::zeros(device, shape)?;
        let unscale = Tensor::zeros(device, [buffer.rows_len()])?;
        Ok(Self { narrow: Some(Narrow { buffer, unscale }) })
    }

    /// The gradient `real`, multiplied by the loss scale where there is one, rounded to the storage type.
    pub fn store_by(&self, real: &Tensor<T::Real>, scale: Option<&LossScale<T::Real>>) -> Result<Tensor<T>> {
        let stored = self.space(real)?;
        match (&self.narrow, scale) {
            (None, _) => {}
            (Some(_), Some(scale)) => ops::scale_by_loss_scale(real, scale, &stored)?,
            (Some(_), None) => ops::cast_from_real(real, &stored)?,
        }
        Ok(stored)
    }

    /// The gradient `real` (`[rows, c]`), each row multiplied by its own power of two, rounded to the storage type.
    pub fn store_rows(&self, real: &Tensor<T::Real>) -> Result<RowScaled<T>> {
        let values = self.space(real)?;
        let Some(Narrow { unscale, .. }) = &self.narrow else { return Ok(values.into()) };
        let unscale = unscale.rows(0..real.rows_len())?;
        ops::scale_rows(real, &values, &unscale)?;
        Ok(RowScaled { values, unscale: Some(unscale) })
    }

    /// Where to write in the storage type what is to end up in `real`; [`Staging::deliver`] completes it.
    pub fn space(&self, real: &Tensor<T::Real>) -> Result<Tensor<T>> {
        match (&self.narrow, real.same_type::<T>()) {
            (Some(Narrow { buffer, .. }), _) => buffer.slice(0, real.shape()),
            (None, Some(same)) => Ok(same),
            (None, None) => Err(Error::shape("staging", "a buffer is needed where the types differ")),
        }
    }

    /// Widens what was written to the space handed out for `real`.
    pub fn deliver(&self, real: &Tensor<T::Real>) -> Result<()> {
        match &self.narrow {
            Some(_) => ops::cast_to_real(&self.space(real)?, real),
            None => Ok(()),
        }
    }
}
