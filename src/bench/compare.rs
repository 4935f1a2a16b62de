//! Two reports of the same benchmark, before and after a change.

use super::summary::{Ratio, ratio};
use crate::run::file;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A time that both reports hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Where it stands in the report: `step`, `phases/attack`, `calls/conv_fprop 256×32×32×64`.
    pub name: String,
    /// Median before, in seconds.
    pub old: f64,
    /// Median after, in seconds.
    pub new: f64,
    /// `new` over `old`.
    #[serde(flatten)]
    pub ratio: Ratio,
    /// Whether it is slower beyond noise and tolerance.
    pub regressed: bool,
}

/// What two reports were measured on, where that differs: then the ratios are between machines, not between versions.
pub type Differences = Vec<(String, String, String)>;

/// Compares every time that both reports hold. One has regressed when its whole interval lies above 1 + `tolerance`.
///
/// # Errors
/// [`Error::File`] for a file that is not a report; [`Error::Usage`] for reports of different benchmarks or without a time in common.
pub fn compare(old: &Path, new: &Path, tolerance: f64) -> Result<(Vec<Compared>, Differences)> {
    let (before, after) = (read(old)?, read(new)?);
    if before["kind"] != after["kind"] {
        let kinds = [&before["kind"], &after["kind"]].map(|kind| kind.as_str().unwrap_or("?"));
        return Err(Error::Usage(format!(
            "`bench {}` and `bench {}` cannot be compared; give two of a kind",
            kinds[0], kinds[1]
        )));
    }
    let (old_times, new_times) = (times(&before), times(&after));
    let compared: Vec<Compared> = old_times
        .iter()
        .filter_map(|(name, old)| new_times.get(name).map(|new| (name, old, new)))
        .map(|(name, old, new)| {
            let found = ratio(old, new);
            let [old, new] = [old, new].map(|samples| super::summary::median(samples));
            Compared { name: name.clone(), old, new, ratio: found, regressed: found.low > 1.0 + tolerance }
        })
        .collect();
    if compared.is_empty() {
        return Err(Error::Usage(
            "the two reports have no time in common; give reports of the same benchmark and shapes".to_owned(),
        ));
    }
    Ok((compared, differences(&before["machine"], &after["machine"])))
}

fn read(path: &Path) -> Result<Value> {
    let text = file::read_text(path)
        .map_err(|e| Error::file(path, format!("cannot be read ({e}); give a report of `rocl bench --json`")))?;
    let report: Value = serde_json::from_str(&text)
        .map_err(|e| Error::file(path, format!("is not JSON ({e}); give a report of `rocl bench --json`")))?;
    match report["schema"].as_u64() {
        Some(schema) if schema == u64::from(super::SCHEMA) && report["kind"].is_string() => Ok(report),
        Some(schema) if report["kind"].is_string() => Err(Error::file(
            path,
            format!("has schema {schema}, but this version reads {}; measure again with one version", super::SCHEMA),
        )),
        _ => Err(Error::file(path, "is not a report of `rocl bench --json`; give one")),
    }
}

/// Every summary of a report with samples in it, by its place.
fn times(report: &Value) -> BTreeMap<String, Vec<f64>> {
    let mut found = BTreeMap::new();
    collect(report, String::new(), &mut found);
    found
}

fn collect(value: &Value, place: String, found: &mut BTreeMap<String, Vec<f64>>) {
    let join = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
    match value {
        Value::Object(fields) => {
            if let Some(samples) = fields.get("samples").and_then(Value::as_array) {
                let samples: Vec<f64> = samples.iter().filter_map(Value::as_f64).collect();
                if !samples.is_empty() {
                    found.insert(place, samples);
                }
                return;
            }
            for (name, value) in fields {
                // A row's only time goes by the row's name.
                let place = if name == "time" && !place.is_empty() { place.clone() } else { join(name) };
                collect(value, place, found);
            }
        }
        Value::Array(rows) => {
            for (index, row) in rows.iter().enumerate() {
                let label = |key: &str| row[key].as_str().unwrap_or_default();
                let name = match format!("{} {}", label("name"), label("shape")).trim() {
                    "" => index.to_string(),
                    name => name.to_owned(),
                };
                collect(row, join(&name), found);
            }
        }
        _ => {}
    }
}

fn differences(old: &Value, new: &Value) -> Differences {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return Vec::new() };
    let text = |value: Option<&Value>| {
        value.map_or_else(|| "nothing".to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
    };
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).filter(|name| *name != "commit").collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| (name.clone(), text(old.get(name)), text(new.get(name))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(folder: &Path, name: &str, value: &Value) -> std::path::PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path
    }

    fn kernels(pgd: &[f64], fprop: &[f64]) -> Value {
        json!({ "schema": 1, "kind": "kernels", "machine": { "cpu": "A", "commit": "x" }, "calls": [
            { "name": "pgd", "shape": "8", "time": { "median": 0.0, "samples": pgd } },
            { "name": "conv_fprop", "shape": "1×2", "time": { "median": 0.0, "samples": fprop } },
        ] })
    }

    #[test]
    fn a_slower_row_is_found_and_the_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let old = report(folder.path(), "old.json", &kernels(&[1.0, 1.01, 0.99], &[5.0, 5.1, 4.9]));
        let new = report(folder.path(), "new.json", &kernels(&[1.3, 1.31, 1.29], &[5.0, 5.1, 4.9]));
        let (rows, differences) = compare(&old, &new, 0.05).unwrap();
        let names: Vec<(&str, bool)> = rows.iter().map(|row| (row.name.as_str(), row.regressed)).collect();
        assert_eq!(names, [("calls/conv_fprop 1×2", false), ("calls/pgd 8", true)]);
        assert!(differences.is_empty());
    }

    #[test]
    fn foreign_files_are_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let good = report(folder.path(), "good.json", &kernels(&[1.0], &[1.0]));
        for (name, text) in [("a", "not json"), ("b", "{}"), ("c", r#"{"schema":99,"kind":"step"}"#), ("d", "[1]")] {
            let bad = folder.path().join(name);
            std::fs::write(&bad, text).unwrap();
            assert!(matches!(compare(&good, &bad, 0.0), Err(Error::File { .. })), "{name}");
        }
        let other = report(folder.path(), "other.json", &json!({ "schema": 1, "kind": "step", "step": { "samples": [1.0] } }));
        assert!(matches!(compare(&good, &other, 0.0), Err(Error::Usage(_))));
    }
}
