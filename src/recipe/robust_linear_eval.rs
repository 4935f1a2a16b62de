//! Robust linear evaluation: a linear classifier on a frozen encoder, trained on adversarial images of the two together (r-LE in the paper, elsewhere ALF).

use super::linear_eval::{Fit, fit_on};
use super::settings::Recipe;
use super::supervised::adversary::pgd;
use super::trained::Encoder;
use crate::attack::{Attack, ClassifierBuffers, ClassifierObjective};
use crate::data::Dataset;
use crate::data::augmentation::Augmentation;
use crate::element::Element;
use crate::nn::Classifier;
use crate::{Device, Result, Tensor, ops};

/// Trains `head` as linear evaluation does, but that each step's images, un-augmented, are first attacked by the PGD of `[supervised]`. The encoder must have
/// room for `linear_eval.batch_size` images, and both are in evaluation mode. `progress` is told as by [`fit_head`](super::linear_eval::fit_head).
///
/// # Errors
/// [`crate::Error::Numeric`] when the loss is no longer finite.
pub fn fit_robust_head<T: Element>(
    device: &Device,
    recipe: &Recipe,
    encoder: &Encoder<T>,
    data: &Dataset,
    head: &Classifier<T>,
    seed: u64,
    progress: impl FnMut(usize, Option<f64>) -> Result<()>,
) -> Result<Fit> {
    let settings = &recipe.linear_eval;
    let batch = (settings.batch_size as usize).min(data.len());
    let images = Tensor::from_slice(device, [data.len(), 32, 32, 3], &data.images)?;
    let unchanged = vec![Augmentation::identity(); data.len() / batch * batch];
    let unchanged = Tensor::from_slice(device, [unchanged.len(), Augmentation::WORDS], bytemuck::cast_slice(&unchanged))?;
    let [clean, x] = [(); 2].map(|()| Tensor::zeros(device, [batch, 32, 32, 3]));
    let (clean, x) = (clean?, x?);
    let buffers = ClassifierBuffers::new(device, batch, head)?;
    let clock = Tensor::zeros(device, [2])?;
    let attack = pgd(device, &recipe.supervised, batch, seed, &clock)?;
    let features = |labels: &Tensor<i32>, permutation: &Tensor<i32>, of_fit: &Tensor<i64>| {
        clock.copy_from(of_fit)?;
        ops::augment(&images, permutation, &unchanged, of_fit, batch, 1, &clean)?;
        let mut objective = ClassifierObjective::new(encoder.inference(), head, &buffers, labels, batch);
        attack.perturb(&clean, &mut objective, &x)?;
        encoder.inference().forward(&x)
    };
    fit_on(device, settings, &data.labels, head, seed, features, progress)
}
