//! What a linear classifier makes of an encoder's features, whatever their scale.

use rocl::data::Dataset;
use rocl::nn::Classifier;
use rocl::recipe::linear_eval::{Fit, fit_head};
use rocl::recipe::settings::LinearEval;
use rocl::recipe::trained::Encoder;
use rocl::{Device, Tensor};

/// A classifier for batches of up to `batch` rows, fitted on standardised features: each less its mean over the images of `data`, divided by its deviation
/// there. It takes the features as they are, since its weights have been made to do both.
///
/// To a linear head with a bias that is only another parametrisation, but without it SGD does not get anywhere on an untrained encoder: with the running
/// statistics at their initial 0 and 1, nothing normalises the activations, and the features are around 10⁻².
pub fn fit(
    device: &Device,
    settings: &LinearEval,
    encoder: &Encoder<f32>,
    data: &Dataset,
    batch: usize,
    seed: u64,
) -> (Classifier<f32>, Fit) {
    let features = encoder.features(data, |_| Ok(())).unwrap();
    let [rows, width] = features.dims_of("features").unwrap();
    let values: Vec<f64> = features.to_vec().unwrap().into_iter().map(f64::from).collect();
    let column = |feature: usize| values.iter().skip(feature).step_by(width);
    let moments: Vec<(f64, f64)> = (0..width)
        .map(|feature| {
            let mean = column(feature).sum::<f64>() / rows as f64;
            (mean, (column(feature).map(|value| (value - mean).powi(2)).sum::<f64>() / rows as f64).sqrt())
        })
        .collect();
    // A feature that is always the same has nothing to say.
    let over = |value: f64, deviation: f64| if deviation > 0.0 { value / deviation } else { 0.0 };
    let standardised =
        values.iter().zip(moments.iter().cycle()).map(|(value, &(mean, deviation))| over(value - mean, deviation) as f32);
    let standardised = Tensor::from_slice(device, features.shape(), &standardised.collect::<Vec<_>>()).unwrap();
    let head = encoder.new_head(data.classes.len(), batch, seed).unwrap();
    let fit = fit_head(device, settings, &standardised, &data.labels, &head, seed, |_, _| Ok(())).unwrap();

    let [weight, bias] = ["linear.weight", "linear.bias"].map(|name| head.parameters().get(name).unwrap().value);
    let (mut weights, mut biases) = (weight.to_vec().unwrap(), bias.to_vec().unwrap());
    for (row, bias) in weights.chunks_exact_mut(width).zip(&mut biases) {
        let mut shift = 0.0;
        for (w, &(mean, deviation)) in row.iter_mut().zip(&moments) {
            let own = over(f64::from(*w), deviation);
            shift += own * mean;
            *w = own as f32;
        }
        *bias = (f64::from(*bias) - shift) as f32;
    }
    weight.write(&weights).unwrap();
    bias.write(&biases).unwrap();
    (head, fit)
}
