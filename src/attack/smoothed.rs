//! A classifier smoothed by random transformations, and attacks through the expectation over them (Athalye et al. 2018).

use super::{ClassifierObjective, Judge, Objective};
use crate::data::augmentation::{Augmentation, AugmentationSettings};
use crate::data::stream::stream;
use crate::element::{Element, Real};
use crate::ops::{self, Outcome};
use crate::{Device, Result, Tensor};

/// How images are transformed before they are classified: each into `views` random views, whose mean class scores count.
///
/// Of the augmentations those that are linear take part: crop, flip and grayscale; colour jitter, which is defined on 8 bits, does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Smoothing {
    /// Views of each image.
    pub views: u32,
    /// What they are drawn from.
    pub settings: AugmentationSettings,
    /// What they are drawn by.
    pub seed: u64,
}

/// Separates the views that count from those that an attack guesses at.
const PREDICTION: &[u8; 8] = b"smoothed";
const ATTACK: &[u8; 8] = b"eot\0\0\0\0\0";

impl Smoothing {
    /// The records of `n` images, row after row.
    fn draw(&self, purpose: &[u8; 8], [batch, turn, view]: [u32; 3], n: usize) -> Vec<i32> {
        let record = |place: usize| self.settings.sample(&mut stream(self.seed, purpose, [batch, turn, view, place as u32]));
        (0..n).flat_map(|place| bytemuck::cast::<Augmentation, [i32; Augmentation::WORDS]>(record(place))).collect()
    }
}

/// What a smoothed classifier writes to.
pub struct SmoothedBuffers<R> {
    view: Tensor<R>,
    d_view: Tensor<R>,
    records: Tensor<i32>,
    mean: Tensor<R>,
    loss: Tensor<R>,
    outcome: Outcome<R>,
}

impl<R: Real> SmoothedBuffers<R> {
    /// For batches of up to `max_batch` images of as many `classes`.
    pub fn new(device: &Device, max_batch: usize, classes: usize) -> Result<Self> {
        let images = || Tensor::zeros(device, [max_batch, 32, 32, 3]);
        Ok(Self {
            view: images()?,
            d_view: images()?,
            records: Tensor::zeros(device, [max_batch, Augmentation::WORDS])?,
            mean: Tensor::zeros(device, [max_batch, classes])?,
            loss: Tensor::zeros(device, [1])?,
            outcome: Outcome { loss: Tensor::zeros(device, [max_batch])?, correct: Tensor::zeros(device, [max_batch])? },
        })
    }
}

/// The expected loss of a classifier over random views of an image. Every gradient is taken over views of its own, and none of these are
/// those that count in the end.
pub struct SmoothedObjective<'a, T: Element> {
    classifier: ClassifierObjective<'a, T>,
    smoothing: &'a Smoothing,
    buffers: &'a SmoothedBuffers<T::Real>,
    /// Of the evaluation: batches have views of their own.
    batch: u32,
    turn: u32,
}

impl<'a, T: Element> SmoothedObjective<'a, T> {
    /// That of `classifier`; `batch` is the number of its batch.
    pub fn new(
        classifier: ClassifierObjective<'a, T>,
        smoothing: &'a Smoothing,
        buffers: &'a SmoothedBuffers<T::Real>,
        batch: u32,
    ) -> Self {
        Self { classifier, smoothing, buffers, batch, turn: 0 }
    }

    /// For each image of `x`, `[n, 32, 32, 3]`, whether the class of its mean scores is right.
    pub fn correct(&self, x: &Tensor<T::Real>) -> Result<Vec<bool>> {
        let outcome = self.buffers.outcome.rows(x.rows_len())?;
        self.classify(x, &outcome)?;
        outcome.right(self.classifier.valid())
    }

    /// The views of one draw of all images.
    fn transform(&self, purpose: &[u8; 8], turn: u32, view: u32, x: &Tensor<T::Real>) -> Result<(Tensor<i32>, Tensor<T::Real>)> {
        let n = x.rows_len();
        let (records, views) = (self.buffers.records.rows(0..n)?, self.buffers.view.rows(0..n)?);
        records.write(&self.smoothing.draw(purpose, [self.batch, turn, view], n))?;
        ops::transform_views(x, &records, &views)?;
        Ok((records, views))
    }

    /// By the cross-entropy of the mean scores.
    fn classify(&self, x: &Tensor<T::Real>, outcome: &Outcome<T::Real>) -> Result<()> {
        let mean = self.buffers.mean.rows(0..x.rows_len())?;
        let mut sums = vec![0.0; mean.len()];
        for view in 0..self.smoothing.views {
            let (_, views) = self.transform(PREDICTION, 0, view, x)?;
            let logits = self.classifier.logits(&views)?.to_vec()?;
            sums.iter_mut().zip(logits).for_each(|(sum, logit)| *sum += logit.to_f64());
        }
        let views = f64::from(self.smoothing.views);
        mean.write(&sums.into_iter().map(|sum| T::Real::from_f64(sum / views)).collect::<Vec<_>>())?;
        let (labels, valid) = (self.classifier.labels(), self.classifier.valid());
        let loss = &self.buffers.loss;
        ops::cross_entropy(&mean, labels, valid, valid as f64, None, &outcome.loss, Some(&outcome.correct), loss)
    }
}

impl<T: Element> Objective<T::Real> for SmoothedObjective<'_, T> {
    fn gradient(&mut self, x: &Tensor<T::Real>, gradient: &Tensor<T::Real>) -> Result<()> {
        self.turn += 1;
        let d_views = self.buffers.d_view.rows(0..x.rows_len())?;
        for view in 0..self.smoothing.views {
            let (records, views) = self.transform(ATTACK, self.turn, view, x)?;
            self.classifier.gradient(&views, &d_views)?;
            let weight = 1.0 / f64::from(self.smoothing.views);
            ops::transform_views_backward(&d_views, &records, weight, view > 0, gradient)?;
        }
        Ok(())
    }

    /// That of the last view.
    fn loss(&self) -> &Tensor<T::Real> {
        self.classifier.loss()
    }
}

impl<T: Element> Judge<T::Real> for SmoothedObjective<'_, T> {
    fn judge(&mut self, x: &Tensor<T::Real>, outcome: &Outcome<T::Real>) -> Result<()> {
        self.classify(x, outcome)
    }
}
