//! The demonstration: SimCLR and RoCL side by side, from training to accuracy under attack.

use super::evaluate::{Accuracy, evaluate};
use super::linear_eval::fit_head;
use super::pretrain::Pretraining;
use super::settings::{Method, Recipe};
use super::trained::Encoder;
use super::training::{RunOptions, Training};
use crate::data::Dataset;
use crate::element::Element;
use crate::run::interrupt;
use crate::{Device, Result};
use std::path::Path;
use std::time::Instant;

/// The methods, in the order they are trained.
pub const METHODS: [Method; 2] = [Method::Simclr, Method::Rocl];

/// The given recipe with another method.
pub fn with_method(recipe: &Recipe, method: Method) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.train.method = method;
    recipe
}

/// Seconds that training both encoders will take, from one timed step of each. Evaluation comes on top, see [`EVALUATION_SHARE`].
pub fn estimate<T: Element>(device: &Device, recipe: &Recipe, data: &Dataset) -> Result<f64> {
    METHODS.iter().try_fold(0.0, |sum, &method| {
        let run = Pretraining::<T>::new(device, &with_method(recipe, method), data)?;
        interrupt::check()?;
        run.begin_epoch(0, 0)?;
        // The first step touches fresh memory and is not representative.
        run.step()?;
        device.synchronize()?;
        let start = Instant::now();
        run.step()?;
        device.synchronize()?;
        Ok(sum + start.elapsed().as_secs_f64() * run.steps() as f64 * f64::from(recipe.train.epochs))
    })
}

/// What fitting heads and attacking costs on top of training, at the demonstration's own scale.
pub const EVALUATION_SHARE: f64 = 0.15;

/// Trains an encoder, fits a head on it, and measures both.
pub fn measure<T: Element>(
    device: &Device,
    recipe: &Recipe,
    train: &Dataset,
    test: &Dataset,
    out: &Path,
    quiet: bool,
) -> Result<Accuracy> {
    let label = recipe.train.method.name().to_owned();
    let mut training = Training::<T>::new(device, recipe, train)?;
    training.run(&RunOptions { out: out.join(&label), label, quiet })?;
    let encoder = Encoder::new(device, recipe, training.pretraining().network())?;
    drop(training);
    judge(device, recipe, &encoder, train, test)
}

/// Fits a head on an encoder, and measures both.
pub fn judge<T: Element>(
    device: &Device,
    recipe: &Recipe,
    encoder: &Encoder<T>,
    train: &Dataset,
    test: &Dataset,
) -> Result<Accuracy> {
    let features = encoder.features(train, |_| interrupt::check())?;
    let batch = recipe.linear_eval.batch_size.max(recipe.evaluate.batch_size) as usize;
    let (seed, linear) = (recipe.train.seed, &recipe.linear_eval);
    let head = encoder.new_head(train.classes.len(), batch, seed)?;
    fit_head(device, linear, &features, &train.labels, &head, seed, |_, _| interrupt::check())?;
    evaluate(device, &recipe.evaluate, encoder.inference(), &head, test, seed, |_| interrupt::check())
}
