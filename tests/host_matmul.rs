//! The host matrix products against three loops in `f64`.

use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::device::host::matmul::{matmul_nn, matmul_nt, matmul_tn};

/// Multiples of 1/16 up to 2: exact in every storage type, and their products and short sums exact in `f32`.
fn values(rng: &mut ChaCha8Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| f32::from(rng.random_range(-32i8..=32)) / 16.0).collect()
}

fn product(m: usize, n: usize, k: usize, a: impl Fn(usize, usize) -> f32, b: impl Fn(usize, usize) -> f32) -> Vec<f64> {
    (0..m * n).map(|i| (0..k).map(|d| f64::from(a(i / n, d)) * f64::from(b(d, i % n))).sum()).collect()
}

const SIZES: [[usize; 3]; 8] =
    [[1, 1, 1], [3, 5, 7], [2, 128, 512], [37, 10, 64], [64, 64, 1], [300, 20, 17], [5, 1100, 3], [70, 130, 600]];

#[test]
fn products_match_the_definition() {
    for [m, n, k] in SIZES {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let (a, b, bias, start) = (values(rng, m * k), values(rng, k * n), values(rng, n), values(rng, m * n));
        let exact = |what: &str, found: &[f32], expected: &[f64]| {
            // Products are multiples of 2⁻⁸ and sums stay under 2¹², so f32 holds every partial sum exactly.
            assert!(found.iter().zip(expected).all(|(f, e)| f64::from(*f) == *e), "{what} {m} × {n} × {k}");
        };
        let mut out = vec![f32::NAN; m * n];

        let mut expected = product(m, n, k, |i, d| a[i * k + d], |d, j| b[j * k + d]);
        matmul_nt(m, n, k, &a, &b, None, false, &mut out).unwrap();
        exact("a bᵀ", &out, &expected);
        expected.iter_mut().enumerate().for_each(|(i, e)| *e = (*e + f64::from(bias[i % n])).max(0.0));
        matmul_nt(m, n, k, &a, &b, Some(&bias), true, &mut out).unwrap();
        exact("relu(a bᵀ + bias)", &out, &expected);

        matmul_nn(m, n, k, &a, &b, &mut out).unwrap();
        exact("a b", &out, &product(m, n, k, |i, d| a[i * k + d], |d, j| b[d * n + j]));

        let mut expected = product(m, n, k, |i, d| a[d * m + i], |d, j| b[d * n + j]);
        matmul_tn(m, n, k, &a, &b, false, &mut out).unwrap();
        exact("aᵀ b", &out, &expected);
        expected.iter_mut().zip(&start).for_each(|(e, s)| *e += f64::from(*s));
        out.copy_from_slice(&start);
        matmul_tn(m, n, k, &a, &b, true, &mut out).unwrap();
        exact("aᵀ b + out", &out, &expected);
    }
}

#[test]
fn sixteen_bit_storage_is_rounded_once() {
    let [m, n, k] = [9, 33, 70];
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let (a, b) = (values(rng, m * k), values(rng, k * n));
    let half = |values: &[f32]| values.iter().map(|v| f16::from_f32(*v)).collect::<Vec<_>>();
    let (mut wide, mut narrow, mut sums) = (vec![0.0f32; m * n], vec![f16::NAN; m * n], vec![0.0f32; m * n]);
    matmul_nt(m, n, k, &a, &b, None, false, &mut wide).unwrap();
    matmul_nt(m, n, k, &half(&a), &half(&b), None, false, &mut narrow).unwrap();
    assert_eq!(narrow, half(&wide));
    matmul_tn(m, n, k, &a, &b, false, &mut wide).unwrap();
    matmul_tn(m, n, k, &half(&a), &half(&b), false, &mut sums).unwrap();
    assert_eq!(sums, wide, "weight gradients are not rounded to the storage type");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for [m, n, k] in SIZES {
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let mut random = |len| -> Vec<f32> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (a, b) = (random(m * k), random(k * n));
        let results = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut out = [vec![0.0; m * n], vec![0.0; m * n], vec![0.0; m * n]];
                matmul_nt(m, n, k, &a, &b, None, false, &mut out[0]).unwrap();
                matmul_nn(m, n, k, &a, &b, &mut out[1]).unwrap();
                matmul_tn(m, n, k, &a, &b, false, &mut out[2]).unwrap();
                out.map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        });
        assert!(results[0] == results[1] && results[0] == results[2], "{m} × {n} × {k}");
    }
}
