//! The inference form of the encoder: running statistics, and a gradient of the images only.
//!
//! With fixed statistics a batch normalisation is an affine map per channel, so conv + BN is conv + bias. Folded, what is left is convolution,
//! bias, residual and ReLU, all in one epilogue, and the backward pass is a ReLU mask and a convolution per layer. The released code keeps
//! the normalisation as a layer of its own; so does [`Inference::unfolded`], to show that both are one function. In either form images do not
//! influence each other. Call [`Inference::copy_from`] after every change of the parameters.

use super::backbone::Backbone;
use super::batch_norm::EPSILON;
use super::image_input::ImageInput;
use super::resnet::{Block, ConvBn};
use super::scratch::Scratch;
use super::staging::RowScaled;
use super::stem_filter::StemFilter;
use super::topology::{BlockSpec, ConvSpec, Topology};
use crate::element::Element;
use crate::ops::{self, BnParameters, BnRunning, Epilogue, FilterForms, Filters, GradientTail, LinfStep, StemStep};
use crate::{Device, Result, Tensor};

/// A convolution with its batch normalisation, and their output.
struct Unit<T: Element> {
    spec: ConvSpec,
    filter: Tensor<T>,
    /// What stands in for the filters where images are read in a 16-bit type.
    stem: Option<StemFilter<T>>,
    /// Those of the filters that are the same through all steps of an attack; none of the stem, which has its own.
    forms: Option<FilterForms<T>>,
    norm: Norm<T>,
    out: Tensor<T>,
}

/// What becomes of a batch normalisation.
enum Norm<T: Element> {
    /// Its scale is in the filter, its shift a bias.
    Folded { bias: Tensor<T> },
    /// A layer behind the convolution.
    Layer(Box<Layer<T>>),
}

/// A batch normalisation by running statistics. The convolution's output on the way there and its gradient on the way back take turns in
/// `between`.
struct Layer<T: Element> {
    gamma: Tensor<T::Real>,
    beta: Tensor<T::Real>,
    mean: Tensor<T::Real>,
    var: Tensor<T::Real>,
    between: Tensor<T>,
}

impl<T: Element> Layer<T> {
    fn affine(&self) -> BnParameters<'_, T::Real> {
        BnParameters { gamma: &self.gamma, beta: &self.beta }
    }

    fn running(&self) -> BnRunning<'_, T::Real> {
        BnRunning { mean: &self.mean, var: &self.var }
    }
}

impl<T: Element> Unit<T> {
    fn new(device: &Device, spec: &ConvSpec, max_batch: usize, folded: bool) -> Result<Self> {
        let size = spec.out_size();
        let output = || Tensor::zeros(device, [max_batch, size, size, spec.k]);
        let channels = || Tensor::zeros(device, [spec.k]);
        let norm = if folded {
            Norm::Folded { bias: Tensor::zeros(device, [spec.k])? }
        } else {
            let (gamma, beta, mean, var) = (channels()?, channels()?, channels()?, channels()?);
            Norm::Layer(Box::new(Layer { gamma, beta, mean, var, between: output()? }))
        };
        let filter = Tensor::zeros(device, [spec.k, spec.r, spec.r, spec.c])?;
        Ok(Self { filter, stem: None, forms: None, norm, out: output()?, spec: spec.clone() })
    }

    /// The first layer, which reads images as [`ImageInput`] stores them.
    fn of_images(device: &Device, spec: &ConvSpec, max_batch: usize, folded: bool) -> Result<Self> {
        Ok(Self { stem: StemFilter::new(device, spec)?, ..Self::new(device, spec, max_batch, folded)? })
    }

    /// One of a block; `gradient` is what follows on the way back, if there is one.
    fn inner(device: &Device, spec: &ConvSpec, max_batch: usize, folded: bool, gradient: Option<GradientTail>) -> Result<Self> {
        let forms = Some(FilterForms::new(device, spec.shape(max_batch), gradient)?);
        Ok(Self { forms, ..Self::new(device, spec, max_batch, folded)? })
    }

