//! The hyper-parameters of a run, read from TOML.
//!
//! A recipe is a preset's name (`paper@1`) or a file. A file states `schema`, `name` and what it changes; every key that it
//! leaves out has the value of the preset that it names as its `base`, or else of `reference@1`. Presets are frozen. Where a
//! section has a `kind` and the file chooses another kind than the base, the file states all keys of that kind.

mod check;
mod keys;
mod method;
mod named_attack;
mod number;
mod overrides;
mod presets;
mod read;
mod sections;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use keys::nearest;
pub use method::Method;
pub use named_attack::NamedAttack;
pub use number::Number;
pub use overrides::Overrides;
pub use presets::{Preset, preset, preset_names, presets};
pub(in crate::recipe) use read::{check_schema, parse};
pub use sections::{
    Architecture, Attack, AttackLoss, Augment, BatchNormMode, Evaluate, LinearEval, Loss, Network, Normalization, Optimizer,
    Supervised, Train, View,
};

use crate::nn::{Projection, Topology};
use crate::optim::schedule::Schedule;
use crate::run::file;
use crate::{Error, Result};

/// The newest recipe format that this version reads, and the one that it writes.
pub const SCHEMA: u32 = 1;

/// All hyper-parameters of training, linear evaluation and attack: one TOML file, one section per field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Version of the format, [`SCHEMA`].
    pub schema: u32,
    /// Name of the recipe, for reports.
    pub name: String,
    /// Encoder and projector.
    pub network: Network,
    /// The training run.
    pub train: Train,
    /// The random views.
    pub augment: Augment,
    /// The instance-wise attack.
    pub attack: Attack,
    /// The contrastive loss and the regulariser.
    pub loss: Loss,
    /// How a gradient moves the weights.
    pub optimizer: Optimizer,
    /// The learning rate over the epochs.
    pub schedule: Schedule,
    /// Training with labels, and the attack on them.
    pub supervised: Supervised,
    /// The linear classifier on the frozen encoder.
    pub linear_eval: LinearEval,
    /// The accuracies that are measured.
    pub evaluate: Evaluate,
}

impl Recipe {
    /// Reads the preset or the file that `name_or_path` names; presets win over files of the same name.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name, an unknown key or a value out of range, [`Error::File`] for an unreadable file.
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some(Preset { name, text, .. }) = preset(name_or_path) {
            return Self::from_toml(text).map_err(|error| Error::Usage(format!("preset {name}: {error}")));
        }
        let path = Path::new(name_or_path);
        let means_file = path.components().count() > 1 || path.extension().is_some_and(|e| e == "toml") || path.is_file();
        if !means_file {
            return Err(presets::unknown(name_or_path, ", and any other recipe is the path of a .toml file"));
        }
        let text = file::read_text(path).map_err(|error| {
            Error::file(path, format!("cannot be read as a recipe ({error}); give a TOML file or a preset's name"))
        })?;
        Self::from_toml(&text).map_err(|error| Error::Usage(format!("{name_or_path}: {error}")))
    }

    /// Reads a recipe from TOML text and checks every value.
    ///
    /// # Errors
    /// [`Error::Usage`] for text that is not TOML, an unknown key or a value out of range.
    pub fn from_toml(text: &str) -> Result<Self> {
        read::from_toml(text)
    }

    /// Reads a recipe from JSON, the form in which checkpoints carry it, and checks every value.
    ///
    /// # Errors
    /// As [`Recipe::from_toml`].
    pub fn from_json(text: &str) -> Result<Self> {
        read::from_json(text)
    }

    /// The recipe with other values of some keys, by their full path (`loss.lambda`), checked again. A section whose `kind` changes is given all keys of
    /// the new kind.
    ///
    /// # Errors
    /// As [`Recipe::from_toml`].
    pub fn with_keys<'a>(&self, changes: impl IntoIterator<Item = (&'a str, &'a toml::Value)>) -> Result<Self> {
        read::with_keys(self, changes)
    }

    /// The recipe as TOML; [`Recipe::from_toml`] gives the same recipe back.
    ///
    /// # Errors
    /// [`Error::Usage`] for a seed beyond what TOML can hold, which [`Recipe::check`] refuses.
    pub fn to_toml(&self) -> Result<String> {
        let refuse = |error| Error::Usage(format!("the recipe cannot be written as TOML ({error}); please report it"));
        toml::to_string(self).map_err(refuse)
    }

    /// The recipe as one line of JSON; [`Recipe::from_json`] gives the same recipe back.
    ///
    /// # Errors
    /// [`Error::Usage`] when a value has no JSON form, which [`Recipe::check`] refuses.
    pub fn to_json(&self) -> Result<String> {
        let refuse = |error| Error::Usage(format!("the recipe cannot be written as JSON ({error}); please report it"));
        serde_json::to_string(self).map_err(refuse)
    }

    /// What the encoder consists of.
    pub fn topology(&self) -> Topology {
        let Network { architecture, width, normalization, .. } = self.network;
        Topology { normalization, ..Topology::new(architecture, width as usize) }
    }

    /// Units of the projector's hidden layer.
    pub fn projection_hidden(&self) -> u32 {
        self.network.projection_hidden.unwrap_or(32 * self.network.width)
    }

    /// What makes embeddings of features.
    pub fn projection(&self) -> Projection {
        match self.network.projector {
            true => Projection::Layers { hidden: self.projection_hidden() as usize, out: self.network.projection as usize },
            false => Projection::Identity,
        }
    }

    /// Dimension of the embedding that the losses see.
    pub fn embedding(&self) -> usize {
        self.projection().dimension(self.topology().features)
    }

    /// Independent groups of images in a batch, for attack and regulariser.
    pub fn attack_groups(&self) -> u32 {
        match self.attack.group {
            0 => 1,
            group => self.train.batch_size / group,
        }
    }

    /// The learning rate of training throughout `epoch`, from 0.
    pub fn learning_rate(&self, epoch: u32) -> f64 {
        self.schedule.learning_rate(self.optimizer.learning_rate(), epoch, self.train.epochs)
    }

    /// The keys in which two recipes differ, with their values: `train.epochs is 100, not 200`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let flat = |recipe| toml::Table::try_from(recipe).map(|table| keys::flatten(&table)).unwrap_or_default();
        let (mine, theirs) = (flat(self), flat(other));
        let absent = || "absent".to_owned();
        let paths: std::collections::BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
        let values = paths.into_iter().map(|path| (path, mine.get(path), theirs.get(path)));
        values
            .filter(|(_, mine, theirs)| mine != theirs)
            .map(|(path, mine, theirs)| {
                let show = |value: Option<&toml::Value>| value.map_or_else(absent, ToString::to_string);
                format!("{path} is {}, not {}", show(mine), show(theirs))
            })
            .collect()
    }
}
