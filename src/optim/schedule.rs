//! Learning-rate schedules, a pure function of the epoch.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate changes from epoch to epoch; the recipe's `[schedule]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Schedule {
    /// The base rate throughout.
    Constant,
    /// A linear warm-up to `warmup_multiplier` times the base rate, then half a cosine towards zero.
    WarmupCosine {
        /// Epochs of warm-up, w; 0 starts on the cosine.
        warmup_epochs: u32,
        /// Peak rate over base rate, m.
        warmup_multiplier: f64,
        /// Length of the half cosine in epochs, T; the whole run's epochs when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        cosine_epochs: Option<u32>,
        /// The rates of PyTorch's `CosineAnnealingLR` behind a warm-up, which computes each from the one before and is started one
        /// epoch late: after the warm-up all are larger by the constant factor 2/(1 + cos(π/T)). False is the formula itself.
        #[serde(default)]
        chained: bool,
    },
    /// The base rate, times `decay` from each milestone on.
    MultiStep {
        /// Epochs, ascending, before which the rate changes.
        milestones: Vec<u32>,
        /// The factor at each.
        decay: f64,
    },
}

impl Schedule {
    /// The learning rate that holds throughout `epoch` (from 0) of a run of `epochs`, for the optimiser's rate `base`.
    ///
    /// With w, m and T as in [`Schedule::WarmupCosine`]: `base · (1 + (m − 1)(e + 1)/w)` for e < w, then
    /// `base · m/2 · (1 + cos(π (e − w)/T))`, times the factor of `chained`, and 0 past the end of the cosine. The released code has
    /// w = 10, m = 15 and T = all epochs, so that the last epoch's rate is small but not zero; it is chained.
    pub fn learning_rate(&self, base: f64, epoch: u32, epochs: u32) -> f64 {
        match *self {
            Self::Constant => base,
            Self::MultiStep { ref milestones, decay } => {
                let passed = milestones.iter().filter(|&&milestone| epoch >= milestone).count();
                base * decay.powi(passed as i32)
            }
            Self::WarmupCosine { warmup_epochs, warmup_multiplier, .. } if epoch < warmup_epochs => {
                base * (1.0 + (warmup_multiplier - 1.0) * f64::from(epoch + 1) / f64::from(warmup_epochs))
            }
            Self::WarmupCosine { warmup_epochs, warmup_multiplier, cosine_epochs, chained } => {
                let length = cosine_epochs.unwrap_or(epochs).max(1);
                let progress = (f64::from(epoch - warmup_epochs) / f64::from(length)).min(1.0);
                let cosine = base * warmup_multiplier * 0.5 * (1.0 + (PI * progress).cos());
                // A cosine of one epoch has no second value to start from.
                if chained && length > 1 { cosine * 2.0 / (1.0 + (PI / f64::from(length)).cos()) } else { cosine }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMULA: Schedule =
        Schedule::WarmupCosine { warmup_epochs: 10, warmup_multiplier: 15.0, cosine_epochs: None, chained: false };

    #[test]
    fn follows_the_formula() {
        for epoch in 0..1000 {
            let e = f64::from(epoch);
            let expected =
                if epoch < 10 { 0.1 * (1.0 + 1.4 * (e + 1.0)) } else { 0.75 * (1.0 + (PI * (e - 10.0) / 1000.0).cos()) };
            let got = FORMULA.learning_rate(0.1, epoch, 1000);
            // The two evaluate the same expression in another order: a few f64 roundings apart, amplified near cos = -1.
            assert!((got - expected).abs() <= 1e-14, "epoch {epoch}: {got} is not {expected}");
        }
    }

    /// PyTorch's recurrence as it stands in its source: lr ← lr · (1 + cos(π t/T))/(1 + cos(π (t − 1)/T)), the first call at t = 2 (the
    /// scheduler counts its own creation), from the peak.
    #[test]
    fn chained_is_the_recurrence() {
        let cosine = |t: u32, length: u32| 1.0 + (PI * f64::from(t) / f64::from(length)).cos();
        for length in [2, 3, 7, 100] {
            let schedule =
                Schedule::WarmupCosine { warmup_epochs: 4, warmup_multiplier: 3.0, cosine_epochs: Some(length), chained: true };
            let mut rate = 0.6;
            for t in 1..length {
                if t > 1 {
                    rate *= cosine(t, length) / cosine(t - 1, length);
                }
                let got = schedule.learning_rate(0.2, 4 + t, 1000);
                // Roundings of cosines near -1, whose sum with 1 is as small as 5e-4.
                assert!((got / rate - 1.0).abs() < 1e-11, "T = {length}, t = {t}: {got} is not {rate}");
            }
        }
    }

    #[test]
    fn milestones_are_passed_one_by_one() {
        let schedule = Schedule::MultiStep { milestones: vec![30, 50], decay: 0.5 };
        let rates = [0, 29, 30, 49, 50, 1000].map(|epoch| schedule.learning_rate(0.25, epoch, 60));
        assert_eq!(rates, [0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625]);
    }

    #[test]
    fn degenerate_schedules_stay_finite() {
        assert_eq!(Schedule::Constant.learning_rate(0.3, 7, 10), 0.3);
        let none = Schedule::WarmupCosine { warmup_epochs: 0, warmup_multiplier: 1.0, cosine_epochs: Some(4), chained: false };
        assert_eq!(none.learning_rate(0.3, 0, 10), 0.3);
        assert_eq!(none.learning_rate(0.3, 9, 10), 0.0, "past the cosine the rate stays at its end");
        for chained in [false, true] {
            let empty = Schedule::WarmupCosine { warmup_epochs: 0, warmup_multiplier: 1.0, cosine_epochs: None, chained };
            assert!((0..3).all(|epochs| empty.learning_rate(0.3, 0, epochs).is_finite()));
        }
    }
}
