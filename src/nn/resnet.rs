//! The training form of the encoder: batch statistics, every activation kept for the backward pass.

use super::batch_norm::BatchNorm;
use super::conv::Conv2d;
use super::scratch::Scratch;
use super::topology::{BlockSpec, ConvSpec, Topology};
use super::weights::Weights;
use crate::element::Element;
use crate::ops;
use crate::{Device, Result, Tensor};

/// A convolution, its batch normalisation, and their outputs.
struct ConvBn<T: Element> {
    spec: ConvSpec,
    conv: Conv2d<T>,
    bn: BatchNorm<T>,
    conv_out: Tensor<T>,
    out: Tensor<T>,
}

/// What layers are built from.
struct Plan<'a, T: Element> {
    device: &'a Device,
    weights: &'a Weights<T>,
    max_batch: usize,
}

impl<T: Element> ConvBn<T> {
    fn new(plan: &Plan<T>, spec: &ConvSpec) -> Result<Self> {
        let Plan { device, weights, max_batch } = *plan;
        let size = spec.out_size();
        let output = || Tensor::zeros(device, [max_batch, size, size, spec.k]);
        Ok(Self {
            spec: spec.clone(),
            conv: Conv2d::new(weights, spec)?,
            bn: BatchNorm::new(device, weights, spec, max_batch)?,
            conv_out: output()?,
            out: output()?,
        })
    }

    /// The first layer, which reads images.
    fn stem(plan: &Plan<T>, spec: &ConvSpec) -> Result<Self> {
        let unit = Self::new(plan, spec)?;
        Ok(Self { conv: unit.conv.of_images(plan.device, spec)?, ..unit })
    }

    /// The output of the last forward over `n` images.
    fn output(&self, n: usize) -> Result<Tensor<T>> {
        self.out.rows(0..n)
    }

    fn forward(&self, x: &Tensor<T>, residual: Option<&Tensor<T>>, relu: bool) -> Result<Tensor<T>> {
        let n = x.rows_len();
        let (conv_out, out) = (self.conv_out.rows(0..n)?, self.output(n)?);
        self.conv.forward(x, &conv_out)?;
        self.bn.forward(&conv_out, residual, relu, &out)?;
        Ok(out)
    }

    /// From the gradient of this unit's output to that of its convolution's output, in scratch buffer `into`.
    fn backward_bn(&self, dy: &Tensor<T>, relu: bool, d_residual: Option<&Tensor<T>>, d_conv: &Tensor<T>) -> Result<()> {
        let n = dy.rows_len();
        let mask = if relu { Some(self.output(n)?) } else { None };
        self.bn.backward(dy, &self.conv_out.rows(0..n)?, mask.as_ref(), d_conv, d_residual)
    }

    fn output_shape(&self, n: usize) -> [usize; 4] {
        [n, self.spec.out_size(), self.spec.out_size(), self.spec.k]
    }

    fn input_shape(&self, n: usize) -> [usize; 4] {
        [n, self.spec.size, self.spec.size, self.spec.c]
    }
}

/// A residual block: y = ReLU(unitₘ(…unit₁(x)) + shortcut(x)).
struct Block<T: Element> {
    units: Vec<ConvBn<T>>,
    shortcut: Option<ConvBn<T>>,
}

/// The scratch buffers by what they hold; see [`Block::backward`].
const BLOCK_GRADIENT: usize = 0;
const CONV_GRADIENT: usize = 1;
const SHORTCUT_GRADIENT: usize = 2;
const INNER_GRADIENT: usize = 3;

impl<T: Element> Block<T> {
    fn new(plan: &Plan<T>, spec: &BlockSpec) -> Result<Self> {
        let unit = |spec: &ConvSpec| ConvBn::new(plan, spec);
        Ok(Self {
            units: spec.units.iter().map(unit).collect::<Result<_>>()?,
            shortcut: spec.shortcut.as_ref().map(unit).transpose()?,
        })
    }

    fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        let (last, inner) = split_last(&self.units);
        let mut h = x.clone();
        for unit in inner {
            h = unit.forward(&h, None, true)?;
        }
        let residual = match &self.shortcut {
            Some(projection) => projection.forward(x, None, false)?,
            None => x.clone(),
        };
        last.forward(&h, Some(&residual), true)
    }

    /// `dy` (in `BLOCK_GRADIENT`) → dx (also in `BLOCK_GRADIENT`), adding the parameters' gradients; those of filters only where `filters` are wanted.
    fn backward(&self, x: &Tensor<T>, dy: &Tensor<T>, filters: bool, scratch: &Scratch<T>) -> Result<Tensor<T>> {
        let backward_filter = |unit: &ConvBn<T>, x: &Tensor<T>, d_conv: &Tensor<T>| match filters {
            true => unit.conv.backward_filter(x, d_conv),
            false => Ok(()),
        };
        let n = x.rows_len();
        let (first, last) = (&self.units[0], self.units.len() - 1);
        let mut shortcut_gradient = scratch.get(SHORTCUT_GRADIENT, dy.shape())?;
        let mut d_out = dy.clone();
        for (index, unit) in self.units.iter().enumerate().rev() {
            let d_conv = scratch.get(CONV_GRADIENT, unit.output_shape(n))?;
            unit.backward_bn(&d_out, true, (index == last).then_some(&shortcut_gradient), &d_conv)?;
            if index > 0 {
                let h = self.units[index - 1].output(n)?;
                backward_filter(unit, &h, &d_conv)?;
                d_out = scratch.get(INNER_GRADIENT, h.shape())?;
                unit.conv.backward_input(&d_conv, None, &d_out)?;
            } else {
                backward_filter(unit, x, &d_conv)?;
            }
        }
        if let Some(projection) = &self.shortcut {
            // The inner gradient's buffer is free by now; the shortcut's own is reused once batch normalisation has read it.
            let d_conv = scratch.get(INNER_GRADIENT, projection.output_shape(n))?;
            projection.backward_bn(&shortcut_gradient, false, None, &d_conv)?;
            backward_filter(projection, x, &d_conv)?;
            shortcut_gradient = scratch.get(SHORTCUT_GRADIENT, projection.input_shape(n))?;
            projection.conv.backward_input(&d_conv, None, &shortcut_gradient)?;
        }
        let d_conv = scratch.get(CONV_GRADIENT, first.output_shape(n))?;
        let dx = scratch.get(BLOCK_GRADIENT, x.shape())?;
        first.conv.backward_input(&d_conv, Some(&shortcut_gradient), &dx)?;
        Ok(dx)
    }
}

