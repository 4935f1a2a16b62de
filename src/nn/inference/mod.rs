//! The inference form of the encoder: running statistics, and a gradient of the images only.
//!
//! With fixed statistics a batch normalisation is an affine map per channel, so conv + BN is conv + bias. Folded, what is left is convolution,
//! bias, residual and ReLU, all in one epilogue, and the backward pass is a ReLU mask and a convolution per layer. The released code keeps
//! the normalisation as a layer of its own; so does [`Inference::unfolded`], to show that both are one function. In either form images do not
//! influence each other. Call [`Inference::copy_from`] after every change of the parameters.
//!
//! In front of a convolution (PreActResNet, WRN) a batch normalisation is folded where nobody else reads the sum before it. The others, those of sums that an
//! identity shortcut passes on, are layers in either form.

mod block;
mod norm;
mod unit;

use super::image_input::ImageInput;
use super::scratch::Scratch;
use super::staging::RowScaled;
use super::topology::Topology;
use super::weights::Weights;
use crate::element::Element;
use crate::ops::{self, LinfStep, StemStep};
use crate::{Device, Result, Tensor};
use block::Block;
use norm::Activation;
use unit::Unit;

/// The encoder in inference form.
pub struct Inference<T: Element> {
    input: ImageInput<T>,
    stem: Unit<T>,
    blocks: Vec<Block<T>>,
    activation: Option<Activation<T>>,
    pooled: Tensor<T>,
    scratch: Scratch<T>,
}

impl<T: Element> Inference<T> {
    /// Batch normalisation folded into the convolutions. Allocates every buffer for batches of up to `max_batch` images; call
    /// [`Inference::copy_from`] before use.
    pub fn folded(device: &Device, topology: &Topology, max_batch: usize) -> Result<Self> {
        Self::new(device, topology, max_batch, true, topology.largest_activation())
    }

    /// As [`Inference::folded`], with no room for the way back: for features alone.
    pub fn forward_only(device: &Device, topology: &Topology, max_batch: usize) -> Result<Self> {
        Self::new(device, topology, max_batch, true, 0)
    }

    /// The same function with every batch normalisation a layer of its own, as in the released code.
    pub fn unfolded(device: &Device, topology: &Topology, max_batch: usize) -> Result<Self> {
        Self::new(device, topology, max_batch, false, topology.largest_activation())
    }

    fn new(device: &Device, topology: &Topology, max_batch: usize, folded: bool, largest_gradient: usize) -> Result<Self> {
        let block = |spec| Block::new(device, spec, max_batch, folded, largest_gradient > 0);
        Ok(Self {
            input: ImageInput::new(device, topology, max_batch)?,
            stem: Unit::of_images(device, &topology.stem, max_batch, folded)?,
            blocks: topology.blocks.iter().map(block).collect::<Result<_>>()?,
            activation: topology.activation.as_ref().map(|spec| Activation::new(device, spec, max_batch)).transpose()?,
            pooled: Tensor::zeros(device, [max_batch, topology.features])?,
            scratch: Scratch::new(device, max_batch * largest_gradient)?,
        })
    }

    /// Takes over a network's current parameters and running statistics.
    pub fn copy_from(&self, network: &impl AsRef<Weights<T>>) -> Result<()> {
        let weights = network.as_ref();
        self.stem.copy_from(weights)?;
        self.blocks.iter().try_for_each(|block| block.copy_from(weights))?;
        self.activation.as_ref().map_or(Ok(()), |activation| activation.copy_from(weights))
    }

    /// Features `[n, features]` of the images `[n, 32, 32, 3]`, whose pixels are in [0, 1].
    pub fn forward(&self, images: &Tensor<T::Real>) -> Result<Tensor<T>> {
        self.forward_stored(&self.input.store(images)?)
    }

