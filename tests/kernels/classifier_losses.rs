//! `kernels/margin.cu` and `kernels/kl_divergence.cu`.

use crate::support::*;
use rand::Rng;
use rocl::element::Real;
use rocl::{Tensor, ops};

const WEIGHT: f64 = 0.7;
/// Rows, classes, valid rows, and the range of logits.
const SHAPES: [(usize, usize, usize, f64); 4] = [(5, 10, 5, 3.0), (7, 100, 4, 3.0), (300, 10, 299, 30.0), (64, 2, 63, 8.0)];

fn margin_matches_the_oracle<R: Real>() {
    for (n, classes, n_valid, range) in SHAPES {
        let logits = stored::<R>(&uniform(n as u64, n * classes, -range, range));
        let exact = widened(&logits);
        let mut rng = rng(5);
        let labels: Vec<i32> = (0..n).map(|_| rng.random_range(0..classes as i32)).collect();
        let bits = same_bits_everywhere(|device| {
            let x = Tensor::from_slice(device, [n, classes], &logits).unwrap();
            let labels = Tensor::from_slice(device, [n], &labels).unwrap();
            let (d_logits, row_loss) =
                (upload(device, [n, classes], &vec![9.0; n * classes]), upload(device, [n], &vec![9.0; n]));
            let loss = Tensor::<R>::zeros(device, [1]).unwrap();
            ops::margin_loss(&x, &labels, n_valid, WEIGHT, Some(&d_logits), &row_loss, &loss).unwrap();
            [d_logits.to_vec().unwrap(), row_loss.to_vec().unwrap(), loss.to_vec().unwrap()].concat()
        });
        let mut expected = vec![0.0; n * classes + n + 1];
        for row in 0..n_valid {
            let (x, label) = (&exact[row * classes..(row + 1) * classes], labels[row] as usize);
            let other = (0..classes).filter(|c| *c != label).max_by(|a, b| x[*a].total_cmp(&x[*b])).unwrap();
            expected[row * classes + other] = WEIGHT / n_valid as f64;
            expected[row * classes + label] = -WEIGHT / n_valid as f64;
            expected[n * classes + row] = x[other] - x[label];
            expected[n * classes + n] += (x[other] - x[label]) * WEIGHT / n_valid as f64;
        }
        // Of a mean of up to 300 numbers up to 60; all else is rounded once.
        assert_close("margin", &widened(&bits), &expected, 20.0 * rounding::<R>(), range);
    }
}

#[test]
fn margin_and_gradient_equal_the_oracle() {
    margin_matches_the_oracle::<f32>();
    margin_matches_the_oracle::<f64>();
}

#[test]
fn a_margin_is_shared_with_the_first_of_equals_and_a_wrong_label_is_not_hidden() {
    for_each_device(|device| {
        let logits = Tensor::from_slice(device, [3, 3], &[1.0f32, 1.0, 1.0, 1.0, 2.0, 2.0, 0.0, 1.0, 2.0]).unwrap();
        let labels = Tensor::from_slice(device, [3], &[0, 2, 3]).unwrap();
        let (d, row_loss, loss) =
            (Tensor::zeros(device, [3, 3]).unwrap(), Tensor::zeros(device, [3]).unwrap(), Tensor::zeros(device, [1]).unwrap());
        ops::margin_loss(&logits, &labels, 3, 3.0, Some(&d), &row_loss, &loss).unwrap();
        assert_eq!(d.to_vec().unwrap(), [-1.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0]);
        let rows = row_loss.to_vec().unwrap();
        assert!(rows[..2] == [0.0, 0.0] && rows[2].is_nan() && loss.to_vec().unwrap()[0].is_nan(), "{rows:?}");
        let one = Tensor::<f32>::zeros(device, [3, 1]).unwrap();
        let message = ops::margin_loss(&one, &labels, 3, 1.0, None, &row_loss, &loss).unwrap_err().to_string();
        assert!(message.contains("1 classes have no margin"), "{message}");
    });
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::MIN, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|x| (x - most).exp()).collect();
    let total: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / total).collect()
}

