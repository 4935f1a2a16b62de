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
/// And from those by which the better of two adversaries is chosen.
const JUDGEMENT: &[u8; 8] = b"eot best";

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

/// The expected loss of a classifier over random views of an image. Every gradient is taken over views of its own, and neither these nor those that judge
/// adversaries are the ones that count in the end.
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
        self.classify(PREDICTION, x, &outcome, |_| Ok(()))?;
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

    /// Whether mean scores are right over views drawn for `purpose`, and their cross-entropy. `each` is given the scores of a view.
    fn classify(
        &self,
        purpose: &[u8; 8],
        x: &Tensor<T::Real>,
        outcome: &Outcome<T::Real>,
        mut each: impl FnMut(&Tensor<T::Real>) -> Result<()>,
    ) -> Result<()> {
        let mean = self.buffers.mean.rows(0..x.rows_len())?;
        let mut sums = vec![0.0; mean.len()];
        for view in 0..self.smoothing.views {
            let (_, views) = self.transform(purpose, 0, view, x)?;
            let logits = self.classifier.logits(&views)?;
            sums.iter_mut().zip(logits.to_vec()?).for_each(|(sum, logit)| *sum += logit.to_f64());
            each(&logits)?;
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
    /// By the mean of the increased loss, over views that are the same for all candidates.
    fn judge(&mut self, x: &Tensor<T::Real>, outcome: &Outcome<T::Real>) -> Result<()> {
        let n = x.rows_len();
        let of_view = self.buffers.outcome.rows(n)?;
        let mut losses = vec![0.0; n];
        self.classify(JUDGEMENT, x, outcome, |logits| {
            self.classifier.increased(logits, &of_view)?;
            losses.iter_mut().zip(of_view.loss.to_vec()?).for_each(|(sum, loss)| *sum += loss.to_f64());
            Ok(())
        })?;
        let views = f64::from(self.smoothing.views);
        outcome.loss.write(&losses.into_iter().map(|sum| T::Real::from_f64(sum / views)).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither an attack nor what chooses between adversaries sees the views that count.
    #[test]
    fn each_purpose_has_views_of_its_own() {
        let smoothing = Smoothing { views: 1, settings: AugmentationSettings::default(), seed: 7 };
        let [counted, guessed, judged] = [PREDICTION, ATTACK, JUDGEMENT].map(|purpose| smoothing.draw(purpose, [0, 0, 0], 8));
        assert!(counted != guessed && counted != judged && guessed != judged);
        assert_eq!(counted, smoothing.draw(PREDICTION, [0, 0, 0], 8));
    }
}
