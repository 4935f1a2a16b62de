//! This engine's side: small checkpoints, and what it makes of given ones.

use super::{doubles, load};
use rocl::data::{Dataset, Split, textures};
use rocl::nn::{Architecture, PROJECTOR, Projector, Topology, Weights};
use rocl::recipe::linear_eval::{self, fit_head};
use rocl::recipe::pretrain::Pretraining;
use rocl::recipe::saved::{load_network, save_head, save_network};
use rocl::recipe::settings::Number;
use rocl::recipe::training::Training;
use rocl::recipe::{Recipe, trained::Encoder};
use rocl::run::checkpoint::{Checkpoint, Kind, Meta};
use rocl::{Device, Tensor};
use std::path::Path;

/// What a network makes of a batch of images.
pub struct Outputs {
    /// The encoder's, `[n, features]`.
    pub features: Vec<f64>,
    /// The projector's, `[n, 128]`, if there is one.
    pub embeddings: Option<Vec<f64>>,
    /// The linear head's, `[n, classes]`.
    pub logits: Vec<f64>,
    /// Of half the sum of the logits' squares, by the images: `[n, 32, 32, 3]`.
    pub gradient: Vec<f64>,
}

/// The first textures for testing.
pub fn test_images(count: usize) -> Dataset {
    textures::render(textures::SEED, Split::Test, count)
}

fn training_images(count: usize) -> Dataset {
    textures::render(textures::SEED, Split::Train, count)
}

/// A recipe for networks of width 4.
pub fn small(architecture: Architecture, epochs: u32) -> Recipe {
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.network.architecture = architecture;
    recipe.network.width = 4;
    recipe.train.batch_size = 32;
    recipe.train.epochs = epochs;
    recipe.attack.steps = 2;
    recipe.linear_eval.batch_size = 32;
    recipe.linear_eval.epochs = 20;
    recipe.linear_eval.milestones = vec![10];
    // A quarter of the usual budget: short training withstands no more.
    recipe.evaluate.epsilon = Number::Decimal(2.0 / 255.0);
    recipe.evaluate.step_size = Number::Decimal(2.0 / 2550.0);
    recipe.evaluate.batch_size = 100;
    recipe
}

/// Pretrains by the recipe on the first `images` textures and saves the network.
pub fn trained(device: &Device, recipe: &Recipe, images: usize, path: &Path) {
    let run = Pretraining::<f32>::new(device, recipe, &training_images(images)).unwrap();
    for epoch in 0..recipe.train.epochs {
        run.begin_epoch(epoch, 0).unwrap();
        for _ in 0..run.steps() {
            run.step().unwrap();
        }
    }
    let meta = Meta::new(Kind::Pretrain, recipe.to_json().unwrap(), 0, "textures");
    let mut checkpoint = Checkpoint::new(meta);
    save_network(&mut checkpoint, run.network(), 0).unwrap();
    checkpoint.save(path).unwrap();
}

/// A classifier after a step by the recipe on the first batch of textures.
pub fn trained_with_labels(device: &Device, recipe: &Recipe, path: &Path) {
    let data = training_images(recipe.train.batch_size as usize);
    let mut training = Training::<f32, _>::supervised(device, recipe, &data, None).unwrap();
    training.advance().unwrap();
    training.save(path).unwrap();
}

/// Reads a checkpoint and writes it again, so that everything in it is this engine's.
pub fn rewritten(device: &Device, from: &Path, to: &Path) {
    let checkpoint = Checkpoint::load(from, Kind::Pretrain).unwrap();
    let recipe = Recipe::from_json(&checkpoint.meta.recipe).unwrap();
    let weights = all_weights(device, &recipe, &checkpoint);
    let mut checkpoint = Checkpoint::new(Meta::new(Kind::Pretrain, recipe.to_json().unwrap(), 0, "textures"));
    save_network(&mut checkpoint, &weights, 0).unwrap();
    checkpoint.save(to).unwrap();
}

/// Those of encoder and projector.
fn all_weights(device: &Device, recipe: &Recipe, checkpoint: &Checkpoint) -> Weights<f32> {
    let (hidden, projection) = (recipe.projection_hidden() as usize, recipe.network.projection as usize);
    let topology = recipe.topology();
    let projector = Projector::<f32>::specs(PROJECTOR, topology.features, hidden, projection);
    let weights = Weights::new(device, &topology, projector, 0).unwrap();
    load_network(checkpoint, &weights).unwrap();
    weights
}

/// Fits a head on the first `images` textures and saves it.
pub fn trained_head(device: &Device, checkpoint: &Path, images: usize, path: &Path) {
    let (encoder, recipe) = load(device, checkpoint);
    let data = training_images(images);
    let features = features(device, &encoder, &recipe, &data);
    let head = encoder.new_head(data.classes.len(), recipe.linear_eval.batch_size as usize, 0).unwrap();
    fit_head(device, &recipe.linear_eval, &features, &data.labels, &head, 0, |_, _| Ok(())).unwrap();
    let mut checkpoint = Checkpoint::new(Meta::new(Kind::LinearHead, recipe.to_json().unwrap(), 0, "textures"));
    save_head(&mut checkpoint, &head).unwrap();
    checkpoint.save(path).unwrap();
}

fn features(device: &Device, encoder: &Encoder<f32>, recipe: &Recipe, data: &Dataset) -> Tensor<f32> {
    let width = Topology::new(recipe.network.architecture, recipe.network.width as usize).features;
    linear_eval::features(device, encoder.inference(), data, recipe.evaluate.batch_size as usize, width, |_| Ok(())).unwrap()
}

/// Everything that a checkpoint and its head say about `images`.
pub fn outputs(device: &Device, checkpoint: &Path, head: &Path, images: &Dataset) -> Outputs {
    let (encoder, recipe): (Encoder<f32>, Recipe) = load(device, checkpoint);
    let features = features(device, &encoder, &recipe, images);
    let head = Checkpoint::load_head(head).unwrap();
    let classes = head.get("linear.bias").unwrap().shape[0];
    let head = encoder.load_head(&head, classes, images.len()).unwrap();
    let logits = head.forward(&features).unwrap();

    let pixels: Vec<f32> = images.images.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let x = Tensor::from_slice(device, [images.len(), 32, 32, 3], &pixels).unwrap();
    let (d_features, d_x) = (Tensor::zeros(device, features.shape()).unwrap(), Tensor::zeros(device, x.shape()).unwrap());
    encoder.inference().forward(&x).unwrap();
    head.d_logits(images.len()).unwrap().copy_from(&logits).unwrap();
    encoder.inference().backward(&head.backward_input(&d_features).unwrap(), &d_x).unwrap();
    Outputs {
        gradient: doubles(&d_x),
        embeddings: embeddings(device, &Checkpoint::load_encoder(checkpoint).unwrap(), &recipe, &features),
        features: doubles(&features),
        logits: doubles(&logits),
    }
}

fn embeddings(device: &Device, checkpoint: &Checkpoint, recipe: &Recipe, features: &Tensor<f32>) -> Option<Vec<f64>> {
    checkpoint.get("projector/linear_1.weight")?;
    let weights = all_weights(device, recipe, checkpoint);
    let projector = Projector::new(device, weights.parameters(), PROJECTOR, features.rows_len()).unwrap();
    Some(doubles(&projector.forward(features).unwrap()))
}
