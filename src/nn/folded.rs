//! The inference form of the encoder: batch normalisation folded into the convolutions.
//!
//! With fixed statistics a batch normalisation is an affine map per channel, so conv + BN is conv + bias. What is left is convolution, bias,
//! residual and ReLU, all in one epilogue; images no longer influence each other. Attacks run on this form: only the image has a
//! gradient, and its backward pass is a ReLU mask and a convolution per layer. Fold again after every change of the parameters.

use super::batch_norm::EPSILON;
use super::network::Network;
use super::resnet::{Block, ConvBn};
use super::scratch::Scratch;
use super::topology::{BlockSpec, ConvSpec, Topology};
use crate::element::Element;
use crate::ops::{self, Epilogue};
use crate::{Device, Result, Tensor};

/// A convolution with bias, and its output.
struct FoldedConv<T: Element> {
    spec: ConvSpec,
    filter: Tensor<T>,
    bias: Tensor<T>,
    out: Tensor<T>,
}

impl<T: Element> FoldedConv<T> {
    fn new(device: &Device, spec: &ConvSpec, max_batch: usize) -> Result<Self> {
        let size = spec.out_size();
        Ok(Self {
            filter: Tensor::zeros(device, [spec.k, spec.r, spec.r, spec.c])?,
            bias: Tensor::zeros(device, [spec.k])?,
            out: Tensor::zeros(device, [max_batch, size, size, spec.k])?,
            spec: spec.clone(),
        })
    }

    fn fold(&self, from: &ConvBn<T>) -> Result<()> {
        let bn = &from.bn;
        ops::bn_fold(&from.conv.filter.value, bn.affine(), bn.running(), EPSILON, &self.filter, &self.bias)
    }

    fn output(&self, n: usize) -> Result<Tensor<T>> {
        self.out.rows(0..n)
    }

    fn forward(&self, x: &Tensor<T>, residual: Option<&Tensor<T>>, relu: bool) -> Result<Tensor<T>> {
        let y = self.output(x.rows_len())?;
        let epilogue = Epilogue { bias: Some(&self.bias), residual, relu };
        ops::conv_fprop(x, &self.filter, self.spec.stride, self.spec.pad(), epilogue, &y)?;
        Ok(y)
    }

    /// dx = mask(conv'(dy) + residual): `mask` is the input itself where it came out of a ReLU.
    fn backward(&self, dy: &Tensor<T>, residual: Option<&Tensor<T>>, mask: Option<&Tensor<T>>, dx: &Tensor<T>) -> Result<()> {
        ops::conv_dgrad(dy, &self.filter, self.spec.stride, self.spec.pad(), residual, mask, dx)
    }
}

struct FoldedBlock<T: Element> {
    units: Vec<FoldedConv<T>>,
    shortcut: Option<FoldedConv<T>>,
}

impl<T: Element> FoldedBlock<T> {
    fn new(device: &Device, spec: &BlockSpec, max_batch: usize) -> Result<Self> {
        let conv = |spec: &ConvSpec| FoldedConv::new(device, spec, max_batch);
        Ok(Self {
            units: spec.units.iter().map(conv).collect::<Result<_>>()?,
            shortcut: spec.shortcut.as_ref().map(conv).transpose()?,
        })
    }

    fn fold(&self, from: &Block<T>) -> Result<()> {
        for (to, from) in self.units.iter().zip(&from.units).chain(self.shortcut.iter().zip(&from.shortcut)) {
            to.fold(from)?;
        }
        Ok(())
    }

    fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        let mut h = x.clone();
        for (index, unit) in self.units.iter().enumerate() {
            h = if index + 1 < self.units.len() {
                unit.forward(&h, None, true)?
            } else {
                let projected = self.shortcut.as_ref().map(|s| s.forward(x, None, false)).transpose()?;
                unit.forward(&h, Some(projected.as_ref().unwrap_or(x)), true)?
            };
        }
        Ok(h)
    }

    /// From the gradient of the block's sum (its output's, already masked by its ReLU) in scratch buffer `at` to that of its input,
    /// masked likewise, in another buffer, whose number is returned with it.
    fn backward(&self, x: &Tensor<T>, dy: &Tensor<T>, at: usize, scratch: &Scratch<T>) -> Result<(Tensor<T>, usize)> {
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
        let residual = match &self.shortcut {
            Some(projection) => {
                let d_x = scratch.get(side, x.shape())?;
                projection.backward(dy, None, None, &d_x)?;
                d_x
            }
            None => dy.clone(),
        };
        let d_x = scratch.get(into, x.shape())?;
        self.units[0].backward(&gradient, Some(&residual), Some(x), &d_x)?;
        Ok((d_x, into))
    }
}

/// The folded encoder.
pub struct Folded<T: Element> {
    stem: FoldedConv<T>,
    blocks: Vec<FoldedBlock<T>>,
    pooled: Tensor<T>,
    scratch: Scratch<T>,
}

impl<T: Element> Folded<T> {
    /// Allocates every buffer for batches of up to `max_batch` images. Call [`Folded::fold`] before use.
    pub fn new(device: &Device, topology: &Topology, max_batch: usize) -> Result<Self> {
        Ok(Self {
            stem: FoldedConv::new(device, &topology.stem, max_batch)?,
            blocks: topology.blocks.iter().map(|b| FoldedBlock::new(device, b, max_batch)).collect::<Result<_>>()?,
            pooled: Tensor::zeros(device, [max_batch, topology.features])?,
            scratch: Scratch::new(device, max_batch * topology.largest_activation())?,
        })
    }

    /// Takes over the network's current parameters and running statistics.
    pub fn fold(&self, network: &Network<T>) -> Result<()> {
        let encoder = network.encoder();
        self.stem.fold(&encoder.stem)?;
        self.blocks.iter().zip(&encoder.blocks).try_for_each(|(to, from)| to.fold(from))
    }

    /// Features `[n, features]` of the images `[n, 32, 32, 3]`.
    pub fn forward(&self, images: &Tensor<T>) -> Result<Tensor<T>> {
        let mut h = self.stem.forward(images, None, true)?;
        for block in &self.blocks {
            h = block.forward(&h)?;
        }
        let pooled = self.pooled.rows(0..images.rows_len())?;
        ops::average_pool(&h, &pooled)?;
        Ok(pooled)
    }

    /// Gradient of the images of the last forward.
    pub fn backward(&self, d_features: &Tensor<T>, d_images: &Tensor<T>) -> Result<()> {
        let outputs = self.stage_outputs(d_features.rows_len())?;
        let last = &outputs[self.blocks.len()];
        let (mut gradient, mut at) = (self.scratch.get(0, last.shape())?, 0);
        ops::average_pool_backward(d_features, Some(last), &gradient)?;
        for (block, input) in self.blocks.iter().zip(&outputs).rev() {
            (gradient, at) = block.backward(input, &gradient, at, &self.scratch)?;
        }
        self.stem.backward(&gradient, None, None, d_images)
    }

    /// The activations after the stem and after each of the four layers, of the last forward over `n` images.
    pub fn layer_outputs(&self, n: usize) -> Result<Vec<Tensor<T>>> {
        let layer = |block: &FoldedBlock<T>| block.units[0].spec.conv.split('.').next().map(str::to_owned);
        let ends =
            self.blocks.iter().enumerate().filter(|(i, b)| self.blocks.get(i + 1).is_none_or(|next| layer(next) != layer(b)));
        let last = ends.map(|(_, block)| &block.units[block.units.len() - 1]);
        std::iter::once(&self.stem).chain(last).map(|conv| conv.output(n)).collect()
    }

    /// The activations after the stem and after each block, of the last forward over `n` images.
    pub fn stage_outputs(&self, n: usize) -> Result<Vec<Tensor<T>>> {
        let ends = self.blocks.iter().map(|b| &b.units[b.units.len() - 1]);
        std::iter::once(&self.stem).chain(ends).map(|conv| conv.output(n)).collect()
    }
}
