//! The permitted range of every setting.

use std::fmt::{Display, LowerExp};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::ops::RangeBounds;

use super::{BatchNormMode, Method, Normalization, Optimizer, Recipe, Supervised};
use crate::optim::schedule::Schedule;
use crate::{Error, Result};

/// Longest run, in epochs or attack steps.
const MANY: u32 = 1_000_000;
/// Largest batch and layer: products of two of them still fit the kernels' 32-bit sizes.
const LARGE: u32 = 1 << 16;

impl Recipe {
    /// Holds every value against its permitted range; NaN and infinity are in none.
    ///
    /// # Errors
    /// [`Error::Usage`] with the key, the value and the range.
    pub fn check(&self) -> Result<()> {
        self.check_network()?;
        self.check_augment()?;
        self.check_attack()?;
        self.check_optimizer()?;
        self.check_schedule()?;
        self.check_supervised()?;
        self.check_evaluation()
    }

    fn check_network(&self) -> Result<()> {
        within("network.width", self.network.width, 1..=4096)?;
        within("network.projection_hidden", self.projection_hidden(), 1..=2 * LARGE)?;
        within("network.projection", self.network.projection, 1..=LARGE)?;
        if let Some(Normalization { mean, std }) = self.network.normalization {
            mean.into_iter().try_for_each(|mean| within("network.normalization.mean", mean, -1000.0..=1000.0))?;
            std.into_iter().try_for_each(|std| within("network.normalization.std", std, 0.001..=1000.0))?;
        }
        within("train.epochs", self.train.epochs, 1..=MANY)?;
        // A batch of one image has no negatives.
        within("train.batch_size", self.train.batch_size, 2..=LARGE)?;
        // TOML holds no larger integer.
        within("train.seed", self.train.seed, 0..=i64::MAX as u64)
    }

    fn check_augment(&self) -> Result<()> {
        self.augment.validate().map_err(|error| Error::Usage(format!("augment.{error}")))
    }

    fn check_attack(&self) -> Result<()> {
        let attack = &self.attack;
        within("attack.epsilon", attack.epsilon.value(), 0.0..=1.0)?;
        within("attack.step_size", attack.step_size.value(), 0.0..=1.0)?;
        within("attack.steps", attack.steps, 1..=MANY)?;
        let batch = self.train.batch_size;
        if attack.group == 1 || (attack.group > 1 && !batch.is_multiple_of(attack.group)) {
            return Err(Error::Usage(format!(
                "attack.group is {}, but must divide train.batch_size ({batch}) into groups of at least 2 images; \
                 0 is the whole batch",
                attack.group
            )));
        }
        within("loss.temperature", self.loss.temperature, 0.02..=100.0)?;
        within("loss.lambda", self.loss.lambda, above(0.0, 1e9))
    }

    fn check_optimizer(&self) -> Result<()> {
        within("optimizer.learning_rate", self.optimizer.learning_rate(), above(0.0, 1000.0))?;
        match self.optimizer {
            Optimizer::Lars { momentum, weight_decay, trust, .. } => {
                within("optimizer.momentum", momentum, 0.0..1.0)?;
                within("optimizer.weight_decay", weight_decay, 0.0..=1.0)?;
                within("optimizer.trust", trust, above(0.0, 1.0))
            }
            Optimizer::Sgd { momentum, weight_decay, .. } => {
                within("optimizer.momentum", momentum, 0.0..1.0)?;
                within("optimizer.weight_decay", weight_decay, 0.0..=1.0)
            }
            Optimizer::Adamw { beta1, beta2, epsilon, weight_decay, .. } => {
                within("optimizer.beta1", beta1, 0.0..1.0)?;
                within("optimizer.beta2", beta2, 0.0..1.0)?;
                within("optimizer.epsilon", epsilon, above(0.0, 1.0))?;
                within("optimizer.weight_decay", weight_decay, 0.0..=1.0)
            }
        }
    }

