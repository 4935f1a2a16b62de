//! Accuracy of encoder and head, on clean images and under attack.

use super::linear_eval::Batches;
use super::settings::Evaluate;
use crate::attack::{Attack, ClassifierBuffers, ClassifierObjective, LinfPgd, RandomStart};
use crate::data::Dataset;
use crate::element::Element;
use crate::nn::{Classifier, Inference};
use crate::{Device, Result, Tensor};

/// Separates the noise of the evaluation's attack from that of others.
const ATTACK_STREAM: u32 = 2;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Accuracy {
    /// Images.
    pub n: usize,
    /// Percent right without an attack.
    pub clean: f64,
    /// Percent right under PGD.
    pub pgd: f64,
}

/// Measures head ∘ encoder on `data`. As in the paper, the attacked accuracy is that on the adversarial images, whatever the clean
/// image's class was taken for.
pub fn evaluate<T: Element>(
    device: &Device,
    settings: &Evaluate,
    encoder: &Inference<T>,
    head: &Classifier<T>,
    data: &Dataset,
    seed: u64,
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Accuracy> {
    let batch = (settings.batch_size as usize).min(data.len().max(1));
    let clock = Tensor::<i64>::zeros(device, [2])?;
    let start = settings.random_start.then(|| RandomStart { seed, stream: ATTACK_STREAM, clock: clock.clone() });
    let (epsilon, step_size) = (settings.epsilon.value(), settings.step_size.value());
    let attack = LinfPgd::new(device, batch, epsilon, step_size, settings.steps as usize, start)?;
    let buffers = ClassifierBuffers::new(device, batch, head.features())?;
    let images = || Tensor::<T::Real>::zeros(device, [batch, 32, 32, 3]);
    let (clean, adversarial) = (images()?, images()?);
    let batches = Batches::new(device, data, batch)?;
    let (mut right, mut pgd) = (0, 0);
    for (index, part) in batches.iter().enumerate() {
        clock.write(&[0, index as i64])?;
        batches.images(part, &clean)?;
        let mut objective = ClassifierObjective::new(encoder, head, &buffers, &batches.labels(part)?, part.valid);
        let before = objective.correct(&clean)?;
        attack.perturb(&clean, &mut objective, &adversarial)?;
        let after = objective.correct(&adversarial)?;
        right += before.iter().filter(|&&c| c).count();
        pgd += after.iter().filter(|&&c| c).count();
        progress(part.valid)?;
    }
    let percent = |count: usize| 100.0 * count as f64 / data.len() as f64;
    Ok(Accuracy { n: data.len(), clean: percent(right), pgd: percent(pgd) })
}
