//! `kernels/embedding_distance.cu` and `kernels/sup_con.cu`.

use crate::support::*;
use rand::Rng;
use rocl::element::Real;
use rocl::ops::{self, Distance, NtXent, NtXentWorkspace};
use rocl::{Device, Tensor};

const WEIGHT: f64 = 0.7;

/// Some sixty places of a tensor, by a stride that divides no row.
fn places(len: usize) -> Vec<usize> {
    (0..len).step_by(len / 60 + 1).collect()
}

/// The derivative by the element at each of `places`, from differences.
fn derivative(at: &[f64], places: &[usize], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let moved = |i: usize, by: f64| {
        let mut x = at.to_vec();
        x[i] += by;
        f(&x)
    };
    places.iter().map(|&i| (moved(i, H) - moved(i, -H)) / (2.0 * H)).collect()
}

/// The elements at `places`.
fn taken(values: &[f64], places: &[usize]) -> Vec<f64> {
    places.iter().map(|&i| values[i]).collect()
}

fn distance(kind: Distance, a: &[f64], b: &[f64]) -> f64 {
    let pairs = || a.iter().zip(b);
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    match kind {
        Distance::Mse => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / a.len() as f64,
        Distance::L1 => pairs().map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64,
        Distance::Cosine => 1.0 - pairs().map(|(a, b)| a * b).sum::<f64>() / (norm(a) * norm(b)),
    }
}

/// `WEIGHT` times the mean over the images of `z`, `[2 · batch, d]`.
fn mean_distance(kind: Distance, z: &[f64], d: usize) -> f64 {
    let (a, b) = z.split_at(z.len() / 2);
    let batch = a.len() / d;
    WEIGHT * a.chunks(d).zip(b.chunks(d)).map(|(a, b)| distance(kind, a, b)).sum::<f64>() / batch as f64
}

fn distances_match_the_oracle<R: Real>() {
    for kind in [Distance::Mse, Distance::L1, Distance::Cosine] {
        for (batch, d, gradient_rows) in [(1, 2, 2), (5, 128, 5), (9, 33, 18), (4, 300, 6), (2, 2048, 4)] {
            let z = stored::<R>(&uniform((batch + d) as u64, 2 * batch * d, -2.0, 2.0));
            let exact = widened(&z);
            let bits = same_bits_everywhere(|device| {
                let z = Tensor::from_slice(device, [2 * batch, d], &z).unwrap();
                let d_z = upload::<R, 2>(device, [2 * batch, d], &vec![-7.0; 2 * batch * d]);
                let (row_loss, loss) = (Tensor::zeros(device, [batch]).unwrap(), Tensor::zeros(device, [1]).unwrap());
                ops::embedding_distance(kind, &z, WEIGHT, &d_z, gradient_rows, &row_loss, &loss).unwrap();
                [d_z.to_vec().unwrap(), loss.to_vec().unwrap()].concat()
            });
            let mut found = widened(&bits);
            let what = format!("{kind:?}, batch {batch}, d {d}");
            let loss = found.pop().unwrap();
            // Sums of up to 2048 terms in strides of 32 lanes: some tens of roundings each, of either sign.
            let tolerance = 30.0 * rounding::<R>();
            assert_close(&what, &[loss], &[mean_distance(kind, &exact, d)], tolerance, 1.0);
            let (inside, outside) = found.split_at(gradient_rows * d);
            let places = places(inside.len());
            let expected = derivative(&exact, &places, |z| mean_distance(kind, z, d));
            // Of the slopes, the largest of which are about WEIGHT/batch/d · 4; besides, the differences' own error: h² and 10⁻¹⁶/h.
            let scale = expected.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
            assert_close(&what, &taken(inside, &places), &expected, tolerance + 1e-8, scale.max(1e-2));
            assert!(outside.iter().all(|&x| x == -7.0), "{what}: a row that needs no gradient was written");
        }
    }
}

#[test]
fn distances_and_their_gradients_equal_the_oracle() {
    distances_match_the_oracle::<f32>();
    distances_match_the_oracle::<f64>();
}

#[test]
fn equal_and_zero_embeddings_have_finite_distances() {
    for_each_device(|device| {
        let z = Tensor::from_slice(device, [4, 2], &[0.0f32, 0.0, 3.0, 4.0, 0.0, 0.0, 3.0, 4.0]).unwrap();
        for kind in [Distance::Mse, Distance::L1, Distance::Cosine] {
            let d_z = Tensor::zeros(device, [4, 2]).unwrap();
            let (row_loss, loss) = (Tensor::zeros(device, [2]).unwrap(), Tensor::zeros(device, [1]).unwrap());
            ops::embedding_distance(kind, &z, 1.0, &d_z, 4, &row_loss, &loss).unwrap();
            let found = row_loss.to_vec().unwrap();
            // 1 − 9/25 − 16/25 in f32.
            assert!(found[1].abs() <= 2e-7 && found.iter().all(|x| x.is_finite()), "{kind:?}: {found:?}");
            assert!(d_z.to_vec().unwrap().iter().all(|g| g.abs() <= 1e-6), "{kind:?}: at the nearest point nothing pulls");
        }
    });
}

/// (views, batch, d, classes): ragged against 8 queries, 16, 32 and 64 keys, 8 and 128 dimensions and 16-byte vectors; also one class, and as many as images.
const PROBLEMS: [(usize, usize, usize, usize); 10] = [
    (2, 4, 128, 2),
    (2, 9, 7, 3),
    (3, 22, 20, 4),
    (2, 40, 130, 10),
    (2, 6, 16, 1),
    (2, 12, 33, 12),
    (2, 5, 512, 2),
    (2, 35, 300, 5),
    (3, 3, 2048, 2),
    (2, 4, 517, 4),
];

