//! The names of all recipe keys, and the nearest one to a name that is none.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::{Error, Result};

/// Every section with its keys; the section `""` is the top of the file. For a section with a `kind`, the keys of all kinds.
pub(super) const KEYS: [(&str, &[&str]); 11] = [
    ("", &["schema", "name", "base"]),
    ("network", &["architecture", "width", "projector", "projection_hidden", "projection", "normalization"]),
    ("train", &["method", "epochs", "batch_size", "seed"]),
    (
        "augment",
        &[
            "jitter_probability",
            "brightness",
            "contrast",
            "saturation",
            "hue",
            "grayscale_probability",
            "flip_probability",
            "crop_scale",
            "crop_ratio",
        ],
    ),
    (
        "attack",
        &["epsilon", "step_size", "steps", "random_start", "loss", "attack_to", "group", "reuse_target", "fold_batch_norm"],
    ),
    ("loss", &["temperature", "lambda", "regularize_to", "detach_keys"]),
    ("optimizer", &["kind", "learning_rate", "momentum", "weight_decay", "trust", "beta1", "beta2", "epsilon"]),
    ("schedule", &["kind", "warmup_epochs", "warmup_multiplier", "cosine_epochs", "chained", "milestones", "decay"]),
    ("supervised", &["epsilon", "step_size", "steps", "random_start", "attack_mode", "beta", "freeze_bn"]),
    ("linear_eval", &["learning_rate", "momentum", "weight_decay", "batch_size", "epochs", "milestones", "decay"]),
    ("evaluate", &["epsilon", "step_size", "steps", "random_start", "batch_size"]),
];

/// The word among `candidates` that `word` is most likely a slip of the keyboard for, if any is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(word, candidate);
    let best = candidates.into_iter().min_by_key(|candidate| distance(candidate))?;
    // A third of the letters: `epsilom`, `stepsize` and `lr` are told apart from mere noise.
    (distance(best) <= word.chars().count().max(best.chars().count()).div_ceil(3)).then_some(best)
}

/// Refuses the first key of `table` that no recipe has, and section names that hold a plain value or the reverse.
pub(super) fn refuse_unknown(table: &Table) -> Result<()> {
    for (name, value) in table {
        let section = KEYS.iter().skip(1).find(|(section, _)| section == name);
        match (section, value) {
            (Some((section, keys)), Value::Table(table)) => {
                if let Some(key) = table.keys().find(|key| !keys.contains(&key.as_str())) {
                    return Err(unknown(&format!("{section}.{key}"), nearest_path(section, key)));
                }
            }
            (Some((section, _)), _) => {
                return Err(Error::Usage(format!("{section} is a section of a recipe; write [{section}] with its keys below")));
            }
            (None, _) if KEYS[0].1.contains(&name.as_str()) => {}
            (None, _) => return Err(unknown(name, nearest_path("", name))),
        }
    }
    Ok(())
}

fn unknown(path: &str, suggestion: Option<String>) -> Error {
    let remedy = match suggestion {
        Some(suggestion) => format!("did you mean {suggestion}?"),
        None => "`rocl recipe reference@1` prints all keys".to_owned(),
    };
    Error::Usage(format!("{path} is not a recipe key; {remedy}"))
}

/// The key that was meant: near by name in the same section, or of the same name in another, or a section.
fn nearest_path(section: &str, key: &str) -> Option<String> {
    let join = |section: &str, key: &str| if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
    let (_, siblings) = KEYS.iter().find(|(name, _)| *name == section)?;
    let sections = KEYS.iter().map(|(name, _)| *name).filter(|name| section.is_empty() && !name.is_empty());
    nearest(key, siblings.iter().copied().chain(sections))
        .map(|key| join(section, key))
        .or_else(|| KEYS.iter().find(|(_, keys)| keys.contains(&key)).map(|(elsewhere, _)| join(elsewhere, key)))
}

/// The leaves of `table` by their full path, such as `attack.epsilon`.
pub(super) fn flatten(table: &Table) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => leaves.extend(section.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone()))),
            value => drop(leaves.insert(name.clone(), value.clone())),
        }
    }
    leaves
}
