//! The recipes that come with the program.

use super::keys::nearest;
use crate::Error;

/// A recipe that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name, with its version.
    pub name: &'static str,
    /// The command of `rocl` that takes it.
    pub command: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The TOML text, with its comments.
    pub text: &'static str,
}

macro_rules! presets {
    ($($name:literal: $command:literal, $about:literal;)*) => {
        [$(Preset {
            name: $name,
            command: $command,
            about: $about,
            text: include_str!(concat!("../../../recipes/", $name, ".toml")),
        }),*]
    };
}

static PRESETS: [Preset; 40] = presets! {
    "reference@1": "pretrain", "RoCL as the released code runs it";
    "paper@1": "pretrain", "Table 1, ResNet-18: RoCL (and its LE)";
    "rocl-200ep@1": "pretrain", "the released code's in 200 epochs";
    "cifar-small@1": "pretrain", "RoCL on two cores, at width 16";
    "cifar-small-supervised@1": "train", "AT on two cores, beside cifar-small";
    "supervised@1": "train", "a classifier from scratch: AT";
    "finetune@1": "finetune", "a pretrained encoder with labels: AT";
    "demo@1": "pretrain", "what `rocl demo` trains";
    "paper-ce@1": "train", "Table 1, ResNet-18: cross-entropy";
    "paper-at@1": "train", "Table 1, ResNet-18: AT";
    "paper-trades@1": "train", "Table 1, ResNet-18: TRADES";
    "paper-scl@1": "pretrain", "Table 1, ResNet-18: SCL";
    "paper-simclr@1": "pretrain", "Table 1, ResNet-18: SimCLR";
    "paper-r-le@1": "linear-eval", "Table 1: RoCL with r-LE (--robust)";
    "paper-rocl-at@1": "finetune", "Table 1: RoCL+AT";
    "paper-rocl-trades@1": "finetune", "Table 1: RoCL+TRADES";
    "paper-rocl-at-ss@1": "finetune", "Table 1: RoCL+AT+SS";
    "paper-resnet50@1": "pretrain", "Table 1, ResNet-50: RoCL (and its LE)";
    "paper-resnet50-ce@1": "train", "Table 1, ResNet-50: cross-entropy";
    "paper-resnet50-at@1": "train", "Table 1, ResNet-50: AT";
    "paper-resnet50-trades@1": "train", "Table 1, ResNet-50: TRADES";
    "paper-resnet50-scl@1": "pretrain", "Table 1, ResNet-50: SCL";
    "paper-resnet50-simclr@1": "pretrain", "Table 1, ResNet-50: SimCLR";
    "paper-attack-mse@1": "pretrain", "attack loss: mean squared error";
    "paper-attack-l1@1": "pretrain", "attack loss: L1, or Manhattan";
    "paper-attack-cosine@1": "pretrain", "attack loss: cosine";
    "paper-both-original@1": "pretrain", "both with the view itself";
    "paper-attack-original@1": "pretrain", "attack on the view itself";
    "paper-regularize-original@1": "pretrain", "regulariser with the view itself";
    "paper-lambda-32@1": "pretrain", "regulariser of weight 1/32";
    "paper-lambda-64@1": "pretrain", "regulariser of weight 1/64";
    "paper-lambda-128@1": "pretrain", "regulariser of weight 1/128";
    "paper-lambda-512@1": "pretrain", "regulariser of weight 1/512";
    "paper-steps-1@1": "pretrain", "attack of 1 step";
    "paper-steps-3@1": "pretrain", "attack of 3 steps";
    "paper-steps-10@1": "pretrain", "attack of 10 steps";
    "paper-steps-20@1": "pretrain", "attack of 20 steps";
    "paper-batch-128@1": "pretrain", "batch of 128";
    "paper-batch-256@1": "pretrain", "batch of 256";
    "paper-batch-1024@1": "pretrain", "batch of 1024";
};

/// The preset that supplies the keys of a file without a base.
pub(super) const REFERENCE: &str = "reference@1";

/// All presets, in the order in which they are listed.
pub fn presets() -> &'static [Preset] {
    &PRESETS
}

/// The names of all presets, with their versions.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    presets().iter().map(|preset| preset.name)
}

/// The preset of that name. A name without a version means its newest one.
pub fn preset(name: &str) -> Option<&'static Preset> {
    let matches = |preset: &&Preset| preset.name == name || preset.name.split('@').next() == Some(name);
    presets().iter().rev().find(matches)
}

/// The error for a name that is no preset's; `instead` is what else the place it stands at can hold.
pub(super) fn unknown(name: &str, instead: &str) -> Error {
    let stems = preset_names().map(|full| full.split('@').next().unwrap_or(full));
    let suggestion = nearest(name, preset_names()).or_else(|| nearest(name, stems));
    let presets = suggestion.map_or_else(|| "presets are".to_owned(), |preset| format!("did you mean {preset}? Presets are"));
    Error::Usage(format!(
        "there is no recipe `{name}`; {presets} reference@1, paper@1 and what else `rocl recipes` lists{instead}"
    ))
}