    fn filter(&self) -> &Tensor<T> {
        self.stem.as_ref().map_or(&self.filter, StemFilter::repeated)
    }

    fn copy_from(&self, from: &ConvBn<T>) -> Result<()> {
        let (affine, running) = (from.bn.affine(), from.bn.running());
        match &self.norm {
            Norm::Folded { bias } => ops::bn_fold(&from.conv.filter.value, affine, running, EPSILON, &self.filter, bias)?,
            Norm::Layer(layer) => {
                self.filter.copy_from(&from.conv.filter.working)?;
                layer.gamma.copy_from(affine.gamma)?;
                layer.beta.copy_from(affine.beta)?;
                layer.mean.copy_from(running.mean)?;
                layer.var.copy_from(running.var)?;
            }
        }
        self.forms.as_ref().map_or(Ok(()), |forms| forms.renew(&self.filter))?;
        self.stem.as_ref().map_or(Ok(()), |stem| stem.renew(&self.filter))
    }

    fn output(&self, n: usize) -> Result<Tensor<T>> {
        self.out.rows(0..n)
    }

    fn forward(&self, x: &Tensor<T>, residual: Option<&Tensor<T>>, relu: bool) -> Result<Tensor<T>> {
        let n = x.rows_len();
        let y = self.output(n)?;
        let convolve = |epilogue, y: &Tensor<T>| {
            let filters = Filters { filter: self.filter(), forms: self.forms.as_ref() };
            ops::conv_fprop(x, filters, self.spec.stride, self.spec.pad(), epilogue, y)
        };
        match &self.norm {
            Norm::Folded { bias } => convolve(Epilogue { bias: Some(bias), residual, relu }, &y)?,
            Norm::Layer(layer) => {
                let between = layer.between.rows(0..n)?;
                convolve(Epilogue::default(), &between)?;
                ops::bn_eval(&between, layer.affine(), layer.running(), EPSILON, residual, relu, &y)?;
            }
        }
        Ok(y)
    }

    /// dx = mask(unit'(dy) + residual): `dy` is behind this unit's own ReLU, `mask` is the input where it came out of one.
    fn backward(&self, dy: &Tensor<T>, residual: Option<&Tensor<T>>, mask: Option<&Tensor<T>>, dx: &Tensor<T>) -> Result<()> {
        let d_conv = match &self.norm {
            Norm::Folded { .. } => dy.clone(),
            Norm::Layer(layer) => {
                let d_conv = layer.between.rows(0..dy.rows_len())?;
                ops::bn_eval_backward(dy, None, layer.affine(), layer.running(), EPSILON, &d_conv, None)?;
                d_conv
            }
        };
        let filters = Filters { filter: self.filter(), forms: self.forms.as_ref() };
        ops::conv_dgrad(&d_conv, filters, self.spec.stride, self.spec.pad(), residual, mask, dx)
    }
}

struct InferenceBlock<T: Element> {
    units: Vec<Unit<T>>,
    shortcut: Option<Unit<T>>,
}

impl<T: Element> InferenceBlock<T> {
    fn new(device: &Device, spec: &BlockSpec, max_batch: usize, folded: bool, has_gradient: bool) -> Result<Self> {
        let unit = |spec: &ConvSpec, tail| Unit::inner(device, spec, max_batch, folded, has_gradient.then_some(tail));
        // The first unit's gradient meets that of the block's other branch.
        let one = |(index, spec)| unit(spec, GradientTail { residual: index == 0, mask: true });
        Ok(Self {
            units: spec.units.iter().enumerate().map(one).collect::<Result<_>>()?,
            shortcut: spec.shortcut.as_ref().map(|spec| unit(spec, GradientTail::default())).transpose()?,
        })
    }

