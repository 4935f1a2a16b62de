//! `kernels/cross_entropy.cu`.

use crate::support::*;
use rand::Rng;
use rocl::element::Real;
use rocl::{Tensor, ops};

const WEIGHT: f64 = 0.7;

/// Loss of one row, and its gradient by the row's logits.
fn oracle(logits: &[f64], label: usize) -> (f64, Vec<f64>) {
    let most = logits.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = logits.iter().map(|x| (x - most).exp()).sum();
    let gradient = logits.iter().enumerate().map(|(c, x)| (x - most).exp() / sum - f64::from(c == label)).collect();
    (sum.ln() + most - logits[label], gradient)
}

fn matches_the_oracle<R: Real>() {
    for (n, classes, n_valid, range) in
        [(1, 1, 1, 1.0), (5, 10, 5, 3.0), (7, 100, 4, 3.0), (300, 10, 300, 30.0), (64, 3, 63, 300.0)]
    {
        let logits = stored::<R>(&uniform(n as u64, n * classes, -range, range));
        let exact = widened(&logits);
        let mut rng = rng(5);
        let labels: Vec<usize> = (0..n).map(|_| rng.random_range(0..classes)).collect();
        let indices: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
        let answers = answers(|device| {
            let (x, labels) =
                (Tensor::from_slice(device, [n, classes], &logits).unwrap(), Tensor::from_slice(device, [n], &indices).unwrap());
            let (d_logits, row_loss) =
                (upload(device, [n, classes], &vec![9.0; n * classes]), upload(device, [n], &vec![9.0; n]));
            let (correct, loss) = (upload(device, [n], &vec![9.0; n]), Tensor::<R>::zeros(device, [1]).unwrap());
            ops::cross_entropy(&x, &labels, n_valid, WEIGHT, Some(&d_logits), &row_loss, Some(&correct), &loss).unwrap();
            [d_logits.to_vec().unwrap(), row_loss.to_vec().unwrap(), correct.to_vec().unwrap(), loss.to_vec().unwrap()].concat()
        });
        let mut expected = vec![0.0; n * classes + 2 * n + 1];
        for row in 0..n_valid {
            let x = &exact[row * classes..(row + 1) * classes];
            let (loss, gradient) = oracle(x, labels[row]);
            for c in 0..classes {
                expected[row * classes + c] = gradient[c] * WEIGHT / n_valid as f64;
            }
            expected[n * classes + row] = loss;
            expected[n * classes + n + row] = f64::from(x.iter().all(|&other| other <= x[labels[row]]));
            expected[n * classes + 2 * n] += loss * WEIGHT / n_valid as f64;
        }
        // exp magnifies the rounding of a difference of up to 2·range; differences that large underflow, which bounds the factor by 90.
        for found in answers {
            assert_close("cross entropy", &widened(&found), &expected, 100.0 * rounding::<R>(), 1.0);
        }
    }
}

#[test]
fn loss_gradient_and_hits_equal_the_oracle() {
    matches_the_oracle::<f32>();
    matches_the_oracle::<f64>();
}

#[test]
fn ties_go_to_the_lower_class_and_a_wrong_label_is_not_hidden() {
    for_each_device(|device| {
        let logits = Tensor::from_slice(device, [3, 3], &[1.0f32, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]).unwrap();
        let labels = Tensor::from_slice(device, [3], &[0, 1, 3]).unwrap();
        let (row_loss, loss) = (Tensor::zeros(device, [3]).unwrap(), Tensor::zeros(device, [1]).unwrap());
        let correct = Tensor::zeros(device, [3]).unwrap();
        ops::cross_entropy(&logits, &labels, 2, 1.0, None, &row_loss, Some(&correct), &loss).unwrap();
        assert_eq!(correct.to_vec().unwrap(), [1.0, 0.0, 0.0]);
        assert!(loss.to_vec().unwrap()[0].is_finite());
        ops::cross_entropy(&logits, &labels, 3, 1.0, None, &row_loss, None, &loss).unwrap();
        assert!(loss.to_vec().unwrap()[0].is_nan());
        let message = ops::cross_entropy(&logits, &labels, 0, 1.0, None, &row_loss, None, &loss).unwrap_err().to_string();
        assert!(message.contains("0 valid rows cannot be averaged over"), "{message}");
    });
}
