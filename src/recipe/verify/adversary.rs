//! Free-running adversaries. After a ReLU that fell on its other side an image's adversary goes its own way, to other pixels; but
//! it has to be as strong as the recorded one.

use super::attacks::differing;
use super::recording::upload;
use super::row::{Class, Measure, Row};
use super::{Session, widened};
use crate::attack::Objective;
use crate::element::{Element, Real};
use crate::{Result, Tensor};

/// The adversary `found`, held against the `expected` one: the fraction of its pixels that went another way, in the median image
/// and in the worst, and the loss it gains.
pub(super) fn rows<T: Element>(
    session: &Session<T>,
    name: &str,
    objective: &mut dyn Objective<T::Real>,
    found: &Tensor<T::Real>,
    expected: &[f64],
    step_size: f64,
) -> Result<Vec<Row>> {
    let (device, batch) = (session.device, session.batch());
    let image = found.len() / batch;
    let pixels = widened(found)?;
    let fractions: Vec<f64> =
        pixels.chunks(image).zip(expected.chunks(image)).map(|(found, expected)| differing(found, expected, step_size)).collect();
    let strength = Strength {
        clean: session.recording.images(device, "in/x1", batch)?,
        recorded: upload(device, batch, expected)?,
        mixed: Tensor::zeros(device, found.shape())?,
        gradient: Tensor::zeros(device, found.shape())?,
    };
    let mut error: f64 = 0.0;
    for index in (0..batch).filter(|&index| fractions[index] > 0.0) {
        error = error.max(strength.error(objective, found, index)?);
    }
    let mut sorted = fractions;
    sorted.sort_by(f64::total_cmp);
    // The lower of two medians: of four images, two may have met a flip.
    let (median, worst) = (sorted[(batch - 1) / 2], sorted[batch - 1]);
    let judge = |measure, class, found| session.tolerances.judge(name, measure, class, found);
    Ok(vec![
        judge(Measure::MedianImage, Class::Pixels, median),
        judge(Measure::WorstImage, Class::WorstPixels, worst),
        judge(Measure::Gain, Class::Gain, error),
    ])
}

/// What it takes to tell how much an image of a recorded adversary adds to the batch's loss, all images `[n, 32, 32, 3]`.
struct Strength<R: Real> {
    clean: Tensor<R>,
    recorded: Tensor<R>,
    mixed: Tensor<R>,
    gradient: Tensor<R>,
}

impl<R: Real> Strength<R> {
    /// |gain of found − gain of recorded| / gain of recorded, the gain being the batch's loss minus that with the clean image in
    /// the place of this one. Infinite where the recorded adversary is no stronger than the clean image.
    fn error(&self, objective: &mut dyn Objective<R>, found: &Tensor<R>, index: usize) -> Result<f64> {
        let mut loss_with = |images: &Tensor<R>| -> Result<f64> {
            self.mixed.copy_from(&self.recorded)?;
            self.mixed.rows(index..index + 1)?.copy_from(&images.rows(index..index + 1)?)?;
            objective.gradient(&self.mixed, &self.gradient)?;
            Ok(widened(objective.loss())?.iter().sum())
        };
        let (recorded, found, clean) = (loss_with(&self.recorded)?, loss_with(found)?, loss_with(&self.clean)?);
        let error = (found - recorded).abs() / (recorded - clean).max(0.0);
        Ok(if error.is_nan() { f64::INFINITY } else { error })
    }
}