fn labels(seed: u64, batch: usize, classes: usize) -> Vec<i32> {
    let mut rng = rng(seed);
    if classes == batch {
        return (0..batch as i32).collect();
    }
    (0..batch).map(|_| rng.random_range(0..classes as i32)).collect()
}

/// The loss of queries against keys, which differ only for the detached gradient's differences.
fn supervised_contrast(queries: &[f64], keys: &[f64], labels: &[i32], d: usize, temperature: f64) -> f64 {
    let hats = |z: &[f64]| -> Vec<Vec<f64>> {
        let hat = |row: &[f64]| {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.iter().map(|x| x / (norm + 1e-8)).collect()
        };
        z.chunks(d).map(hat).collect()
    };
    let (queries, keys) = (hats(queries), hats(keys));
    let (n, label) = (keys.len(), |row: usize| labels[row % labels.len()]);
    let row_loss = |i: usize| {
        let s = |j: usize| queries[i].iter().zip(&keys[j]).map(|(a, b)| a * b).sum::<f64>() / temperature;
        let others = || (0..n).filter(|&j| j != i);
        let positives: Vec<usize> = others().filter(|&j| label(j) == label(i)).collect();
        let total: f64 = others().map(|j| s(j).exp()).sum();
        positives.iter().map(|&p| total.ln() - s(p)).sum::<f64>() / positives.len() as f64
    };
    (0..n).map(row_loss).sum::<f64>() / n as f64
}

fn run<R: Real>(device: &Device, s: &NtXent, z: &[R], labels: &[i32], d: usize, gradient_rows: usize) -> Vec<R> {
    let rows = z.len() / d;
    let z = Tensor::from_slice(device, [rows, d], z).unwrap();
    let labels = Tensor::from_slice(device, [labels.len()], labels).unwrap();
    let d_z = upload::<R, 2>(device, [rows, d], &vec![-7.0; rows * d]);
    let (workspace, loss) = (NtXentWorkspace::new(device, rows).unwrap(), Tensor::zeros(device, [1]).unwrap());
    ops::sup_con(s, &z, &labels, WEIGHT, &d_z, gradient_rows, &workspace, &loss).unwrap();
    [d_z.to_vec().unwrap(), loss.to_vec().unwrap()].concat()
}

fn sup_con_matches_the_oracle<R: Real>() {
    for (number, (views, batch, d, classes)) in PROBLEMS.into_iter().enumerate() {
        let labels = labels(number as u64, batch, classes);
        let z = stored::<R>(&uniform(number as u64, views * batch * d, -1.0, 1.0));
        let exact = widened(&z);
        for (detach_keys, temperature) in [(true, 0.5), (false, 0.5), (false, 0.1)] {
            let settings = NtXent { views, groups: 1, temperature, detach_keys };
            let gradient_rows = if number % 2 == 0 { views * batch } else { batch };
            let answers = answers(|device| run(device, &settings, &z, &labels, d, gradient_rows));
            let places = places(gradient_rows * d);
            let expected = derivative(&exact, &places, |moved| {
                let keys = if detach_keys { &exact[..] } else { moved };
                WEIGHT * supervised_contrast(moved, keys, &labels, d, temperature)
            });
            let what = format!("{settings:?}, batch {batch}, d {d}, {classes} classes");
            // As for NT-Xent: exp(s) magnifies the rounding of s up to tenfold, and positives and the rest nearly cancel; besides, the error of differences.
            let tolerance = 200.0 * rounding::<R>();
            let scale = expected.iter().fold(0.1 / (views * batch) as f64, |most, g| g.abs().max(most));
            for mut found in answers.iter().map(|bits| widened(bits)) {
                let loss = found.pop().unwrap();
                let value = WEIGHT * supervised_contrast(&exact, &exact, &labels, d, temperature);
                assert_close(&what, &[loss], &[value], tolerance, 1e-2);
                let (inside, outside) = found.split_at(gradient_rows * d);
                assert_close(&what, &taken(inside, &places), &expected, tolerance + 1e-6, scale);
                assert!(outside.iter().all(|&x| x == -7.0), "{what}: a row that needs no gradient was written");
            }
        }
    }
}

#[test]
fn sup_con_and_its_gradient_equal_the_oracle() {
    sup_con_matches_the_oracle::<f32>();
    sup_con_matches_the_oracle::<f64>();
}

/// Where every image has a class of its own and two views, the only positive is the other view: NT-Xent.
#[test]
fn with_a_class_for_each_image_it_is_nt_xent() {
    for_each_device(|device| {
        let (batch, d) = (10, 24);
        let values = uniform(3, 2 * batch * d, -1.0, 1.0);
        let labels: Vec<i32> = (0..batch as i32).collect();
        for detach_keys in [true, false] {
            let settings = NtXent { views: 2, groups: 1, temperature: 0.5, detach_keys };
            let found = run::<f32>(device, &settings, &stored::<f32>(&values), &labels, d, 2 * batch);
            let z = upload::<f32, 2>(device, [2 * batch, d], &values);
            let d_z = Tensor::zeros(device, [2 * batch, d]).unwrap();
            let (workspace, loss) = (NtXentWorkspace::new(device, 2 * batch).unwrap(), Tensor::zeros(device, [1]).unwrap());
            ops::nt_xent(&settings, &z, WEIGHT, Some(&d_z), 2 * batch, &workspace, &loss).unwrap();
            let expected = [d_z.to_vec().unwrap(), loss.to_vec().unwrap()].concat();
            // NT-Xent adds 10⁻⁸ here and there, and both sum in their own order.
            assert_close("SupCon", &widened(&found), &widened(&expected), 1e-5, 0.1);
        }
    });
}
