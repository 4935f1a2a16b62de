//! What an untrained encoder is worth on the built-in textures: the line that anything learnt has to beat.

use rocl::data::{Dataset, Split, textures};
use rocl::nn::{Classifier, Network, Topology};
use rocl::recipe::Recipe;
use rocl::recipe::linear_eval::fit_head;
use rocl::recipe::trained::Encoder;
use rocl::{Device, Tensor};

/// Percent of the images whose class has the highest score.
fn accuracy(head: &Classifier<f32>, features: &Tensor<f32>, data: &Dataset) -> f64 {
    let scores = head.forward(features).unwrap().to_vec().unwrap();
    let right = scores.chunks(data.classes.len()).zip(&data.labels).filter(|(scores, label)| {
        let own = scores[usize::from(**label)];
        scores.iter().all(|&score| score <= own)
    });
    100.0 * right.count() as f64 / data.len() as f64
}

#[test]
fn experiment() {
    let device = Device::host().unwrap();
    let n: usize = std::env::var("N").map_or(2000, |v| v.parse().unwrap());
    let lr: f64 = std::env::var("LR").map_or(0.1, |v| v.parse().unwrap());
    let epochs: u32 = std::env::var("E").map_or(60, |v| v.parse().unwrap());
    let wd: f64 = std::env::var("WD").map_or(5e-4, |v| v.parse().unwrap());
    let train = textures::render(textures::SEED, Split::Train, n);
    let test = textures::render(textures::SEED, Split::Test, 1000);
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.linear_eval.learning_rate = lr;
    recipe.linear_eval.epochs = epochs;
    recipe.linear_eval.weight_decay = wd;
    recipe.linear_eval.milestones = vec![epochs / 2, epochs * 3 / 4];
    let topology = Topology::new(recipe.network.architecture, recipe.network.width as usize);
    for seed in 0..3 {
        let network = Network::<f32>::new(&device, &topology, 8, 8, 1, seed).unwrap();
        let encoder = Encoder::new(&device, &recipe, &network).unwrap();
        let t = std::time::Instant::now();
        let features = [&train, &test].map(|data| encoder.features(data, |_| {}).unwrap());
        let t1 = t.elapsed();
        let rms = (features[0].to_vec().unwrap().iter().map(|v| v * v).sum::<f32>() / features[0].len() as f32).sqrt();
        let head = encoder.new_head(train.classes.len(), train.len(), seed).unwrap();
        let t = std::time::Instant::now();
        let fit = fit_head(&device, &recipe.linear_eval, &features[0], &train.labels, &head, seed, |_, _| Ok(())).unwrap();
        println!("seed {seed}: rms {rms} {fit:?} test {} ({t1:?}, {:?})", accuracy(&head, &features[1], &test), t.elapsed());
    }
}