/// KL(softmax(reference) ‖ softmax(logits)).
fn divergence(logits: &[f64], reference: &[f64]) -> f64 {
    softmax(reference).iter().zip(softmax(logits)).map(|(p, q)| p * (p / q).ln()).sum()
}

/// The derivative by every logit, from differences.
fn derivative(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let moved = |c: usize, by: f64| {
        let mut x = at.to_vec();
        x[c] += by;
        f(&x)
    };
    (0..at.len()).map(|c| (moved(c, H) - moved(c, -H)) / (2.0 * H)).collect()
}

fn divergence_matches_the_oracle<R: Real>() {
    for (n, classes, n_valid, range) in SHAPES {
        let drawn = |seed| stored::<R>(&uniform(seed, n * classes, -range, range));
        let (x, y) = (drawn(n as u64), drawn(n as u64 + 1));
        let answers = answers(|device| {
            let [x, y] = [&x, &y].map(|values| Tensor::from_slice(device, [n, classes], values).unwrap());
            let [d_x, d_y] = [(); 2].map(|()| upload(device, [n, classes], &vec![9.0; n * classes]));
            let (row_loss, loss) = (upload(device, [n], &vec![9.0; n]), Tensor::<R>::zeros(device, [1]).unwrap());
            ops::kl_divergence(&x, &y, n_valid, WEIGHT, Some(&d_x), Some(&d_y), &row_loss, &loss).unwrap();
            [d_x.to_vec().unwrap(), d_y.to_vec().unwrap(), row_loss.to_vec().unwrap(), loss.to_vec().unwrap()].concat()
        });
        let (x, y, size) = (widened(&x), widened(&y), n * classes);
        let mut expected = vec![0.0; 2 * size + n + 1];
        for row in 0..n_valid {
            let range = row * classes..(row + 1) * classes;
            let (x, y) = (&x[range.clone()], &y[range]);
            let by_logits = derivative(x, |x| divergence(x, y));
            let by_reference = derivative(y, |y| divergence(x, y));
            for c in 0..classes {
                expected[row * classes + c] = by_logits[c] * WEIGHT / n_valid as f64;
                expected[size + row * classes + c] = by_reference[c] * WEIGHT / n_valid as f64;
            }
            expected[2 * size + row] = divergence(x, y);
            expected[2 * size + n] += divergence(x, y) * WEIGHT / n_valid as f64;
        }
        // Logarithms up to 2·range are rounded and multiplied by probabilities; differences over 2e-5 are good to 1e-9 of values up to 60.
        let tolerance = 10.0 * rounding::<R>() * (1.0 + range) + 1e-8;
        for found in answers {
            assert_close("divergence", &widened(&found), &expected, tolerance, 1.0);
        }
    }
}

#[test]
fn divergence_and_gradients_equal_the_oracle() {
    divergence_matches_the_oracle::<f32>();
    divergence_matches_the_oracle::<f64>();
}

/// Where both agree nothing diverges, and there is nowhere to go.
#[test]
fn what_is_equal_does_not_diverge() {
    for_each_device(|device| {
        let logits = Tensor::from_slice(device, [2, 3], &[1.0f32, -2.0, 0.5, 80.0, -80.0, 0.0]).unwrap();
        let (d, row_loss, loss) =
            (Tensor::zeros(device, [2, 3]).unwrap(), Tensor::zeros(device, [2]).unwrap(), Tensor::zeros(device, [1]).unwrap());
        ops::kl_divergence(&logits, &logits.clone(), 2, 1.0, Some(&d), None, &row_loss, &loss).unwrap();
        assert!(d.to_vec().unwrap().iter().chain(&row_loss.to_vec().unwrap()).all(|v| *v == 0.0));
        let message = ops::kl_divergence(&logits, &logits.clone(), 0, 1.0, None, None, &row_loss, &loss).unwrap_err().to_string();
        assert!(message.contains("0 valid rows cannot be averaged over"), "{message}");
    });
}
