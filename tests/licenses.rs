//! `docs/licenses.md` lists all that the program is built from, and nothing in it has a licence that would bind its users.

#[path = "common/skipped.rs"]
mod skipped;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Licences that ask for no more than their notice. Of a choice (`OR`), one of them suffices.
const ACCEPTED: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    // Mozilla's list of certificate authorities.
    "CDLA-Permissive-2.0",
    "ISC",
    "Unicode-3.0",
    "Zlib",
];

/// `(MIT OR Apache-2.0) AND Unicode-3.0`; a slash is the old way to write OR.
fn is_accepted(expression: &str) -> bool {
    let one = |part: &str| part.split(" OR ").flat_map(|part| part.split('/')).any(|name| ACCEPTED.contains(&name.trim()));
    expression.split(" AND ").all(|part| one(part.trim_matches(['(', ')'])))
}

/// Crates by licence: what cargo builds into the program, or runs to build it.
fn crates() -> Option<BTreeMap<String, BTreeSet<String>>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--format-version", "1", "--locked", "--offline", "--manifest-path", manifest]);
    command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let output = command.output().ok()?;
    if !output.status.success() {
        skipped::skipped(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
        return None;
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let by_id = |list: &'static str, root: &Value| -> BTreeMap<String, Value> {
        let items = root[list].as_array().unwrap().iter();
        items.map(|item| (item["id"].as_str().unwrap().to_owned(), item.clone())).collect()
    };
    let (packages, nodes) = (by_id("packages", &metadata), by_id("nodes", &metadata["resolve"]));
    let root = metadata["resolve"]["root"].as_str().unwrap().to_owned();
    let (mut seen, mut next) = (BTreeSet::from([root.clone()]), vec![root.clone()]);
    while let Some(id) = next.pop() {
        for dependency in nodes[&id]["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let id = dependency["pkg"].as_str().unwrap().to_owned();
            if kinds.iter().any(|kind| kind["kind"] != "dev") && seen.insert(id.clone()) {
                next.push(id);
            }
        }
    }
    let mut licences = BTreeMap::<String, BTreeSet<String>>::new();
    for id in seen.iter().filter(|id| **id != root) {
        let (licence, name) = (packages[id]["license"].as_str().unwrap_or("none"), packages[id]["name"].as_str().unwrap());
        licences.entry(licence.to_owned()).or_default().insert(name.to_owned());
    }
    Some(licences)
}

#[test]
fn licences_are_listed_and_accepted() {
    let Some(licences) = crates() else { return };
    let mut table = "| licence | crates |\n|---|---|\n".to_owned();
    for (licence, names) in &licences {
        assert!(is_accepted(licence), "{names:?} have the licence {licence}");
        let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        table += &format!("| {licence} | {names} |\n");
    }
    assert!(include_str!("../docs/licenses.md").contains(&table), "docs/licenses.md has another table than\n{table}");
}

#[test]
fn a_licence_that_binds_is_not_accepted() {
    for accepted in ["MIT", "Apache-2.0 / MIT", "(MIT OR Apache-2.0) AND Unicode-3.0", "MIT OR Apache-2.0 OR LGPL-2.1-or-later"] {
        assert!(is_accepted(accepted), "{accepted}");
    }
    for refused in ["GPL-3.0-only", "none", "MIT AND GPL-2.0", "(MIT OR Apache-2.0) AND MPL-2.0"] {
        assert!(!is_accepted(refused), "{refused}");
    }
}
