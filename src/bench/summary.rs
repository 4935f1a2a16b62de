//! Samples of a duration, what is said of them, and how two sets of them are compared.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Repetitions of one measurement, in seconds. The median is what is reported: a pause of the machine lengthens some samples and shortens none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle sample; of an even number, the mean of the middle two.
    pub median: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// All, in the order they were taken.
    pub samples: Vec<f64>,
}

impl Summary {
    /// Of at least one sample; of none, all NaN.
    pub fn of(samples: Vec<f64>) -> Self {
        let fold = |f: fn(f64, f64) -> f64| samples.iter().copied().reduce(f).unwrap_or(f64::NAN);
        Self { median: median(&samples), min: fold(f64::min), max: fold(f64::max), samples }
    }

    /// The samples' sums, one by one, of measurements that were taken in turn.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut total = Vec::new();
        for part in parts {
            total.resize(total.len().max(part.samples.len()), 0.0);
            total.iter_mut().zip(&part.samples).for_each(|(total, sample)| *total += sample);
        }
        Self::of(total)
    }
}

/// The middle value; of an even number, the mean of the middle two; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (n, half) if n % 2 == 0 => (sorted[half - 1] + sorted[half]) / 2.0,
        (_, half) => sorted[half],
    }
}

/// How many times as long one thing takes as another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The ratio of the medians.
    pub ratio: f64,
    /// 2.5th percentile of the bootstrap.
    pub low: f64,
    /// 97.5th percentile of the bootstrap.
    pub high: f64,
}

/// The ratio of two medians, `new` over `old`, with its 95 % percentile interval from [`RESAMPLES`] bootstrap samples (Efron 1979). The
/// resampling is seeded, so that the same samples give the same interval.
pub fn ratio(old: &[f64], new: &[f64]) -> Ratio {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut resampled = |values: &[f64]| {
        let drawn: Vec<f64> = values.iter().map(|_| values[rng.random_range(0..values.len())]).collect();
        median(&drawn)
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES).map(|_| resampled(new) / resampled(old)).collect();
    ratios.sort_by(f64::total_cmp);
    let percentile = |p: f64| ratios[((ratios.len() - 1) as f64 * p).round() as usize];
    Ratio { ratio: median(new) / median(old), low: percentile(0.025), high: percentile(0.975) }
}

/// Enough for two stable digits of the interval's ends.
pub const RESAMPLES: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_no_samples() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan() && Summary::of(Vec::new()).max.is_nan());
    }

    #[test]
    fn sums_go_sample_by_sample() {
        let sum = Summary::sum([&Summary::of(vec![1.0, 5.0, 2.0]), &Summary::of(vec![10.0, 10.0, 40.0])]);
        assert_eq!(sum.samples, [11.0, 15.0, 42.0]);
        assert_eq!((sum.median, sum.min, sum.max), (15.0, 11.0, 42.0));
    }

    /// Of equal samples there is one ratio; of noisy ones the interval holds the ratio that made them, and not that of a regression.
    #[test]
    fn intervals_hold_the_truth() {
        let same = ratio(&[2.0; 9], &[3.0; 9]);
        assert_eq!((same.ratio, same.low, same.high), (1.5, 1.5, 1.5));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut noisy = |centre: f64| (0..25).map(|_| centre * rng.random_range(0.95..1.05)).collect::<Vec<f64>>();
        let (old, new) = (noisy(1.0), noisy(1.2));
        let found = ratio(&old, &new);
        assert!(found.low <= 1.2 && 1.2 <= found.high && found.low > 1.1, "{found:?}");
    }
}
