//! `examples/kernels/alignment_uniformity.cu` by `examples/own_loss/loss.rs`.

use crate::loss::AlignmentUniformity;
use crate::support::*;
use rocl::element::Real;
use rocl::loss::EmbeddingLoss;
use rocl::{Device, Tensor};

/// (views, batch, d): a pair, several views; fewer and more images than a block has threads, and numbers than it has; a last tile that is ragged.
const PROBLEMS: [(usize, usize, usize); 5] = [(2, 2, 4), (3, 5, 8), (2, 130, 132), (4, 33, 12), (2, 12, 256)];
const WEIGHT: f64 = 0.7;
/// What gradient rows that were not asked for hold.
const UNTOUCHED: f64 = -7.0;

/// The definition, with t = 2 and equal weights.
fn oracle((views, batch, d): (usize, usize, usize), z: &[f64]) -> f64 {
    let row = |view: usize, image: usize| {
        let z = &z[(view * batch + image) * d..][..d];
        let norm = z.iter().map(|x| x * x).sum::<f64>().sqrt();
        z.iter().map(|x| x / norm).collect::<Vec<f64>>()
    };
    let distance = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let pairs = |n: usize| (0..n).flat_map(move |a| (0..n).filter(move |&b| b != a).map(move |b| (a, b)));
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let of_image = |i| mean(pairs(views).map(|(v, w)| distance(row(v, i), row(w, i))).collect());
    let of_view = |v| mean(pairs(batch).map(|(i, j)| (-2.0 * distance(row(v, i), row(v, j))).exp()).collect()).ln();
    mean((0..batch).map(of_image).collect()) + mean((0..views).map(of_view).collect())
}

/// Its difference quotient of fourth order by one number of z. A step of 1e-3 leaves its fourth power times the fifth derivative, and 1e-16 of rounding
/// divided by it: both below 1e-11.
fn slope(problem: (usize, usize, usize), z: &[f64], at: usize) -> f64 {
    const STEP: f64 = 1e-3;
    let moved = |by: f64| {
        let mut z = z.to_vec();
        z[at] += by;
        oracle(problem, &z)
    };
    (8.0 * (moved(STEP) - moved(-STEP)) - (moved(2.0 * STEP) - moved(-2.0 * STEP))) / (12.0 * STEP)
}

/// Embeddings of norms around one, whose views are alike.
fn embeddings((views, batch, d): (usize, usize, usize)) -> Vec<f64> {
    let length = 1.0 / (d as f64 / 3.0).sqrt();
    let (image, noise) = (uniform(1, batch * d, -1.0, 1.0), uniform(2, views * batch * d, -0.5, 0.5));
    noise.iter().enumerate().map(|(i, noise)| length * (image[i % (batch * d)] + noise)).collect()
}

/// The loss, and behind it the gradient, of which the first rows are asked for.
fn run<R: Real>(device: &Device, (views, batch, d): (usize, usize, usize), z: &[f64], gradient_rows: usize) -> Vec<R> {
    let rows = views * batch;
    let z = upload::<R, 2>(device, [rows, d], z);
    let d_z = upload::<R, 2>(device, [rows, d], &vec![UNTOUCHED; rows * d]);
    let loss = Tensor::zeros(device, [1]).unwrap();
    // Room for more than there are.
    let function = AlignmentUniformity::new(device, rows + 3, d).unwrap();
    function.evaluate(&z, views, WEIGHT, &d_z, gradient_rows, &loss).unwrap();
    [loss.to_vec().unwrap(), d_z.to_vec().unwrap()].concat()
}

/// `tolerance` is relative to the loss, and to the largest number of the gradient.
fn matches_the_oracle<R: Real>(tolerance: f64, of_gradient: f64) {
    for problem in PROBLEMS {
        let (views, batch, d) = problem;
        let z = widened(&stored::<R>(&embeddings(problem)));
        let expected = WEIGHT * oracle(problem, &z);
        // As in an attack, the first view's.
        for answer in answers(|device| run::<R>(device, problem, &z, batch)) {
            let answer = widened(&answer);
            let (loss, gradient) = answer.split_at(1);
            assert_close("loss", loss, &[expected], tolerance, 1.0);
            let (asked, others) = gradient.split_at(batch * d);
            assert!(others.iter().all(|x| *x == UNTOUCHED), "{problem:?}: a row that was not asked for is written");
            let scale = asked.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            assert!(scale > 0.0, "{problem:?}");
            // Every number of a small problem, some of a large one.
            for at in (0..batch * d).step_by((batch * d / 50).max(1)) {
                assert_close("gradient", &asked[at..=at], &[WEIGHT * slope(problem, &z, at)], of_gradient, scale);
            }
        }
        // All rows: those of the other views are as the definition has them too.
        let device = Device::host().unwrap();
        let all = widened(&run::<R>(&device, problem, &z, views * batch));
        let at = (views * batch - 1) * d + 1;
        let scale = all[1..].iter().fold(0.0f64, |most, x| most.max(x.abs()));
        assert_close("last row", &all[1 + at..][..1], &[WEIGHT * slope(problem, &z, at)], of_gradient, scale);
    }
}

#[test]
fn alignment_and_uniformity_equal_the_oracle() {
    // A distance of rows with 256 numbers has some 256 roundings that cancel in part; in f64 the difference quotient is what is coarse.
    matches_the_oracle::<f64>(1e-13, 1e-8);
    matches_the_oracle::<f32>(2e-6, 1e-5);
}

#[test]
fn rows_of_zeros_have_finite_gradients() {
    let device = Device::host().unwrap();
    let mut z = embeddings((2, 4, 8));
    z[..8].fill(0.0);
    let answer = run::<f32>(&device, (2, 4, 8), &z, 8);
    assert!(answer.iter().all(|x| x.is_finite()), "{answer:?}");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let device = Device::host().unwrap();
    let refused = AlignmentUniformity::<f32>::new(&device, 8, 6).err().unwrap().to_string();
    assert!(refused.contains("use a multiple of 4"), "{refused}");
    let function = AlignmentUniformity::<f32>::new(&device, 8, 8).unwrap();
    let tensor = |rows| Tensor::<f32>::zeros(&device, [rows, 8]).unwrap();
    let loss = Tensor::zeros(&device, [1]).unwrap();
    let refused = |z: &Tensor<f32>, views, d_z: &Tensor<f32>, rows| {
        function.evaluate(z, views, 1.0, d_z, rows, &loss).unwrap_err().to_string()
    };
    assert!(refused(&tensor(8), 8, &tensor(8), 8).contains("two views of two images"));
    assert!(refused(&tensor(8), 3, &tensor(8), 8).contains("two views of two images"));
    assert!(refused(&tensor(12), 2, &tensor(12), 12).contains("rows"));
    assert!(refused(&tensor(8), 2, &tensor(4), 8).contains("rows"));
    let narrow = Tensor::zeros(&device, [8, 4]).unwrap();
    assert!(refused(&narrow, 2, &narrow, 8).contains("`z` is [8, 4] but must be [8, 8]"));
}
