//! Where the arithmetic type meets the storage type.
//!
//! Images, embeddings and class scores are kept in the arithmetic type, the network works in the storage type. When the two are the same,
//! a [`Staging`] hands out the very tensor it is given and nothing is copied.

use crate::element::Element;
use crate::tensor::Shape;
use crate::{Device, Error, Result, Tensor, ops};
use std::any::TypeId;

/// A buffer in the storage type, in general present only where that differs from the arithmetic type.
pub struct Staging<T: Element> {
    buffer: Option<Tensor<T>>,
}

impl<T: Element> Staging<T> {
    /// For tensors of up to this shape.
    pub fn new(device: &Device, shape: impl Into<Shape>) -> Result<Self> {
        let same = TypeId::of::<T>() == TypeId::of::<T::Real>();
        if same { Ok(Self { buffer: None }) } else { Self::buffered(device, shape) }
    }

    /// With a buffer even where the types agree, for what is more than a conversion.
    pub(super) fn buffered(device: &Device, shape: impl Into<Shape>) -> Result<Self> {
        Ok(Self { buffer: Some(Tensor::zeros(device, shape)?) })
    }

    /// `real`, rounded to the storage type.
    pub fn store(&self, real: &Tensor<T::Real>) -> Result<Tensor<T>> {
        let stored = self.space(real)?;
        if self.buffer.is_some() {
            ops::cast_from_real(real, &stored)?;
        }
        Ok(stored)
    }

    /// Where to write in the storage type what is to end up in `real`; [`Staging::deliver`] completes it.
    pub fn space(&self, real: &Tensor<T::Real>) -> Result<Tensor<T>> {
        match (&self.buffer, real.same_type::<T>()) {
            (Some(buffer), _) => buffer.slice(0, real.shape()),
            (None, Some(same)) => Ok(same),
            (None, None) => Err(Error::shape("staging", "a buffer is needed where the types differ")),
        }
    }

    /// Widens what was written to the space handed out for `real`.
    pub fn deliver(&self, real: &Tensor<T::Real>) -> Result<()> {
        match &self.buffer {
            Some(_) => ops::cast_to_real(&self.space(real)?, real),
            None => Ok(()),
        }
    }
}
