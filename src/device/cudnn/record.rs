//! Which engine computes what: written down, so that it can be the same again.

use super::engine::EngineChoice;
use super::problem::{Pattern, Problem};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The engines of a run, or those that were fastest on a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The version of this format.
    pub schema: u32,
    /// The version of cuDNN: 10000 · major + 100 · minor + patch. Its engines' numbers mean nothing to another.
    pub cudnn: usize,
    /// The card.
    pub card: String,
    /// A plan for each problem.
    pub plans: Vec<RecordedPlan>,
}

/// How a problem was solved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedPlan {
    /// What was asked for.
    pub problem: Problem,
    /// The graph.
    pub pattern: Pattern,
    /// The engine.
    pub choice: EngineChoice,
}

impl Record {
    /// The format written here.
    pub const SCHEMA: u32 = 1;

    /// A file's name for the engines that were fastest on `card`: one for each card and version of the library.
    pub fn file_name(card: &str, cudnn: usize) -> String {
        let card: String = card.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("cudnn-{cudnn}-{card}.json")
    }

    /// Whether its engines are those of `card` and this version of the library.
    ///
    /// # Errors
    /// [`Error::Device`] when they are not, with a sentence that says why.
    pub(super) fn check(&self, card: &str, cudnn: usize) -> Result<()> {
        let Self { schema, cudnn: recorded, .. } = *self;
        let difference = if schema != Self::SCHEMA {
            format!("in format {schema}, and this program reads format {}", Self::SCHEMA)
        } else if recorded != cudnn {
            format!("with cuDNN {recorded}, and this is cuDNN {cudnn}")
        } else if self.card != card {
            format!("on an {}, and this is an {card}", self.card)
        } else {
            return Ok(());
        };
        Err(Error::Device(format!("the choice of convolution engines was recorded {difference}; leave it out to choose anew")))
    }
}