    fn check_schedule(&self) -> Result<()> {
        match &self.schedule {
            Schedule::Constant => Ok(()),
            &Schedule::WarmupCosine { warmup_epochs, warmup_multiplier, cosine_epochs, .. } => {
                within("schedule.warmup_epochs", warmup_epochs, 0..=MANY)?;
                within("schedule.warmup_multiplier", warmup_multiplier, above(0.0, 1000.0))?;
                // A shorter cosine would leave epochs at a learning rate of zero.
                let needed = self.train.epochs.saturating_sub(warmup_epochs).max(1);
                within("schedule.cosine_epochs", cosine_epochs.unwrap_or(needed), needed..=MANY)
            }
            Schedule::MultiStep { milestones, decay } => {
                within("schedule.decay", *decay, above(0.0, 1.0))?;
                ascending("schedule.milestones", milestones, "train.epochs", self.train.epochs)
            }
        }
    }

    fn check_supervised(&self) -> Result<()> {
        let Supervised { epsilon, step_size, steps, random_start, attack_mode, beta, freeze_bn } = self.supervised;
        within("supervised.epsilon", epsilon.value(), 0.0..=1.0)?;
        within("supervised.step_size", step_size.value(), 0.0..=1.0)?;
        within("supervised.steps", steps, 1..=MANY)?;
        within("supervised.beta", beta, 0.0..=1e6)?;
        let refuse = |message: &str| Err(Error::Usage(message.to_owned()));
        if freeze_bn && attack_mode == BatchNormMode::Train {
            return refuse(
                "supervised.freeze_bn keeps statistics that supervised.attack_mode = \"train\" would move; choose \"eval\"",
            );
        }
        if self.train.method == Method::Trades && !random_start {
            return refuse("TRADES attacks a divergence whose gradient is zero at the image; set supervised.random_start = true");
        }
        Ok(())
    }

    fn check_evaluation(&self) -> Result<()> {
        let linear = &self.linear_eval;
        within("linear_eval.learning_rate", linear.learning_rate, above(0.0, 1000.0))?;
        within("linear_eval.momentum", linear.momentum, 0.0..1.0)?;
        within("linear_eval.weight_decay", linear.weight_decay, 0.0..=1.0)?;
        within("linear_eval.batch_size", linear.batch_size, 1..=LARGE)?;
        within("linear_eval.epochs", linear.epochs, 1..=MANY)?;
        within("linear_eval.decay", linear.decay, above(0.0, 1.0))?;
        ascending("linear_eval.milestones", &linear.milestones, "linear_eval.epochs", linear.epochs)?;
        within("evaluate.epsilon", self.evaluate.epsilon.value(), 0.0..=1.0)?;
        within("evaluate.step_size", self.evaluate.step_size.value(), 0.0..=1.0)?;
        within("evaluate.steps", self.evaluate.steps, 1..=MANY)?;
        within("evaluate.batch_size", self.evaluate.batch_size, 1..=LARGE)
    }
}

/// Epochs in order, each of which is reached.
fn ascending(key: &str, milestones: &[u32], of: &str, epochs: u32) -> Result<()> {
    if milestones.is_sorted_by(|a, b| a < b) && milestones.last().is_none_or(|last| *last < epochs) {
        return Ok(());
    }
    Err(Error::Usage(format!("{key} is {milestones:?}; give epochs in ascending order, each below {of} ({epochs})")))
}

/// All numbers greater than `low`, up to and including `high`.
fn above(low: f64, high: f64) -> (Bound<f64>, Bound<f64>) {
    (Excluded(low), Included(high))
}

fn within<T: PartialOrd + Display + LowerExp>(key: &str, value: T, range: impl RangeBounds<T>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let low = match range.start_bound() {
        Included(low) => format!("at least {low}"),
        Excluded(low) => format!("above {low}"),
        Unbounded => "any".to_owned(),
    };
    let high = match range.end_bound() {
        Included(high) => format!(" and at most {high}"),
        Excluded(high) => format!(" and below {high}"),
        Unbounded => String::new(),
    };
    Err(Error::Usage(format!("{key} is {}, but must be {low}{high}", readable(&value))))
}

/// In full, unless nobody would read so many digits.
fn readable(value: &(impl Display + LowerExp)) -> String {
    let digits = value.to_string();
    if digits.len() <= 20 { digits } else { format!("{value:e}") }
}
