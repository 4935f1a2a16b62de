//! What a report holds: times by the rows that they are of, and what they were measured on.

use crate::run::file;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// A report of `rocl bench --json`, as far as comparing needs it.
pub(super) struct Report {
    /// Of which benchmark.
    pub kind: String,
    /// The samples of every time, by its place.
    pub times: BTreeMap<String, Vec<f64>>,
    /// Every setting and property of the machine, by its path.
    settings: BTreeMap<String, Value>,
}

/// What a report says besides its times, where two have to agree in order to be two versions of one thing.
const SETTINGS: [&str; 4] = ["precision", "recipe", "cold_cache", "machine"];
/// What may differ among these: it is what one compares, or says nothing of speed.
const FREE: [&str; 8] = [
    "recipe/name",
    "recipe/train/seed",
    "machine/version",
    "machine/commit",
    "machine/gpu/ordinal",
    "machine/gpu/cuda",
    "machine/gpu/cudnn",
    "machine/gpu/cublaslt",
];

/// What names a row, where it is there.
const NAMES: [&str; 4] = ["name", "shape", "element", "batch_size"];
/// What tells rows apart that these do not.
const MORE_NAMES: [(&str, &str); 6] = [
    ("steps", "steps"),
    ("loss", ""),
    ("precision", ""),
    ("random_start", "random start"),
    ("bytes", "bytes"),
    ("flops", "FLOP"),
];

impl Report {
    /// # Errors
    /// [`Error::File`] for what is no report, has another schema, or has rows that cannot be told apart.
    pub fn read(path: &Path) -> Result<Self> {
        let text = file::read_text(path)
            .map_err(|e| Error::file(path, format!("cannot be read ({e}); give a report of `rocl bench --json`")))?;
        let report: Value = serde_json::from_str(&text)
            .map_err(|e| Error::file(path, format!("is not JSON ({e}); give a report of `rocl bench --json`")))?;
        let (schema, kind) = (report["schema"].as_u64(), report["kind"].as_str());
        let kind = match (schema, kind) {
            (Some(schema), Some(kind)) if schema == u64::from(crate::bench::SCHEMA) => kind.to_owned(),
            (Some(schema), Some(_)) => {
                let known = crate::bench::SCHEMA;
                let message = format!("has schema {schema}, but this version reads {known}; measure again with one version");
                return Err(Error::file(path, message));
            }
            _ => return Err(Error::file(path, "is not a report of `rocl bench --json`; give one")),
        };
        let (mut times, mut settings) = (BTreeMap::new(), BTreeMap::new());
        collect_times(&report, "", &mut times)
            .map_err(|row| Error::file(path, format!("has two rows {row} and nothing to tell them apart by; measure again")))?;
        for name in SETTINGS {
            collect_settings(&report[name], name.to_owned(), &mut settings);
        }
        Ok(Self { kind, times, settings })
    }

    /// In what another report is of something else, a phrase each. A setting that only one of them has was not there to be chosen in the other's version.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let differs = |(path, old): (&String, &Value)| {
            let new = other.settings.get(path).filter(|new| *new != old && !FREE.contains(&path.as_str()))?;
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some(format!("{} was {} and is {}", path.replace('/', "."), text(old), text(new)))
        };
        self.settings.iter().filter_map(differs).collect()
    }
}

fn collect_settings(value: &Value, path: String, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => fields.iter().for_each(|(name, value)| collect_settings(value, format!("{path}/{name}"), found)),
        value => drop(found.insert(path, value.clone())),
    }
}

/// Every summary of samples, by its place. Fails with a place that two have.
fn collect_times(value: &Value, place: &str, found: &mut BTreeMap<String, Vec<f64>>) -> Result<(), String> {
    let join = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
    match value {
        Value::Object(fields) => {
            if let Some(samples) = fields.get("samples").and_then(Value::as_array) {
                let samples: Vec<f64> = samples.iter().filter_map(Value::as_f64).collect();
                let taken = !samples.is_empty() && found.insert(place.to_owned(), samples).is_some();
                return if taken { Err(place.to_owned()) } else { Ok(()) };
            }
            fields.iter().try_for_each(|(name, value)| {
                // A row's only time goes by the row's name.
                let place = if name == "time" && !place.is_empty() { place.to_owned() } else { join(name) };
                collect_times(value, &place, found)
            })
        }
        Value::Array(rows) => labels(rows).iter().zip(rows).try_for_each(|(label, row)| collect_times(row, &join(label), found)),
        _ => Ok(()),
    }
}

/// What each row of a list goes by: its names, and where several have the same, what else tells them apart.
fn labels(rows: &[Value]) -> Vec<String> {
    let fields: Vec<Option<&Map<String, Value>>> = rows.iter().map(Value::as_object).collect();
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let name = |(index, fields): (usize, &Option<&Map<String, Value>>)| {
        let parts = NAMES.iter().filter_map(|key| {
            let part = text(fields.as_ref()?.get(*key)?)?;
            Some(if *key == "batch_size" { format!("batch of {part}") } else { part })
        });
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() { index.to_string() } else { parts.join(" ") }
    };
    let names: Vec<String> = fields.iter().enumerate().map(name).collect();
    let mut labels = names.clone();
    let mut rows_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    names.iter().enumerate().for_each(|(index, name)| rows_of.entry(name).or_default().push(index));
    for (index, label) in labels.iter_mut().enumerate() {
        let twins = &rows_of[names[index].as_str()];
        for (key, unit) in MORE_NAMES {
            let value = |at: usize| fields[at].and_then(|fields| fields.get(key));
            if let Some(part) =
                value(index).filter(|value_here| twins.iter().any(|&twin| value(twin) != Some(*value_here))).and_then(text)
            {
                *label = format!("{label}, {}", format!("{part} {unit}").trim());
            }
        }
    }
    labels
}
