//! What a count of images says about the images that were not counted.

use serde::Serialize;

/// Both ends of an interval, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The 95 % quantile of a normal distribution, both sides together.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % interval of Wilson (1927) for a proportion, given that `proportion` of `n` images showed it. Unlike a standard error it makes
/// sense at 0 and 1, too.
pub fn wilson(proportion: f64, n: usize) -> Interval {
    let (n, square) = (n as f64, Z * Z);
    let middle = (proportion + square / (2.0 * n)) / (1.0 + square / n);
    let half = Z / (1.0 + square / n) * (proportion * (1.0 - proportion) / n + square / (4.0 * n * n)).sqrt();
    // At 0 and 1 one end is the proportion itself, but for rounding.
    Interval { low: 100.0 * (middle - half).clamp(0.0, proportion), high: 100.0 * (middle + half).clamp(proportion, 1.0) }
}

/// The mean, and the standard deviation of single values about it (with n − 1); of fewer than two values there is none.
pub fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()))
}

/// The exact test of McNemar (1947) on images that two models were both tried on: how often chance alone, were both models equally good,
/// would divide those images that only one of them gets right at least as unevenly as into `first` and `second`. Two-sided.
pub fn mcnemar(first: usize, second: usize) -> f64 {
    let (n, fewer) = (first + second, first.min(second));
    // Σ C(n, k) / 2ⁿ over k up to `fewer`; in logarithms, since neither factor need be a number.
    let mut log_choose = 0.0;
    let mut tail = 0.0;
    for k in 0..=fewer {
        tail += f64::exp(log_choose - n as f64 * std::f64::consts::LN_2);
        log_choose += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By its definition: the proportions p that the observed one is no further from than Z standard deviations of p. Found by halving.
    fn wilson_by_definition(observed: f64, n: f64) -> (f64, f64) {
        let plausible = |p: f64| (observed - p).abs() <= Z * (p * (1.0 - p) / n).sqrt();
        let edge = |mut inside: f64, mut outside: f64| {
            for _ in 0..200 {
                let middle = 0.5 * (inside + outside);
                *if plausible(middle) { &mut inside } else { &mut outside } = middle;
            }
            100.0 * inside
        };
        (edge(observed, 0.0), edge(observed, 1.0))
    }

    #[test]
    fn wilsons_interval_is_that_of_its_definition() {
        for (right, n) in [(0, 10), (1, 10), (5, 10), (10, 10), (4027, 10_000), (9999, 10_000), (1, 1)] {
            let observed = f64::from(right) / f64::from(n);
            let Interval { low, high } = wilson(observed, n as usize);
            let (expected_low, expected_high) = wilson_by_definition(observed, f64::from(n));
            assert!((low - expected_low).abs() < 1e-9 && (high - expected_high).abs() < 1e-9, "{right} of {n}: {low} to {high}");
        }
    }

    /// By counting all 2ⁿ ways in which equally good models may divide n images.
    #[test]
    fn mcnemars_test_counts_the_ways() {
        for n in 0..=12usize {
            for first in 0..=n {
                let as_uneven = |ones: usize| ones.abs_diff(n - ones) >= first.abs_diff(n - first);
                let ways = (0u32..1 << n).filter(|way| as_uneven(way.count_ones() as usize)).count();
                let expected = ways as f64 / f64::from(1u32 << n);
                let found = mcnemar(first, n - first);
                assert!((found - expected).abs() < 1e-12, "{first} of {n}: {found} instead of {expected}");
            }
        }
        // 2 Σ C(1000, k) / 2¹⁰⁰⁰ over k up to 450, in exact fractions.
        assert!((mcnemar(450, 550) - 0.001_730_536_084_976_317_6).abs() < 1e-12, "{}", mcnemar(450, 550));
        // Far beyond what powers of two can hold.
        assert!(mcnemar(0, 10_000) == 0.0 && (mcnemar(5000, 5000) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn deviations_are_those_of_samples() {
        assert_eq!(mean_and_deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), (5.0, Some((32.0f64 / 7.0).sqrt())));
        assert_eq!(mean_and_deviation(&[3.0]), (3.0, None));
    }
}