/// A block has at least one unit by construction of [`Topology`].
fn split_last<U>(units: &[U]) -> (&U, &[U]) {
    let (inner, last) = units.split_at(units.len() - 1);
    (&last[0], inner)
}

/// The encoder in training form: stem, blocks, global average pool.
pub struct Encoder<T: Element> {
    weights: Weights<T>,
    stem: ConvBn<T>,
    blocks: Vec<Block<T>>,
    pooled: Tensor<T>,
    scratch: Scratch<T>,
}

impl<T: Element> Encoder<T> {
    /// Allocates every buffer for batches of up to `max_batch` images, over `weights`, which other encoders may share.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) for a network with convolutions that have no batch normalisation behind them.
    pub fn new(device: &Device, weights: &Weights<T>, topology: &Topology, max_batch: usize) -> Result<Self> {
        let plan = Plan { device, weights, max_batch };
        Ok(Self {
            stem: ConvBn::stem(&plan, &topology.stem)?,
            blocks: topology.blocks.iter().map(|block| Block::new(&plan, block)).collect::<Result<_>>()?,
            pooled: Tensor::zeros(device, [max_batch, topology.features])?,
            scratch: Scratch::new(device, max_batch * topology.largest_activation())?,
            weights: weights.clone(),
        })
    }

    /// What it shares with others.
    pub fn weights(&self) -> &Weights<T> {
        &self.weights
    }

    /// From now on every batch normalisation is by the running statistics, which stay as they are.
    pub(super) fn freeze_statistics(&mut self) {
        self.stem.bn.freeze();
        let units = self.blocks.iter_mut().flat_map(|block| block.units.iter_mut().chain(&mut block.shortcut));
        units.for_each(|unit| unit.bn.freeze());
    }

    /// Features `[n, features]` of the images as the stem reads them (`[n, 32, 32, 3]`; in a 16-bit type [`ops::stem_images`]), with batch statistics;
    /// moves the running statistics.
    pub fn forward(&self, images: &Tensor<T>) -> Result<Tensor<T>> {
        let mut h = self.stem.forward(images, None, true)?;
        for block in &self.blocks {
            h = block.forward(&h)?;
        }
        let pooled = self.pooled.rows(0..images.rows_len())?;
        ops::average_pool(&h, &pooled)?;
        Ok(pooled)
    }

    /// The features of the last forward over `n` images.
    pub fn features(&self, n: usize) -> Result<Tensor<T>> {
        self.pooled.rows(0..n)
    }

    /// Adds the gradients of all parameters, for the images of the last forward.
    pub fn backward(&self, images: &Tensor<T>, d_features: &Tensor<T>) -> Result<()> {
        let d_conv = self.backward_to_stem(d_features, true)?;
        self.stem.conv.backward_filter(images, &d_conv)
    }

    /// The gradient of the images of the last forward, as the stem read them, through the batch statistics. What it leaves in the parameters' gradients is of
    /// no use.
    pub(super) fn backward_images(&self, d_features: &Tensor<T>, d_images: &Tensor<T>) -> Result<()> {
        let d_conv = self.backward_to_stem(d_features, false)?;
        self.stem.conv.backward_input(&d_conv, None, d_images)
    }

    /// The gradient of the stem's convolution.
    fn backward_to_stem(&self, d_features: &Tensor<T>, filters: bool) -> Result<Tensor<T>> {
        let n = d_features.rows_len();
        let outputs = self.block_outputs(n)?;
        let mut gradient = self.scratch.get(BLOCK_GRADIENT, outputs[self.blocks.len()].shape())?;
        ops::average_pool_backward(d_features, None, &gradient)?;
        for (block, input) in self.blocks.iter().zip(&outputs).rev() {
            gradient = block.backward(input, &gradient, filters, &self.scratch)?;
        }
        let d_conv = self.scratch.get(CONV_GRADIENT, self.stem.output_shape(n))?;
        self.stem.backward_bn(&gradient, true, None, &d_conv)?;
        Ok(d_conv)
    }

    /// The stem's output and each block's.
    fn block_outputs(&self, n: usize) -> Result<Vec<Tensor<T>>> {
        let mut outputs = vec![self.stem.output(n)?];
        for block in &self.blocks {
            outputs.push(split_last(&block.units).0.output(n)?);
        }
        Ok(outputs)
    }

    /// See [`Weights::running_statistics`].
    pub fn running_statistics(&self) -> Vec<(String, Tensor<T::Real>)> {
        self.weights.running_statistics()
    }
}
