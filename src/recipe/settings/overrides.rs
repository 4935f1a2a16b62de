//! Settings that the command line changes.

use super::{Method, Number, Recipe};
use crate::Result;
use crate::optim::schedule::Schedule;

/// Values that replace the recipe's; `None` leaves the recipe's value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Replaces `train.method`.
    pub method: Option<Method>,
    /// Replaces `train.seed`.
    pub seed: Option<u64>,
    /// Replaces `network.width`.
    pub width: Option<u32>,
    /// Replaces `train.epochs`; milestones of the schedule past the new end fall away.
    pub epochs: Option<u32>,
    /// Replaces `train.batch_size`. A batch that is smaller than `attack.group` is one group.
    pub batch_size: Option<u32>,
    /// Replaces `attack.steps`.
    pub attack_steps: Option<u32>,
    /// Replaces `linear_eval.epochs`; milestones past the new end fall away.
    pub linear_epochs: Option<u32>,
    /// Replaces `linear_eval.batch_size`.
    pub linear_batch_size: Option<u32>,
    /// Replaces `evaluate.batch_size`.
    pub evaluate_batch_size: Option<u32>,
    /// Replaces `evaluate.epsilon`.
    pub epsilon: Option<Number>,
    /// Replaces `evaluate.step_size`.
    pub step_size: Option<Number>,
    /// Replaces `evaluate.steps`.
    pub steps: Option<u32>,
}

impl Recipe {
    /// The recipe with the values of `overrides`, checked again.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for a value out of range.
    pub fn with(mut self, overrides: &Overrides) -> Result<Self> {
        fn set<T: Copy>(target: &mut T, value: Option<T>) {
            *target = value.unwrap_or(*target);
        }
        set(&mut self.train.method, overrides.method);
        set(&mut self.train.seed, overrides.seed);
        set(&mut self.network.width, overrides.width);
        set(&mut self.train.epochs, overrides.epochs);
        set(&mut self.train.batch_size, overrides.batch_size);
        set(&mut self.attack.steps, overrides.attack_steps);
        set(&mut self.linear_eval.epochs, overrides.linear_epochs);
        set(&mut self.linear_eval.batch_size, overrides.linear_batch_size);
        set(&mut self.evaluate.batch_size, overrides.evaluate_batch_size);
        set(&mut self.evaluate.epsilon, overrides.epsilon);
        set(&mut self.evaluate.step_size, overrides.step_size);
        set(&mut self.evaluate.steps, overrides.steps);
        if overrides.batch_size.is_some_and(|batch| batch < self.attack.group) {
            self.attack.group = 0;
        }
        if let (Some(epochs), Schedule::MultiStep { milestones, .. }) = (overrides.epochs, &mut self.schedule) {
            milestones.retain(|milestone| *milestone < epochs);
        }
        if let Some(epochs) = overrides.linear_epochs {
            self.linear_eval.milestones.retain(|milestone| *milestone < epochs);
        }
        self.check()?;
        Ok(self)
    }
}
