//! What a job needs of a device's memory: it is done in name only, everything built and every kind of step taken once.
//!
//! A CPU's memory is the program's own too: there what it holds besides counts, where that can be large (images that it has read, checkpoints).

use super::demo::{METHODS, judge, with_method};
use super::evaluate::Evaluation;
use super::head::{HeadJob, HeadKind};
use super::pretrain::Pretraining;
use super::saved::saving_bytes;
use super::settings::{Evaluate, LinearEval, NamedAttack, Recipe};
use super::supervised::Supervised;
use super::trained::Encoder;
use super::training_run::TrainingRun;
use super::transfer::Transfer;
use super::transfer_matrix::Participant;
use crate::data::Dataset;
use crate::device::Needs;
use crate::element::Element;
use crate::run::checkpoint::{Checkpoint, Kind, Meta};
use crate::{Device, Result, Tensor};

/// Of [`Training`](super::training::Training).
///
/// # Errors
/// Those of building the run.
pub fn pretraining<T: Element>(device: &Device, recipe: &Recipe, data: &Dataset) -> Result<Needs> {
    device.needs(|dry| {
        let images = held(dry, data.images.len())?;
        let run = Pretraining::<T>::new(dry, recipe, data)?;
        // The program lets go of them before the first step.
        drop(images);
        run.step()?;
        held(dry, saving_bytes(run.network(), run.optimizer())).map(drop)
    })
}

/// Of [`Training`](super::training::Training) with labels, `held_bytes` of an encoder's checkpoint being at hand.
///
/// # Errors
/// Those of building the run.
pub fn supervised<T: Element>(device: &Device, recipe: &Recipe, data: &Dataset, held_bytes: usize) -> Result<Needs> {
    device.needs(|dry| {
        let images = held(dry, data.images.len())?;
        let _checkpoint = held(dry, held_bytes)?;
        let run = Supervised::<T>::new(dry, recipe, data)?;
        drop(images);
        run.step()?;
        held(dry, saving_bytes(run.network(), run.optimizer())).map(drop)
    })
}

/// Of a [head's fit](HeadJob).
///
/// # Errors
/// Those of the job.
pub fn head<T: Element>(job: &HeadJob) -> Result<Needs> {
    job.device.needs(|dry| {
        let _held = held(dry, job.data.images.len() + job.encoder.bytes())?;
        job.rehearse::<T>(dry)
    })
}

/// Of fitting heads of these kinds in a [`Transfer`], and measuring them.
///
/// # Errors
/// Those of the job.
pub fn transfer<T: Element>(job: &Transfer, kinds: &[HeadKind]) -> Result<Needs> {
    job.device.needs(|dry| {
        let _held = held(dry, job.train.images.len() + job.test.images.len() + job.encoder.bytes())?;
        job.rehearse::<T>(dry, kinds)
    })
}

/// Of loading encoders and heads of these recipes (the batch is that of the first), and measuring them by `measure`.
///
/// # Errors
/// Those of the job.
pub fn evaluation<T: Element>(
    device: &Device,
    recipes: &[Recipe],
    held_bytes: usize,
    classes: usize,
    measure: impl Fn(&Device, &[Participant<T>]) -> Result<()>,
) -> Result<Needs> {
    device.needs(|dry| {
        let _held = held(dry, held_bytes)?;
        let batch = recipes.first().map_or(1, |recipe| recipe.evaluate.batch_size as usize);
        let participant = |recipe: &Recipe| {
            let encoder = Encoder::<T>::untrained(dry, recipe)?;
            Ok(Participant { name: String::new(), head: encoder.new_head(classes, batch, 0)?, encoder })
        };
        measure(dry, &recipes.iter().map(participant).collect::<Result<Vec<_>>>()?)
    })
}

/// Of the [demonstration](super::demo).
///
/// # Errors
/// Those of the job.
pub fn demo<T: Element>(device: &Device, recipe: &Recipe, train: &Dataset, test: &Dataset) -> Result<Needs> {
    let (linear_eval, evaluate) = (one_epoch(&recipe.linear_eval), one_step(&recipe.evaluate));
    let recipe = Recipe { linear_eval, evaluate, ..recipe.clone() };
    device.needs(|dry| {
        let _images = held(dry, train.images.len() + test.images.len())?;
        METHODS.iter().try_for_each(|&method| {
            let recipe = with_method(&recipe, method);
            let run = Pretraining::<T>::new(dry, &recipe, train)?;
            run.step()?;
            held(dry, saving_bytes(run.network(), run.optimizer()))?;
            let encoder = Encoder::new(dry, &recipe, run.network())?;
            drop(run);
            judge(dry, &recipe, &encoder, train, test).map(drop)
        })
    })
}

