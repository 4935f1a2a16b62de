//! A convolution, and what stands between it and the next.

use super::norm::Norm;
use crate::element::Element;
use crate::nn::batch_norm::EPSILON;
use crate::nn::stem_filter::StemFilter;
use crate::nn::topology::ConvSpec;
use crate::nn::weights::Weights;
use crate::ops::{self, Epilogue, FilterForms, Filters, GradientTail};
use crate::{Device, Result, Tensor};

/// A convolution with its batch normalisation, if it has one, and their output.
pub(super) struct Unit<T: Element> {
    spec: ConvSpec,
    filter: Tensor<T>,
    /// What stands in for the filters where images are read in a 16-bit type.
    stem: Option<StemFilter<T>>,
    /// Those of the filters that are the same through all steps of an attack; none of the stem, which has its own.
    forms: Option<FilterForms<T>>,
    behind: Behind<T>,
    out: Tensor<T>,
}

/// What becomes of a batch normalisation.
enum Behind<T: Element> {
    /// There is none.
    Nothing,
    /// Its scale is in the filter, its shift a bias.
    Folded { bn: String, bias: Tensor<T> },
    /// A layer behind the convolution, whose output on the way there and its gradient on the way back take turns in `between`.
    Layer { norm: Box<Norm<T::Real>>, between: Tensor<T> },
}

impl<T: Element> Unit<T> {
    fn new(device: &Device, spec: &ConvSpec, max_batch: usize, folded: bool) -> Result<Self> {
        let size = spec.out_size();
        let output = || Tensor::zeros(device, [max_batch, size, size, spec.k]);
        let behind = match &spec.bn {
            None => Behind::Nothing,
            Some(bn) if folded => Behind::Folded { bn: bn.clone(), bias: Tensor::zeros(device, [spec.k])? },
            Some(bn) => Behind::Layer { norm: Box::new(Norm::new(device, bn, spec.k)?), between: output()? },
        };
        let filter = Tensor::zeros(device, [spec.k, spec.r, spec.r, spec.c])?;
        Ok(Self { filter, stem: None, forms: None, behind, out: output()?, spec: spec.clone() })
    }

    /// The first layer, which reads images as [`ImageInput`](crate::nn::image_input::ImageInput) stores them.
    pub fn of_images(device: &Device, spec: &ConvSpec, max_batch: usize, folded: bool) -> Result<Self> {
        Ok(Self { stem: StemFilter::new(device, spec)?, ..Self::new(device, spec, max_batch, folded)? })
    }

    /// One of a block; `gradient` is what follows on the way back, if there is one.
    pub fn inner(
        device: &Device,
        spec: &ConvSpec,
        max_batch: usize,
        folded: bool,
        gradient: Option<GradientTail>,
    ) -> Result<Self> {
        let forms = Some(FilterForms::new(device, spec.shape(max_batch), gradient)?);
        Ok(Self { forms, ..Self::new(device, spec, max_batch, folded)? })
    }

    pub fn filter(&self) -> &Tensor<T> {
        self.stem.as_ref().map_or(&self.filter, StemFilter::repeated)
    }

    /// State-dict name of the convolution.
    pub fn name(&self) -> &str {
        &self.spec.conv
    }

    pub fn is_normalised(&self) -> bool {
        self.spec.bn.is_some()
    }

    /// Whether a layer stands behind the convolution, so that the gradient of the output is not that of the convolution's sum.
    pub fn has_layer(&self) -> bool {
        matches!(self.behind, Behind::Layer { .. })
    }

    pub fn copy_from(&self, weights: &Weights<T>) -> Result<()> {
        let filter = weights.filter(&self.spec.conv)?;
        match &self.behind {
            Behind::Nothing => self.filter.copy_from(&filter.working)?,
            Behind::Folded { bn, bias } => {
                let norm = weights.batch_norm(bn)?;
                ops::bn_fold(&filter.value, norm.affine(), norm.running(), EPSILON, &self.filter, bias)?;
            }
            Behind::Layer { norm, .. } => {
                self.filter.copy_from(&filter.working)?;
                norm.copy_from(weights)?;
            }
        }
        self.forms.as_ref().map_or(Ok(()), |forms| forms.renew(&self.filter))?;
        self.stem.as_ref().map_or(Ok(()), |stem| stem.renew(&self.filter))
    }

    pub fn output(&self, n: usize) -> Result<Tensor<T>> {
        self.out.rows(0..n)
    }

    pub fn forward(&self, x: &Tensor<T>, residual: Option<&Tensor<T>>, relu: bool) -> Result<Tensor<T>> {
        let n = x.rows_len();
        let y = self.output(n)?;
        let convolve = |epilogue, y: &Tensor<T>| {
            let filters = Filters { filter: self.filter(), forms: self.forms.as_ref() };
            ops::conv_fprop(x, filters, self.spec.stride, self.spec.pad(), epilogue, y)
        };
        match &self.behind {
            Behind::Nothing => convolve(Epilogue { bias: None, residual, relu }, &y)?,
            Behind::Folded { bias, .. } => convolve(Epilogue { bias: Some(bias), residual, relu }, &y)?,
            Behind::Layer { norm, between } => {
                let between = between.rows(0..n)?;
                convolve(Epilogue::default(), &between)?;
                norm.forward(&between, residual, relu, &y)?;
            }
        }
        Ok(y)
    }

    /// dx = mask(unit'(dy) + residual): `dy` is behind this unit's own ReLU, `mask` is the input where it came out of one.
    pub fn backward(&self, dy: &Tensor<T>, residual: Option<&Tensor<T>>, mask: Option<&Tensor<T>>, dx: &Tensor<T>) -> Result<()> {
        let d_conv = match &self.behind {
            Behind::Nothing | Behind::Folded { .. } => dy.clone(),
            Behind::Layer { norm, between } => {
                let d_conv = between.rows(0..dy.rows_len())?;
                norm.backward(dy, None, &d_conv)?;
                d_conv
            }
        };
        let filters = Filters { filter: self.filter(), forms: self.forms.as_ref() };
        ops::conv_dgrad(&d_conv, filters, self.spec.stride, self.spec.pad(), residual, mask, dx)
    }
}
