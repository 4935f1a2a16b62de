//! Linear evaluation: a linear classifier on the features of a frozen encoder.
//!
//! The encoder is in inference form and the images are not augmented, so every image's features are computed once.

use super::settings::LinearEval;
use crate::data::Dataset;
use crate::data::stream::stream;
use crate::device::Graph;
use crate::element::{Element, Real};
use crate::nn::{Classifier, Inference, LINEAR};
use crate::optim::{Optimizer, OptimizerSettings};
use crate::{Device, Error, Result, Tensor, ops};
use rand::seq::SliceRandom;

/// A data set's images on the device, and the batches they are read in: full ones, the last padded by repeating an image.
pub struct Batches {
    images: Tensor<u8>,
    labels: Tensor<i32>,
    len: usize,
    batch: usize,
}

/// One batch: where it starts, and how many of its images are not padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the first image.
    pub start: usize,
    /// Images that count.
    pub valid: usize,
}

impl Batches {
    /// Uploads the data set.
    pub fn new(device: &Device, data: &Dataset, batch: usize) -> Result<Self> {
        let len = data.len();
        if len == 0 {
            return Err(Error::Usage("there is no image to evaluate on; give --data or a larger --limit".to_owned()));
        }
        let padding = len.next_multiple_of(batch) - len;
        let last = data.select(&vec![len - 1; padding]);
        let images = Tensor::zeros(device, [len + padding, 32, 32, 3])?;
        images.rows(0..len)?.write(&data.images)?;
        images.rows(len..len + padding)?.write(&last.images)?;
        let labels: Vec<i32> = data.labels.iter().chain(&last.labels).map(|&label| i32::from(label)).collect();
        Ok(Self { images, labels: Tensor::from_slice(device, [len + padding], &labels)?, len, batch })
    }

    /// The batches in order.
    pub fn iter(&self) -> impl Iterator<Item = Batch> + '_ {
        (0..self.len).step_by(self.batch).map(|start| Batch { start, valid: self.batch.min(self.len - start) })
    }

    /// The images of a batch as numbers in [0, 1], written to `out` (`[batch, 32, 32, 3]`).
    pub fn images<R: Real>(&self, batch: Batch, out: &Tensor<R>) -> Result<()> {
        ops::unit_range(&self.images.rows(batch.start..batch.start + self.batch)?, out)
    }

    /// The labels of a batch, `[batch]`.
    pub fn labels(&self, batch: Batch) -> Result<Tensor<i32>> {
        self.labels.rows(batch.start..batch.start + self.batch)
    }
}

/// The features of all images of a data set, `[len, features]`, computed in batches of `batch`.
pub fn features<T: Element>(
    device: &Device,
    encoder: &Inference<T>,
    data: &Dataset,
    batch: usize,
    width: usize,
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Tensor<T>> {
    let batches = Batches::new(device, data, batch)?;
    let images = Tensor::<T::Real>::zeros(device, [batch, 32, 32, 3])?;
    let all = Tensor::zeros(device, [data.len(), width])?;
    for part in batches.iter() {
        batches.images(part, &images)?;
        let features = encoder.forward(&images)?;
        all.rows(part.start..part.start + part.valid)?.copy_from(&features.rows(0..part.valid)?)?;
        progress(part.valid)?;
    }
    Ok(all)
}

/// What the fit reached.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Fit {
    /// Mean cross-entropy over the last epoch.
    pub loss: f64,
    /// Accuracy over the last epoch's training images, in percent.
    pub train_accuracy: f64,
}

/// Trains `head` on `features` (`[n, width]`) by SGD. Batches larger than the data are cut to it; a last partial batch is dropped. After each step `progress`
/// is told how many images are done with, and the mean loss of the last epoch that is over.
pub fn fit_head<T: Element>(
    device: &Device,
    settings: &LinearEval,
    features: &Tensor<T>,
    labels: &[u8],
    head: &Classifier<T>,
    seed: u64,
    progress: impl FnMut(usize, Option<f64>) -> Result<()>,
) -> Result<Fit> {
    let [n, width] = features.dims_of(LINEAR)?;
    let x = Tensor::<T>::zeros(device, [(settings.batch_size as usize).min(n), width])?;
    let gather = |_: &Tensor<i32>, permutation: &Tensor<i32>, clock: &Tensor<i64>| {
        ops::gather_rows(features, permutation, clock, &x)?;
        Ok(x.clone())
    };
    fit_on(device, settings, labels, head, seed, gather, progress)
}

