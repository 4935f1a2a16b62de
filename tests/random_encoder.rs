//! What an untrained encoder is worth on the built-in textures: the line that anything learnt has to beat.

use rocl::data::{Dataset, Split, textures};
use rocl::nn::{Classifier, Network, Topology};
use rocl::recipe::Recipe;
use rocl::recipe::linear_eval::fit_head;
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

/// Every feature less its mean over the first tensor's rows, divided by its deviation there.
///
/// To a linear head with a bias that is only another parametrisation, but without it SGD does not get anywhere: with the running
/// statistics at their initial 0 and 1, nothing normalises the activations, and the features of an untrained network are around 10⁻².
fn standardised(device: &Device, features: [Tensor<f32>; 2]) -> [Tensor<f32>; 2] {
    let [rows, width] = features[0].dims_of("features").unwrap();
    let train = features[0].to_vec().unwrap();
    let mean = |feature: usize, of: &dyn Fn(f64) -> f64| {
        train.iter().skip(feature).step_by(width).map(|&value| of(f64::from(value))).sum::<f64>() / rows as f64
    };
    let moments: Vec<(f64, f64)> = (0..width)
        .map(|feature| {
            let centre = mean(feature, &|value| value);
            (centre, mean(feature, &|value| (value - centre).powi(2)).sqrt())
        })
        .collect();
    // A feature that is always zero has nothing to say.
    let scaled = |value: f32, (centre, deviation): (f64, f64)| {
        if deviation > 0.0 { ((f64::from(value) - centre) / deviation) as f32 } else { 0.0 }
    };
    features.map(|tensor| {
        let values = tensor.to_vec().unwrap();
        let values: Vec<f32> =
            values.iter().zip(moments.iter().cycle()).map(|(&value, &moments)| scaled(value, moments)).collect();
        Tensor::from_slice(device, tensor.shape(), &values).unwrap()
    })
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
        let features = standardised(&device, [&train, &test].map(|data| encoder.features(data, |_| Ok(())).unwrap()));
        let head = encoder.new_head(train.classes.len(), test.len(), seed).unwrap();
        let fit = fit_head(&device, &recipe.linear_eval, &features[0], &train.labels, &head, seed, |_, _| Ok(())).unwrap();
        let unseen = accuracy(&head, &features[1], &test);
        println!(
            "untrained encoder, seed {seed}: {:.1} % of the training images, {unseen:.1} % of the test images",
            fit.train_accuracy
        );
        assert!(BAND.contains(&unseen) && unseen > RAW_PIXELS, "seed {seed}: {unseen} % of the test images");
    }
}