    /// Features of images as the stem reads them.
    fn forward_stored(&self, images: &Tensor<T>) -> Result<Tensor<T>> {
        let mut h = self.stem.forward(images, None, self.stem.is_normalised())?;
        for block in &self.blocks {
            h = block.forward(&h)?;
        }
        if let Some(activation) = &self.activation {
            h = activation.forward(&h)?;
        }
        let pooled = self.pooled.rows(0..images.rows_len())?;
        ops::average_pool(&h, &pooled)?;
        Ok(pooled)
    }

    /// Gradient of the images of the last forward, from that of their features; each image's is independent of the others'.
    pub fn backward(&self, d_features: &RowScaled<T>, d_images: &Tensor<T::Real>) -> Result<()> {
        let gradient = self.backward_to_stem(&d_features.values)?;
        self.stem.backward(&gradient, None, None, &self.input.gradient_space(d_images)?)?;
        self.input.deliver_gradient(d_features.unscale.as_ref(), d_images)
    }

    /// The gradient of the stem's output, behind its rectifier, if it has one.
    fn backward_to_stem(&self, d_features: &Tensor<T>) -> Result<Tensor<T>> {
        let n = d_features.rows_len();
        let outputs = self.stage_outputs(n)?;
        let pooled =
            self.activation.as_ref().map_or(Ok(outputs[self.blocks.len()].clone()), |activation| activation.output(n))?;
        let (mut gradient, mut at) = (self.scratch.get(0, pooled.shape())?, 0);
        ops::average_pool_backward(d_features, Some(&pooled), &gradient)?;
        if let Some(activation) = &self.activation {
            let d_sum = self.scratch.get(1, pooled.shape())?;
            activation.backward(&gradient, None, &d_sum)?;
            (gradient, at) = (d_sum, 1);
        }
        for (block, input) in self.blocks.iter().zip(&outputs).rev() {
            (gradient, at) = block.backward(input, &gradient, at, &self.scratch)?;
        }
        Ok(gradient)
    }

    /// Whether [`Inference::ascend`] is the way to step: on a GPU, where the gradient of the images then never reaches memory. A CPU's own convolution
    /// is faster than that kernel.
    pub fn steps_in_the_stem(&self) -> bool {
        !self.pooled.device().is_host() && !self.stem.has_layer()
    }

    /// Moves the images `x` (`[n, 32, 32, 3]`) in place by `steps` steps of PGD around `clean`; `d_features` has the gradient of what they are to ascend, by
    /// the features that it is given.
    pub fn ascend(
        &self,
        step: &LinfStep<T::Real>,
        steps: usize,
        clean: &Tensor<T::Real>,
        x: &Tensor<T::Real>,
        d_features: impl Fn(&Tensor<T>) -> Result<RowScaled<T>>,
    ) -> Result<()> {
        let stored = self.input.store(x)?;
        for remaining in (0..steps).rev() {
            let dy = self.backward_to_stem(&d_features(&self.forward_stored(&stored)?)?.values)?;
            let next = (remaining > 0 && self.input.is_buffered()).then_some(&stored);
            let stem = StemStep { dy: &dy, filter: self.stem.filter(), next, statistics: self.input.statistics() };
            ops::stem_pgd_step(&stem, clean, step, x)?;
        }
        Ok(())
    }

    /// The activations after the stem and after each stage, of the last forward over `n` images.
    pub fn layer_outputs(&self, n: usize) -> Result<Vec<Tensor<T>>> {
        let is_last =
            |(index, block): &(usize, &Block<T>)| self.blocks.get(index + 1).is_none_or(|next| next.stage() != block.stage());
        let last = self.blocks.iter().enumerate().filter(is_last).map(|(_, block)| block.output(n));
        std::iter::once(self.stem.output(n)).chain(last).collect()
    }

    /// The activations after the stem and after each block, of the last forward over `n` images.
    pub fn stage_outputs(&self, n: usize) -> Result<Vec<Tensor<T>>> {
        std::iter::once(self.stem.output(n)).chain(self.blocks.iter().map(|block| block.output(n))).collect()
    }
}
