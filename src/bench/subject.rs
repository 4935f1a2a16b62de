//! The run that is measured: a recipe's, on images of noise.

use super::unfused_pgd::UnfusedPgd;
use crate::data::Dataset;
use crate::device::noise;
use crate::device::record::{Call, plan, record};
use crate::element::{Element, Real};
use crate::recipe::Recipe;
use crate::recipe::pretrain::{Ingredients, Losses, Pretraining};
use crate::recipe::saved::save_network;
use crate::run::checkpoint::{Checkpoint, Kind, Meta};
use crate::{Device, Result};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

/// A batch of noise images: what a step costs does not depend on what they show, but denormals and constant images would be cheaper or dearer than any
/// photograph.
pub fn noise(images: usize, seed: u64) -> Dataset {
    let mut pixels = vec![0; images * 32 * 32 * 3];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut pixels);
    Dataset { name: "noise".to_owned(), images: pixels, labels: vec![0; images], classes: vec!["noise".to_owned()] }
}

/// The recipe's run over exactly one batch, so that a step reads each of its images once and an epoch is a step.
///
/// # Errors
/// Those of [`Pretraining::new`].
pub fn pretraining<T: Element>(device: &Device, recipe: &Recipe) -> Result<Pretraining<T>> {
    let run = Pretraining::new(device, recipe, &noise(recipe.train.batch_size as usize, recipe.train.seed))?;
    run.begin_epoch(0, 0)?;
    Ok(run)
}

/// The same, with the attack's step as a sequence of elementary operations.
///
/// # Errors
/// Those of [`Pretraining::new`].
pub fn pretraining_with_unfused_pgd<T: Element>(device: &Device, recipe: &Recipe) -> Result<Pretraining<T>> {
    let images = noise(recipe.train.batch_size as usize, recipe.train.seed);
    let run = Pretraining::with(device, recipe, &images, |clock| {
        let attack = Box::new(UnfusedPgd::new(device, recipe, clock)?);
        Ok(Ingredients { attack, ..Ingredients::new(device, recipe, clock)? })
    })?;
    run.begin_epoch(0, 0)?;
    Ok(run)
}

/// Every call of one step, in order.
///
/// # Errors
/// Those of the step.
pub fn recorded<T: Element>(run: &Pretraining<T>) -> Result<Vec<Call>> {
    run.begin_epoch(0, 0)?;
    record(|| run.step())
}

/// Every call of one step, in order, of which none has been made; and the run that they belong to. Weights, images and the epoch's plan are a run's, copied
/// to the device; what the step would compute is noise. So one of the calls can be made, and nothing else was launched before.
///
/// # Errors
/// Those of [`Pretraining::new`] and of the step.
pub fn planned<T: Element>(device: &Device, recipe: &Recipe) -> Result<(Pretraining<T>, Vec<Call>)> {
    let run = noise::filled(|| pretraining(device, recipe))?;
    let calls = plan(|| run.step())?;
    Ok((run, calls))
}

/// Writes what a peer needs to repeat the first step: a checkpoint of the run as it is, with the views `step/x1` and `step/x2` (`[batch, 32, 32, 3]`) and
/// `step/losses` (`[3]`: main, regulariser, attack) besides. Carries the step out.
///
/// # Errors
/// [`crate::Error::File`] when the file cannot be written; those of the step.
pub fn dump<T: Element>(run: &Pretraining<T>, path: &Path) -> Result<()> {
    let recipe = run.recipe();
    let mut checkpoint = Checkpoint::new(Meta::new(Kind::Pretrain, recipe.to_json()?, recipe.train.seed, "noise"));
    save_network(&mut checkpoint, run.network(), 0)?;
    run.begin_epoch(0, 0)?;
    run.step()?;
    let batch = recipe.train.batch_size as usize;
    for (view, name) in ["step/x1", "step/x2"].into_iter().enumerate() {
        let images = run.images().rows(view * batch..(view + 1) * batch)?;
        let pixels: Vec<f32> = images.to_vec()?.iter().map(|x| x.to_f64() as f32).collect();
        checkpoint.put_f32(name, images.dims(), &pixels)?;
    }
    let Losses { main, regularizer, attack } = run.losses(1)?;
    checkpoint.put_f32("step/losses", &[3], &[main, regularizer, attack].map(|loss| loss as f32))?;
    checkpoint.save(path)
}
