//! The recipe of a recorded run: sizes from the tensors, hyper-parameters from the metadata.

use super::recording::{Recording, oihw};
use crate::nn::{MODEL, batch_norm};
use crate::optim::schedule::Schedule;
use crate::optim::{LARS_EPSILON, OptimizerSettings};
use crate::recipe::Recipe;
use crate::recipe::settings::{Architecture, Number};
use crate::{Error, Result};
use std::str::FromStr;

/// Which setting or tensor of the recording a recipe key is taken from.
const SOURCES: [(&str, &str); 13] = [
    ("network.width", "the first extent of `init/model/conv1.weight`"),
    ("network.projection_hidden", "the first extent of `init/projector/linear_1.weight`"),
    ("network.projection", "the first extent of `init/projector/linear_2.weight`"),
    ("train.batch_size", "the first extent of `in/x1`"),
    ("attack.epsilon", "`eps` in its metadata"),
    ("attack.step_size", "`alpha` in its metadata"),
    ("attack.steps", "`k` in its metadata"),
    ("loss.temperature", "`temperature` in its metadata"),
    ("loss.lambda", "`lamda` in its metadata"),
    ("optimizer.learning_rate", "`lr` in its metadata"),
    ("optimizer.momentum", "`momentum` in its metadata"),
    ("optimizer.weight_decay", "`weight_decay` in its metadata"),
    ("optimizer.trust", "`lars_trust` in its metadata"),
];

/// What a recipe does not set: where a recording states it, it has to be the engine's.
const FIXED: [(&str, f64); 3] =
    [("bn_eps", batch_norm::EPSILON), ("bn_momentum", batch_norm::MOMENTUM), ("lars_eps", LARS_EPSILON)];

/// A head of more classes would outgrow the kernels' 32-bit sizes.
const MOST_CLASSES: usize = 1 << 16;

impl Recording {
    /// The recipe that was recorded.
    ///
    /// # Errors [`Error::File`] when a setting is missing or cannot be meant, or the tensors are not of one network and one batch
    /// of images.
    pub fn recipe(&self) -> Result<Recipe> {
        self.check_fixed()?;
        let size = |name: &str| -> Result<u32> { Ok(u32::try_from(self.get(name)?.entries()).unwrap_or(u32::MAX)) };
        let mut recipe = Recipe::load("reference@1")?;
        recipe.name = "recorded".to_owned();
        recipe.network.architecture =
            if self.has("init/model/layer1.0.conv3.weight") { Architecture::ResNet50 } else { Architecture::ResNet18 };
        recipe.network.width = size("init/model/conv1.weight")?;
        recipe.network.projection_hidden = Some(size("init/projector/linear_1.weight")?);
        recipe.network.projection = size("init/projector/linear_2.weight")?;
        recipe.train.batch_size = size("in/x1")?;
        recipe.attack.group = 0;
        recipe.attack.random_start = false;
        recipe.attack.epsilon = Number::Decimal(self.number("eps")?);
        recipe.attack.step_size = Number::Decimal(self.number("alpha")?);
        recipe.attack.steps = self.parsed("k", "whole number")?;
        recipe.loss.temperature = self.number("temperature")?;
        recipe.loss.lambda = self.number("lamda")?;
        recipe.optimizer = OptimizerSettings::Lars {
            learning_rate: self.number("lr")?,
            momentum: self.number("momentum")?,
            weight_decay: self.number("weight_decay")?,
            trust: self.number("lars_trust")?,
        };
        recipe.schedule = Schedule::Constant;
        recipe.check().map_err(|error| self.in_terms_of_the_file(&error))?;
        // Before anything is allocated for a network that the tensors are not of.
        for spec in recipe.topology().parameters(MODEL) {
            self.expect(&format!("init/{}", spec.name), &oihw(&spec.dims))?;
        }
        let classes = self.classes()?;
        self.expect("init/linear/weight", &[classes, recipe.topology().features])?;
        for view in ["in/x1", "in/x2"] {
            self.expect(view, &[recipe.train.batch_size as usize, 3, 32, 32])?;
        }
        Ok(recipe)
    }

    /// The number of classes of the recorded head.
    ///
    /// # Errors
    /// [`Error::File`] when there is no head, or it has none or too many.
    pub fn classes(&self) -> Result<usize> {
        let bias = self.get("init/linear/bias")?;
        match bias.shape[..] {
            [classes @ 1..=MOST_CLASSES] => Ok(classes),
            _ => Err(self.refuse(format!(
                "has `init/linear/bias` of shape {:?} where one of 1 to {MOST_CLASSES} classes is needed; record it again",
                bias.shape
            ))),
        }
    }

    fn check_fixed(&self) -> Result<()> {
        for (key, value) in FIXED {
            if self.states(key) && self.number(key)? != value {
                let stated = self.setting(key)?;
                return Err(
                    self.refuse(format!("states `{key}` as `{stated}`, but the engine has {value:e}; record it with that"))
                );
            }
        }
        Ok(())
    }

    fn number(&self, key: &str) -> Result<f64> {
        self.parsed(key, "number")
    }

    fn parsed<N: FromStr>(&self, key: &str, kind: &str) -> Result<N> {
        let text = self.setting(key)?;
        text.parse().map_err(|_| self.refuse(format!("states `{key}` as `{text}`, which is not a {kind}; record it again")))
    }

    /// Recipe keys mean nothing to someone who wrote none.
    fn in_terms_of_the_file(&self, error: &Error) -> Error {
        let message = error.to_string();
        let named = SOURCES.iter().find_map(|(key, source)| {
            let rest = message.strip_prefix(key)?.strip_prefix(' ')?;
            Some(format!("{source} {rest}"))
        });
        self.refuse(format!("has unusable sizes or settings: {}; record it again", named.unwrap_or(message)))
    }
}
