//! Which engine computes what: written down, so that it can be the same again.

use super::engine::EngineChoice;
use super::policy::EngineSet;
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
    /// The major version of CUDA that this cuDNN was built for.
    #[serde(default)]
    pub cuda: usize,
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
    pub const SCHEMA: u32 = 2;

    /// A file's name for the fastest of these `engines`: one for each card and version of the library.
    pub fn file_name(&self, engines: EngineSet) -> String {
        let card: String = self.card.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let among = match engines {
            EngineSet::Prebuilt => "",
            EngineSet::All => "-thorough",
        };
        format!("cudnn-{}-cuda{}-{card}{among}.json", self.cudnn, self.cuda)
    }

    /// Whether its engines are those of the card and the library that `here` is of.
    ///
    /// # Errors
    /// [`Error::Device`] when they are not, with a sentence that says why.
    pub(super) fn check(&self, here: &Self) -> Result<()> {
        let Self { schema, cudnn, cuda, .. } = *self;
        let difference = if schema != here.schema {
            format!("in format {schema}, and this program reads format {}", here.schema)
        } else if cudnn != here.cudnn {
            format!("with cuDNN {cudnn}, and this is cuDNN {}", here.cudnn)
        } else if cuda != here.cuda {
            format!("with a cuDNN for CUDA {cuda}, and this is one for CUDA {}", here.cuda)
        } else if self.card != here.card {
            format!("on an {}, and this is an {}", self.card, here.card)
        } else {
            return Ok(());
        };
        Err(Error::Device(format!(
            "the choice of convolution engines was recorded {difference}; engines are chosen anew without it"
        )))
    }
}
