//! The recipes that come with the program.

use super::keys::nearest;
use crate::Error;

/// The released code's recipe; it also supplies the keys that a file leaves out.
pub(super) const REFERENCE: &str = include_str!("../../../recipes/reference@1.toml");

const PRESETS: [(&str, &str); 7] = [
    ("reference@1", REFERENCE),
    ("paper@1", include_str!("../../../recipes/paper@1.toml")),
    ("rocl-200ep@1", include_str!("../../../recipes/rocl-200ep@1.toml")),
    ("cifar-small@1", include_str!("../../../recipes/cifar-small@1.toml")),
    ("supervised@1", include_str!("../../../recipes/supervised@1.toml")),
    ("finetune@1", include_str!("../../../recipes/finetune@1.toml")),
    ("demo@1", include_str!("../../../recipes/demo@1.toml")),
];

/// The names of all presets, with their versions.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// The full name and the TOML text of a preset. A name without a version means its newest one.
pub fn preset(name: &str) -> Option<(&'static str, &'static str)> {
    let matches = |full: &str| full == name || full.split('@').next() == Some(name);
    PRESETS.iter().rev().find(|(full, _)| matches(full)).copied()
}

/// The error for a recipe that is neither a preset nor a file.
pub(super) fn unknown(name: &str) -> Error {
    let names = preset_names().collect::<Vec<_>>().join(", ");
    let stems = preset_names().map(|full| full.split('@').next().unwrap_or(full));
    let suggestion = nearest(name, preset_names()).or_else(|| nearest(name, stems));
    let presets = suggestion.map_or_else(|| "presets are".to_owned(), |preset| format!("did you mean {preset}? Presets are"));
    Error::Usage(format!("there is no recipe `{name}`; {presets} {names}, and any other recipe is the path of a .toml file"))
}