/// Of a cell of an [ablation](super::ablation), stage by stage: each is done before the next begins.
///
/// # Errors
/// Those of the job.
pub fn ablated<T: Element>(
    device: &Device,
    recipe: &Recipe,
    train: &Dataset,
    test: &Dataset,
    attacks: &[NamedAttack],
    kinds: &[HeadKind],
) -> Result<Needs> {
    let (batch, attacks) = (recipe.evaluate.batch_size as usize, one_step_each(attacks));
    // A rehearsal does not look into it.
    let encoder = Checkpoint::new(Meta::new(Kind::Pretrain, String::new(), 0, ""));
    device.needs(|dry| {
        // Those of both splits stay at hand.
        let _images = held(dry, train.images.len() + test.images.len())?;
        let run = Pretraining::<T>::new(dry, recipe, train)?;
        run.step()?;
        let saved = saving_bytes(run.network(), run.optimizer());
        held(dry, saved)?;
        drop(run);
        let _checkpoint = held(dry, saved)?;
        for &kind in kinds {
            HeadJob { device: dry, recipe, encoder: &encoder, data: train, kind, seed: 0 }.rehearse::<T>(dry)?;
        }
        let encoder = Encoder::<T>::untrained(dry, recipe)?;
        let head = encoder.new_head(test.classes.len(), batch, 0)?;
        Evaluation::new(dry, encoder.inference(), &head, test, &attacks, batch, 0)?.run(|_| Ok(())).map(drop)
    })
}

/// A stand-in for bytes in the program's own memory, where that is the device's too.
///
/// # Errors
/// Those of the device.
pub fn held(dry: &Device, bytes: usize) -> Result<Option<Tensor<u8>>> {
    dry.is_host().then(|| Tensor::zeros(dry, [bytes])).transpose()
}

/// More epochs take no more memory.
pub(super) fn one_epoch(settings: &LinearEval) -> LinearEval {
    LinearEval { epochs: 1, milestones: Vec::new(), ..settings.clone() }
}

/// More steps take no more memory.
pub fn one_step_each(attacks: &[NamedAttack]) -> Vec<NamedAttack> {
    attacks.iter().map(|attack| NamedAttack { steps: attack.steps.map(|_| 1), ..*attack }).collect()
}

fn one_step(settings: &Evaluate) -> Evaluate {
    Evaluate { steps: 1, ..settings.clone() }
}

/// The largest batch size below `too_large` that needs at most `bytes`, by what each needs. A batch size whose needs cannot be told does not fit.
pub fn largest_batch(too_large: u32, bytes: usize, needs: impl Fn(u32) -> Result<Needs>) -> Option<u32> {
    let has_room = |batch| needs(batch).is_ok_and(|needs| needs.bytes() <= bytes);
    let (mut fits, mut exceeds) = (1, too_large.max(1));
    while exceeds - fits > 1 {
        let middle = fits + (exceeds - fits) / 2;
        *(if has_room(middle) { &mut fits } else { &mut exceeds }) = middle;
    }
    (fits < too_large && has_room(fits)).then_some(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// 10 bytes an image, and batches of one cannot be trained.
    fn needs(batch: u32) -> Result<Needs> {
        let usable = batch > 1;
        let tensors = 10 * batch as usize;
        usable.then(|| Needs { tensors, ..Needs::default() }).ok_or_else(|| Error::Usage("too small".to_owned()))
    }

    #[test]
    fn the_largest_batch_that_fits_is_found() {
        for too_large in [3, 64, 1000] {
            for bytes in (20..10 * too_large as usize).step_by(7) {
                assert_eq!(largest_batch(too_large, bytes, needs), Some((bytes / 10) as u32), "{bytes} bytes, below {too_large}");
            }
            assert_eq!(largest_batch(too_large, 19, needs), None);
        }
        assert_eq!(largest_batch(1, 1000, needs), None, "there is no smaller one");
    }
}
