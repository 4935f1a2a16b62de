//! The buffers gradients flow through on the way back: four, each as large as the largest activation.

use crate::element::Element;
use crate::tensor::Shape;
use crate::{Device, Result, Tensor};

/// Four flat buffers, lent out in the shape that is needed. Who uses which when is written out in each `backward`.
pub(super) struct Scratch<T: Element> {
    buffers: [Tensor<T>; 4],
}

impl<T: Element> Scratch<T> {
    pub fn new(device: &Device, len: usize) -> Result<Self> {
        let buffer = || Tensor::zeros(device, [len]);
        Ok(Self { buffers: [buffer()?, buffer()?, buffer()?, buffer()?] })
    }

    /// Buffer number `index` in the given shape.
    pub fn get(&self, index: usize, shape: impl Into<Shape>) -> Result<Tensor<T>> {
        self.buffers[index].slice(0, shape)
    }
}
