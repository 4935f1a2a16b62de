//! What an untrained encoder is worth on the built-in textures: the line that anything learnt has to beat.

#[path = "common/probe.rs"]
mod probe;

use rocl::data::{Dataset, Split, textures};
use rocl::nn::{Classifier, Network, Topology};
use rocl::recipe::Recipe;
use rocl::recipe::trained::Encoder;
use rocl::{Device, Tensor};

/// Percent of the test images. Measured over seeds 0 to 5: 40.4, 37.8, 42.8, 36.9, 38.5, 35.7; with 200 epochs instead of 100, or at five times the
/// learning rate, the same within 0.5, so the heads have converged. A thousand images add a deviation of 1.5.
const BAND: std::ops::RangeInclusive<f64> = 30.0..=48.0;
/// The upper edge of the band that `textures.rs` allows a linear classifier on raw pixels.
const RAW_PIXELS: f64 = 22.0;

/// Percent of the images whose own class has the highest score.
fn accuracy(head: &Classifier<f32>, features: &Tensor<f32>, data: &Dataset) -> f64 {
    let scores = head.forward(features).unwrap().to_vec().unwrap();
    let right = scores.chunks(data.classes.len()).zip(&data.labels).filter(|(scores, label)| {
        let own = scores[usize::from(**label)];
        scores.iter().all(|&score| score <= own)
    });
    100.0 * right.count() as f64 / data.len() as f64
}

#[test]
fn an_untrained_encoder_says_something_about_the_class() {
    let device = Device::host().unwrap();
    let train = textures::render(textures::SEED, Split::Train, 4000);
    let test = textures::render(textures::SEED, Split::Test, 1000);
    let mut recipe = Recipe::load("demo@1").unwrap();
    assert_eq!(recipe.network.width, 8);
    recipe.linear_eval.epochs = 100;
    recipe.linear_eval.milestones = vec![50, 75];
    recipe.linear_eval.weight_decay = 0.0;
    let topology = Topology::new(recipe.network.architecture, recipe.network.width as usize);
    for seed in 0..3 {
        let network = Network::<f32>::new(&device, &topology, 8, 8, 1, seed).unwrap();
        let encoder = Encoder::new(&device, &recipe, &network).unwrap();
        let (head, fit) = probe::fit(&device, &recipe.linear_eval, &encoder, &train, test.len(), seed);
        let unseen = accuracy(&head, &encoder.features(&test, |_| Ok(())).unwrap(), &test);
        println!(
            "untrained encoder, seed {seed}: {:.1} % of the training images, {unseen:.1} % of the test images",
            fit.train_accuracy
        );
        assert!(BAND.contains(&unseen) && unseen > RAW_PIXELS, "seed {seed}: {unseen} % of the test images");
    }
}
