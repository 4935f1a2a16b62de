//! A pretrained encoder put to use: loaded, folded, with heads fitted on it.

use super::linear_eval::features;
use super::saved;
use super::settings::Recipe;
use crate::data::Dataset;
use crate::element::Element;
use crate::nn::{Classifier, Inference, Topology, Weights};
use crate::run::checkpoint::Checkpoint;
use crate::{Device, Result, Tensor};

/// The linear head, in a run's folder.
pub const HEAD: &str = "head.safetensors";

/// A frozen encoder in inference form.
pub struct Encoder<T: Element> {
    device: Device,
    inference: Inference<T>,
    width: usize,
    batch: usize,
}

impl<T: Element> Encoder<T> {
    /// Folds `network` for batches of up to `evaluate.batch_size` images.
    pub fn new(device: &Device, recipe: &Recipe, network: &impl AsRef<Weights<T>>) -> Result<Self> {
        Self::in_form(device, recipe, network, Inference::folded)
    }

    fn in_form(device: &Device, recipe: &Recipe, network: &impl AsRef<Weights<T>>, form: Form<T>) -> Result<Self> {
        let topology = recipe.topology();
        let batch = recipe.evaluate.batch_size as usize;
        let inference = form(device, &topology, batch)?;
        inference.copy_from(network)?;
        Ok(Self { device: device.clone(), inference, width: topology.features, batch })
    }

    /// Reads a trained encoder, whatever was trained on it.
    ///
    /// # Errors
    /// [`crate::Error::File`] when the checkpoint is of another network than the recipe's.
    pub fn load(device: &Device, recipe: &Recipe, checkpoint: &Checkpoint) -> Result<Self> {
        Self::new(device, recipe, &loaded(device, recipe, checkpoint)?)
    }

    /// As [`Encoder::load`], for features alone: it cannot be attacked, and takes less memory.
    ///
    /// # Errors
    /// Those of [`Encoder::load`].
    pub fn load_for_features(device: &Device, recipe: &Recipe, checkpoint: &Checkpoint) -> Result<Self> {
        Self::in_form(device, recipe, &loaded(device, recipe, checkpoint)?, Inference::forward_only)
    }

    /// An encoder with initial parameters.
    pub fn untrained(device: &Device, recipe: &Recipe) -> Result<Self> {
        Self::new(device, recipe, &untrained(device, recipe)?)
    }

    /// One for features alone.
    pub fn untrained_for_features(device: &Device, recipe: &Recipe) -> Result<Self> {
        Self::in_form(device, recipe, &untrained(device, recipe)?, Inference::forward_only)
    }

    /// The network.
    pub fn inference(&self) -> &Inference<T> {
        &self.inference
    }

    /// The features of all images, `[len, features]`.
    pub fn features(&self, data: &Dataset, progress: impl FnMut(usize) -> Result<()>) -> Result<Tensor<T>> {
        features(&self.device, &self.inference, data, self.batch, self.width, progress)
    }

    /// An untrained head for batches of up to `batch` rows.
    pub fn new_head(&self, classes: usize, batch: usize, seed: u64) -> Result<Classifier<T>> {
        Classifier::new(&self.device, self.width, classes, batch, seed)
    }

    /// A head that was fitted on this encoder.
    pub fn load_head(&self, checkpoint: &Checkpoint, classes: usize, batch: usize) -> Result<Classifier<T>> {
        let head = self.new_head(classes, batch, 0)?;
        saved::load_head(checkpoint, &head)?;
        Ok(head)
    }
}

/// How an encoder is built for batches of a size.
type Form<T> = fn(&Device, &Topology, usize) -> Result<Inference<T>>;

fn loaded<T: Element>(device: &Device, recipe: &Recipe, checkpoint: &Checkpoint) -> Result<Weights<T>> {
    let weights = untrained(device, recipe)?;
    saved::load_network(checkpoint, &weights)?;
    Ok(weights)
}

/// Of an encoder alone.
fn untrained<T: Element>(device: &Device, recipe: &Recipe) -> Result<Weights<T>> {
    Weights::new(device, &recipe.topology(), None, recipe.train.seed)
}
