//! Black-box attacks: adversaries made against each of several models, tried on all of them.

use super::evaluate::Evaluation;
use super::settings::NamedAttack;
use super::trained::Encoder;
use crate::attack::{ClassifierBuffers, ClassifierObjective};
use crate::data::Dataset;
use crate::element::Element;
use crate::nn::Classifier;
use crate::{Device, Result};

/// A classifier that takes part: as a source of adversaries and as their target.
pub struct Participant<T: Element> {
    /// What it is called.
    pub name: String,
    /// Its encoder.
    pub encoder: Encoder<T>,
    /// Its head.
    pub head: Classifier<T>,
}

/// How many images each target gets right: `[attack][source][target]`. On the diagonal the source is its own target, which is no black box.
pub fn transfer_matrix<T: Element>(
    device: &Device,
    models: &[Participant<T>],
    attacks: &[NamedAttack],
    data: &Dataset,
    batch_size: usize,
    seed: u64,
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<Vec<Vec<usize>>>> {
    let mut right = vec![vec![vec![0; models.len()]; models.len()]; attacks.len()];
    let batch = batch_size.min(data.len().max(1));
    let targets = models.iter().map(|model| ClassifierBuffers::new(device, batch, &model.head)).collect::<Result<Vec<_>>>()?;
    for (source, model) in models.iter().enumerate() {
        let evaluation = Evaluation::new(device, model.encoder.inference(), &model.head, data, attacks, batch_size, seed)?;
        evaluation.run_and_show(|crafted| {
            for (target, (model, buffers)) in models.iter().zip(&targets).enumerate() {
                let Participant { encoder, head, .. } = model;
                let objective = ClassifierObjective::new(encoder.inference(), head, buffers, crafted.labels, crafted.batch.valid);
                let correct = objective.correct(crafted.images)?;
                right[crafted.attack][source][target] += correct.iter().filter(|correct| **correct).count();
            }
            progress(crafted.batch.valid)
        })?;
    }
    Ok(right)
}
