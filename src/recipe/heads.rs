//! Linear heads fitted on a trained encoder, plainly or on adversarial images, as `rocl linear-eval` does it.

use super::linear_eval::{Fit, fit_head};
use super::robust_linear_eval::fit_robust_head;
use super::settings::{Overrides, Recipe};
use super::trained::{Encoder, save_head};
use super::training::data_name;
use crate::data::Dataset;
use crate::element::Element;
use crate::nn::Classifier;
use crate::run::checkpoint::{Checkpoint, Kind, Meta};
use crate::{Device, Result};
use std::path::Path;

/// The recipe of a robust fit, whose steps have the encoder work on a whole batch of `linear_eval.batch_size` images.
///
/// # Errors
/// [`crate::Error::Usage`] for a batch out of range.
pub fn in_whole_batches(recipe: &Recipe) -> Result<Recipe> {
    let evaluate_batch_size = Some(recipe.linear_eval.batch_size);
    recipe.clone().with(&Overrides { evaluate_batch_size, ..Overrides::default() })
}

/// Fits a head on the encoder of `checkpoint`. `progress` is told images, and what to show; of them there are `data.len()` times [`passes`].
///
/// # Errors
/// [`crate::Error::File`] for the checkpoint of another network, [`crate::Error::Numeric`] when the loss is no longer finite.
pub fn fit<T: Element>(
    device: &Device,
    recipe: &Recipe,
    checkpoint: &Checkpoint,
    data: &Dataset,
    seed: u64,
    robust: bool,
    mut progress: impl FnMut(usize, &str) -> Result<()>,
) -> Result<(Classifier<T>, Fit)> {
    let load = if robust { Encoder::<T>::load } else { Encoder::load_for_features };
    let encoder = load(device, recipe, checkpoint)?;
    let head = encoder.new_head(data.classes.len(), recipe.linear_eval.batch_size as usize, seed)?;
    let fit = if robust {
        fit_robust_head(device, recipe, &encoder, data, &head, seed, |images, loss| progress(images, &format!("loss {loss:.4}")))?
    } else {
        let features = encoder.features(data, |images| progress(images, "features"))?;
        fit_head(device, &recipe.linear_eval, &features, &data.labels, &head, seed, |images, loss| {
            progress(images, &format!("loss {loss:.4}"))
        })?
    };
    Ok((head, fit))
}

/// How often a fit goes over the images.
pub fn passes(recipe: &Recipe, robust: bool) -> u64 {
    u64::from(recipe.linear_eval.epochs) + u64::from(!robust)
}

/// Writes a head that was fitted on `encoder` by `recipe`.
///
/// # Errors
/// [`crate::Error::File`] when it cannot be written.
pub fn save<T: Element>(
    device: &Device,
    head: &Classifier<T>,
    recipe: &Recipe,
    seed: u64,
    data: &Dataset,
    encoder: &Checkpoint,
    path: &Path,
) -> Result<()> {
    let meta = Meta {
        precision: device.precision::<T>().to_owned(),
        ..Meta::new(Kind::LinearHead, recipe.to_json()?, seed, data_name(data))
    };
    save_head(head, meta, encoder, path)
}
