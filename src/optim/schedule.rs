//! Learning-rate schedules, a pure function of the epoch.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate changes from epoch to epoch; the recipe's `[schedule]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    },
}

impl Schedule {
    /// The learning rate that holds throughout `epoch` (from 0) of a run of `epochs`, for the optimiser's rate `base`.
    ///
    /// With w, m and T as in [`Schedule::WarmupCosine`]: `base · (1 + (m − 1)(e + 1)/w)` for e < w, then
    /// `base · m/2 · (1 + cos(π (e − w)/T))`, and 0 past the end of the cosine. The released code has w = 10, m = 15 and
    /// T = all epochs, so that the last epoch's rate is small but not zero.
    pub fn learning_rate(&self, base: f64, epoch: u32, epochs: u32) -> f64 {
        match *self {
            Self::Constant => base,
            Self::WarmupCosine { warmup_epochs, warmup_multiplier, .. } if epoch < warmup_epochs => {
                base * (1.0 + (warmup_multiplier - 1.0) * f64::from(epoch + 1) / f64::from(warmup_epochs))
            }
            Self::WarmupCosine { warmup_epochs, warmup_multiplier, cosine_epochs } => {
                let length = cosine_epochs.unwrap_or(epochs).max(1);
                let progress = (f64::from(epoch - warmup_epochs) / f64::from(length)).min(1.0);
                base * warmup_multiplier * 0.5 * (1.0 + (PI * progress).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const REFERENCE: Schedule = Schedule::WarmupCosine { warmup_epochs: 10, warmup_multiplier: 15.0, cosine_epochs: None };

    #[test]
    fn follows_the_formula_of_the_released_code() {
        for epoch in 0..1000 {
            let e = f64::from(epoch);
            let expected =
                if epoch < 10 { 0.1 * (1.0 + 1.4 * (e + 1.0)) } else { 0.75 * (1.0 + (PI * (e - 10.0) / 1000.0).cos()) };
            let got = REFERENCE.learning_rate(0.1, epoch, 1000);
            // The two evaluate the same expression in another order: a few f64 roundings apart, amplified near cos = -1.
            assert!((got - expected).abs() <= 1e-14, "epoch {epoch}: {got} is not {expected}");
        }
    }

    #[test]
    fn agrees_with_the_recorded_schedule() {
        let shared = std::env::var_os("ROCL_SHARED").map(PathBuf::from);
        let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
        let Ok(text) = std::fs::read_to_string(shared.join("golden/lr_schedule_1000.json")) else {
            println!("skipped: no golden/lr_schedule_1000.json under {}", shared.display());
            return;
        };
        let recorded: Vec<f64> = serde_json::from_str(&text).unwrap();
        assert_eq!(recorded.len(), 1000);
        // PyTorch evaluates its cosine as a recurrence that starts one step late, from the base rate instead of from the
        // cosine's second value: all its rates after the warm-up are larger by this constant factor, 1 + 2.5e-6.
        let late_start = 2.0 / (1.0 + (PI / 1000.0).cos());
        for (epoch, &recorded) in (0..).zip(&recorded) {
            let got = REFERENCE.learning_rate(0.1, epoch, 1000);
            let expected = recorded / if epoch < 10 { 1.0 } else { late_start };
            // A thousand f64 roundings of that recurrence.
            assert!((got / expected - 1.0).abs() < 1e-9, "epoch {epoch}: {got} is not {expected}");
        }
    }

    #[test]
    fn degenerate_schedules_stay_finite() {
        assert_eq!(Schedule::Constant.learning_rate(0.3, 7, 10), 0.3);
        let none = Schedule::WarmupCosine { warmup_epochs: 0, warmup_multiplier: 1.0, cosine_epochs: Some(4) };
        assert_eq!(none.learning_rate(0.3, 0, 10), 0.3);
        assert_eq!(none.learning_rate(0.3, 9, 10), 0.0, "past the cosine the rate stays at its end");
        let empty = Schedule::WarmupCosine { warmup_epochs: 0, warmup_multiplier: 1.0, cosine_epochs: None };
        assert!(empty.learning_rate(0.3, 0, 0).is_finite());
    }
}
