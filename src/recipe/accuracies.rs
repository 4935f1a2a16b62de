//! What evaluation reports: accuracies with their intervals, over one seed or several.

use super::evaluate::{Right, share};
use super::settings::NamedAttack;
use crate::report::statistics::{Interval, mean_and_deviation, wilson};
use serde::Serialize;

/// An accuracy, in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Percent of the images that are right; of several seeds the mean.
    pub accuracy: f64,
    /// The 95 % interval of Wilson over images: what other images of the same kind would give. Seeds do not narrow it.
    #[serde(flatten)]
    pub interval: Interval,
    /// Standard deviation over seeds, in percent; of one seed there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// By seed, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_seed: Vec<f64>,
}

impl Measured {
    /// Of the images that are right under each seed.
    pub fn of<'a>(by_seed: impl Iterator<Item = &'a [bool]>) -> Self {
        let rows: Vec<&[bool]> = by_seed.collect();
        let shares: Vec<f64> = rows.iter().map(|right| share(right)).collect();
        let (mean, std) = mean_and_deviation(&shares);
        let n = rows.first().map_or(0, |right| right.len());
        let by_seed = if shares.len() > 1 { shares.iter().map(|share| 100.0 * share).collect() } else { Vec::new() };
        Self { accuracy: 100.0 * mean, interval: wilson(mean, n), std: std.map(|std| 100.0 * std), by_seed }
    }

    /// `41.02 %`, or `41.02 % ± 0.30` of several seeds.
    pub fn shown(&self) -> String {
        let deviation = self.std.map_or_else(String::new, |std| format!(" ± {std:.2}"));
        format!("{:.2} %{deviation}", self.accuracy)
    }
}

/// An accuracy under an attack, and what the attack is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attacked {
    /// Its shortest name, by which it can be asked for again.
    pub attack: String,
    /// `linf`, `l2` or `l1`.
    pub norm: &'static str,
    /// Radius, as it was written.
    pub epsilon: String,
    /// Step size, as it was written.
    pub step_size: String,
    /// Steps.
    pub steps: u32,
    /// `random` or `image`.
    pub start: &'static str,
    /// Repetitions.
    pub restarts: u32,
    /// `ce`, `margin` or `kl`.
    pub loss: &'static str,
    /// How many images withstand it.
    #[serde(flatten)]
    pub measured: Measured,
}

/// All that was measured of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracies {
    /// Images.
    pub n: usize,
    /// Without an attack.
    pub clean: Measured,
    /// Under each attack, whatever the clean image was taken for.
    pub attacks: Vec<Attacked>,
    /// As it is and under every attack of the list: an image counts if all of them leave it right.
    pub worst_case: Measured,
}

impl Accuracies {
    /// Of images that are right under each seed of the attacks on one model.
    pub fn new(attacks: &[NamedAttack], by_seed: &[Right]) -> Self {
        // No seed changes it, and equal numbers have no deviation worth telling.
        let clean = by_seed.iter().take(1).map(|right| &right.clean[..]);
        Self { clean: Measured::of(clean), ..Self::of_models(attacks, by_seed) }
    }

    /// Of images that each of several models gets right: trained with other seeds, or smoothed by other views.
    pub fn of_models(attacks: &[NamedAttack], by_seed: &[Right]) -> Self {
        let attacked = |(place, attack): (usize, &NamedAttack)| Attacked {
            attack: attack.to_string(),
            norm: attack.norm_name(),
            epsilon: attack.epsilon.to_string(),
            step_size: attack.step_size.to_string(),
            steps: attack.steps.unwrap_or(1),
            start: if attack.random_start { "random" } else { "image" },
            restarts: attack.restarts,
            loss: attack.loss_name(),
            measured: Measured::of(by_seed.iter().map(|right| &right.attacked[place][..])),
        };
        let always: Vec<Vec<bool>> = by_seed.iter().map(Right::always).collect();
        Self {
            n: by_seed.first().map_or(0, |right| right.clean.len()),
            clean: Measured::of(by_seed.iter().map(|right| &right.clean[..])),
            attacks: attacks.iter().enumerate().map(attacked).collect(),
            worst_case: Measured::of(always.iter().map(|right| &right[..])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Vec<bool> {
        text.chars().map(|c| c == '1').collect()
    }

    fn right(clean: &str, attacked: [&str; 2]) -> Right {
        Right { clean: bits(clean), attacked: attacked.map(bits).into() }
    }

    #[test]
    fn the_worst_case_is_that_of_each_image() {
        let attacks = ["pgd:linf:8/255:20", "fgsm:l2:0.5"].map(|name| name.parse().unwrap());
        // The fourth image is wrong as it is; that an attack sets it right does not count for the worst case.
        let found = Accuracies::new(&attacks, &[right("11101", ["11010", "01111"])]);
        assert_eq!((found.n, found.clean.accuracy), (5, 80.0));
        assert_eq!(found.attacks[0].measured.accuracy, 60.0);
        assert_eq!(found.attacks[1].measured.accuracy, 80.0);
        assert_eq!(found.worst_case.accuracy, 20.0);
        assert_eq!((found.worst_case.std, found.worst_case.by_seed.len()), (None, 0));
        assert!(found.clean.interval.low < 80.0 && found.clean.interval.high > 80.0);
    }

    #[test]
    fn seeds_are_averaged() {
        let attacks = ["pgd:linf:8/255:20", "fgsm:l2:0.5"].map(|name| name.parse().unwrap());
        let found = Accuracies::new(&attacks, &[right("1111", ["1100", "1111"]), right("1111", ["1110", "1111"])]);
        let measured = &found.attacks[0].measured;
        assert_eq!((measured.accuracy, &measured.by_seed[..]), (62.5, &[50.0, 75.0][..]));
        // Of 50 and 75: (25² / 2)^½.
        assert!((measured.std.unwrap() - 312.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(found.clean.std, None);
    }
}