    fn copy_from(&self, from: &Block<T>) -> Result<()> {
        let units = self.units.iter().zip(&from.units).chain(self.shortcut.iter().zip(&from.shortcut));
        units.into_iter().try_for_each(|(to, from)| to.copy_from(from))
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

/// The encoder in inference form.
pub struct Inference<T: Element> {
    input: ImageInput<T>,
    stem: Unit<T>,
    blocks: Vec<InferenceBlock<T>>,
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
        let block = |spec| InferenceBlock::new(device, spec, max_batch, folded, largest_gradient > 0);
        Ok(Self {
            input: ImageInput::new(device, topology, max_batch)?,
            stem: Unit::of_images(device, &topology.stem, max_batch, folded)?,
            blocks: topology.blocks.iter().map(block).collect::<Result<_>>()?,
            pooled: Tensor::zeros(device, [max_batch, topology.features])?,
            scratch: Scratch::new(device, max_batch * largest_gradient)?,
        })
    }

    /// Takes over the network's current parameters and running statistics.
    pub fn copy_from(&self, network: &impl AsRef<Backbone<T>>) -> Result<()> {
        let encoder = network.as_ref().encoder();
        self.stem.copy_from(&encoder.stem)?;
        self.blocks.iter().zip(&encoder.blocks).try_for_each(|(to, from)| to.copy_from(from))
    }

    /// Features `[n, features]` of the images `[n, 32, 32, 3]`, whose pixels are in [0, 1].
    pub fn forward(&self, images: &Tensor<T::Real>) -> Result<Tensor<T>> {
        self.forward_stored(&self.input.store(images)?)
    }

    /// Features of images as the stem reads them.
    fn forward_stored(&self, images: &Tensor<T>) -> Result<Tensor<T>> {
        let mut h = self.stem.forward(images, None, true)?;
        for block in &self.blocks {
            h = block.forward(&h)?;
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

    /// The gradient of the stem's output, behind its rectifier.
    fn backward_to_stem(&self, d_features: &Tensor<T>) -> Result<Tensor<T>> {
        let outputs = self.stage_outputs(d_features.rows_len())?;
        let last = &outputs[self.blocks.len()];
        let (mut gradient, mut at) = (self.scratch.get(0, last.shape())?, 0);
        ops::average_pool_backward(d_features, Some(last), &gradient)?;
        for (block, input) in self.blocks.iter().zip(&outputs).rev() {
            (gradient, at) = block.backward(input, &gradient, at, &self.scratch)?;
        }
        Ok(gradient)
    }

    /// Whether [`Inference::ascend`] is the way to step: on a GPU, where the gradient of the images then never reaches memory. A CPU's own convolution
    /// is faster than that kernel.
    pub fn steps_in_the_stem(&self) -> bool {
        !self.pooled.device().is_host() && matches!(self.stem.norm, Norm::Folded { .. })
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

    /// The activations after the stem and after each of the four layers, of the last forward over `n` images.
    pub fn layer_outputs(&self, n: usize) -> Result<Vec<Tensor<T>>> {
        let layer = |block: &InferenceBlock<T>| block.units[0].spec.conv.split('.').next().map(str::to_owned);
        let ends =
            self.blocks.iter().enumerate().filter(|(i, b)| self.blocks.get(i + 1).is_none_or(|next| layer(next) != layer(b)));
        let last = ends.map(|(_, block)| &block.units[block.units.len() - 1]);
        std::iter::once(&self.stem).chain(last).map(|unit| unit.output(n)).collect()
    }

    /// The activations after the stem and after each block, of the last forward over `n` images.
    pub fn stage_outputs(&self, n: usize) -> Result<Vec<Tensor<T>>> {
        let ends = self.blocks.iter().map(|b| &b.units[b.units.len() - 1]);
        std::iter::once(&self.stem).chain(ends).map(|unit| unit.output(n)).collect()
    }
}