/// Trains `head` by SGD on what `features` has of a step's images, given their labels (`[batch]`), the order of all images (`[n]`) and the step counter.
pub(super) fn fit_on<T: Element>(
    device: &Device,
    settings: &LinearEval,
    labels: &[u8],
    head: &Classifier<T>,
    seed: u64,
    features: impl Fn(&Tensor<i32>, &Tensor<i32>, &Tensor<i64>) -> Result<Tensor<T>>,
    mut progress: impl FnMut(usize, Option<f64>) -> Result<()>,
) -> Result<Fit> {
    let n = labels.len();
    let batch = (settings.batch_size as usize).min(n);
    let steps = n / batch;
    let labels: Vec<i32> = labels.iter().map(|&label| i32::from(label)).collect();
    let labels = Tensor::from_slice(device, [n], &labels)?;
    let optimizer = Optimizer::new(
        device,
        head.parameters(),
        &OptimizerSettings::Sgd {
            learning_rate: settings.learning_rate,
            momentum: settings.momentum,
            weight_decay: settings.weight_decay,
        },
    )?;
    let (clock, permutation) = (Tensor::<i64>::zeros(device, [2])?, Tensor::<i32>::zeros(device, [n])?);
    let rates = Tensor::<T::Real>::zeros(device, [steps])?;
    let y = Tensor::<i32>::zeros(device, [batch])?;
    let reals = |shape: [usize; 1]| Tensor::<T::Real>::zeros(device, shape);
    let (row_loss, correct) = (reals([batch])?, reals([batch])?);
    // Of a step: its loss, and how many of its images are right.
    let (noted, log) = (reals([2])?, Tensor::<T::Real>::zeros(device, [steps, 2])?);
    let (loss, right) = (noted.rows(0..1)?, noted.rows(1..2)?);
    let mut graph = Graph::new(device);
    let mut fit = Fit { loss: f64::NAN, train_accuracy: f64::NAN };
    let mut last = None;
    for epoch in 0..settings.epochs {
        let mut order: Vec<i32> = (0..n as i32).collect();
        order.shuffle(&mut stream(seed, b"linear\0\0", [epoch, 0, 0, 0]));
        permutation.write(&order)?;
        let passed = settings.milestones.iter().filter(|&&milestone| epoch >= milestone).count();
        let rate = settings.learning_rate * settings.decay.powi(passed as i32);
        rates.write(&vec![T::Real::from_f64(rate); steps])?;
        clock.write(&[0, i64::from(epoch) * steps as i64])?;
        for _ in 0..steps {
            graph.run(|| {
                ops::gather_labels(&labels, &permutation, &clock, &y)?;
                let x = features(&y, &permutation, &clock)?;
                let logits = head.forward(&x)?;
                head.parameters().clear_gradients()?;
                ops::cross_entropy(&logits, &y, batch, 1.0, Some(&head.d_logits(batch)?), &row_loss, Some(&correct), &loss)?;
                ops::weighted_sum(&correct, 1.0, false, &right)?;
                head.backward_parameters(&x)?;
                optimizer.step(head.parameters(), &clock, &rates)?;
                ops::record_step(&noted, &log, &clock)
            })?;
            progress(batch, last)?;
        }
        let log = log.to_vec()?;
        let total = |slot: usize| log.iter().skip(slot).step_by(2).map(|value| value.to_f64()).sum::<f64>();
        fit = Fit { loss: total(0) / steps as f64, train_accuracy: 100.0 * total(1) / (steps * batch) as f64 };
        if !fit.loss.is_finite() {
            return Err(Error::Numeric(format!(
                "the linear head's loss became {} in epoch {epoch}; lower linear_eval.learning_rate",
                fit.loss
            )));
        }
        last = Some(fit.loss);
        // Those that fill no batch.
        progress(n - steps * batch, last)?;
    }
    Ok(fit)
}
