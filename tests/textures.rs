//! The built-in textures are worth learning on: pixels by themselves say next to nothing about the class.

use rand::seq::SliceRandom;
use rocl::data::stream::stream;
use rocl::data::{Dataset, IMAGE_BYTES, Split, textures};

const CLASSES: usize = 10;

/// Pixels in ±1, `[len, 3072]`.
fn features(dataset: &Dataset) -> Vec<f32> {
    dataset.images.iter().map(|&value| f32::from(value) / 127.5 - 1.0).collect()
}

/// `weights` is `[3072, 10]`, so that the ten classes are the inner, vectorised loop.
fn logits(weights: &[[f32; CLASSES]], bias: &[f32; CLASSES], image: &[f32]) -> [f32; CLASSES] {
    let mut logits = *bias;
    for (&value, row) in image.iter().zip(weights) {
        for (logit, weight) in logits.iter_mut().zip(row) {
            *logit += value * weight;
        }
    }
    logits
}

fn softmax(logits: [f32; CLASSES]) -> [f32; CLASSES] {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials = logits.map(|logit| (logit - highest).exp());
    let sum: f32 = exponentials.iter().sum();
    exponentials.map(|value| value / sum)
}

fn accuracy(weights: &[[f32; CLASSES]], bias: &[f32; CLASSES], features: &[f32], labels: &[u8]) -> f64 {
    let right = features.chunks(IMAGE_BYTES).zip(labels).filter(|&(image, &label)| {
        let logits = logits(weights, bias, image);
        logits.iter().all(|&logit| logit <= logits[usize::from(label)])
    });
    100.0 * right.count() as f64 / labels.len() as f64
}

#[test]
fn a_linear_classifier_on_pixels_is_near_chance() {
    let train = textures::render(textures::SEED, Split::Train, 4000);
    let test = textures::render(textures::SEED, Split::Test, 1000);
    let (train_features, test_features) = (features(&train), features(&test));

    let (mut weights, mut bias) = (vec![[0_f32; CLASSES]; IMAGE_BYTES], [0_f32; CLASSES]);
    let mut order: Vec<usize> = (0..train.len()).collect();
    let mut rng = stream(0, b"linear\0\0", [0; 4]);
    for epoch in 0..12 {
        // From coarse to fine, as any schedule; the figure hardly depends on it.
        let step_size = 2e-3 / (1.0 + epoch as f32 / 3.0);
        order.shuffle(&mut rng);
        for &index in &order {
            let image = &train_features[index * IMAGE_BYTES..][..IMAGE_BYTES];
            let mut gradient = softmax(logits(&weights, &bias, image));
            gradient[usize::from(train.labels[index])] -= 1.0;
            let update = gradient.map(|value| step_size * value);
            for (row, &value) in weights.iter_mut().zip(image) {
                for (weight, delta) in row.iter_mut().zip(update) {
                    *weight -= delta * value;
                }
            }
            for (offset, delta) in bias.iter_mut().zip(update) {
                *offset -= delta;
            }
        }
    }

    let seen = accuracy(&weights, &bias, &train_features, &train.labels);
    let unseen = accuracy(&weights, &bias, &test_features, &test.labels);
    println!("linear softmax on raw pixels: {seen:.1} % of the training images, {unseen:.1} % of the test images");
    // The classifier has learned what there is to learn by heart...
    assert!(seen > 40.0, "{seen} % of the training images: the classifier was not trained");
    // ...and it carries over hardly better than chance (10 %, of which 1,000 images show a deviation of 1 %).
    assert!((7.0..=22.0).contains(&unseen), "{unseen} % of the test images");
}
