//! Tables of the documentation are those that the reports beside it give: `docs/results/` for accuracies, `benches/results/` for times.
//!
//! ```sh
//! ROCL_UPDATE_DOCS=1 cargo test --test tables   # writes them anew
//! ```

#[path = "../common/mod.rs"]
mod common;

mod accuracy;
mod report;
mod speed;

use std::fs;

/// The text between `<!-- table: NAME -->` and `<!-- end -->`.
type Table = (&'static str, fn() -> String);

const RESULTS: [Table; 5] = [
    ("study", accuracy::study),
    ("pairs", accuracy::pairs),
    ("transfer", accuracy::transfer),
    ("libraries", accuracy::libraries),
    ("textures", accuracy::textures),
];

const PERFORMANCE: [Table; 7] = [
    ("peer-avx2-16", || speed::peers("cpu-avx2/width16-peer.json")),
    ("peer-avx2-64", || speed::peers("cpu-avx2/width64-peer.json")),
    ("peer-avx512-16", || speed::peers("cpu-avx512/width16-peer.json")),
    ("peer-avx512-64", || speed::peers("cpu-avx512/width64-peer.json")),
    ("phases", speed::phases),
    ("ladder", speed::ladder),
    ("sizes", speed::sizes),
];

/// The document with a table in its place.
fn with(document: &str, name: &str, table: &str) -> String {
    let begin = format!("<!-- table: {name} -->\n");
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("there is no place for {name}"));
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap_or_else(|| panic!("the place for {name} has no end"));
    format!("{before}{begin}\n{}\n\n<!-- end -->\n{after}", table.trim_end())
}

#[track_caller]
fn is_up_to_date(file: &str, tables: &[Table]) {
    let path = common::root().join("docs").join(file);
    let document = fs::read_to_string(&path).unwrap();
    let generated = tables.iter().fold(document.clone(), |document, (name, table)| with(&document, name, &table()));
    assert_eq!(document.matches("<!-- table: ").count(), tables.len(), "a table of docs/{file} that nothing makes");
    if std::env::var_os("ROCL_UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).unwrap();
        return;
    }
    let mut lines = document.lines().zip(generated.lines());
    let difference = lines.find(|(found, expected)| found != expected);
    assert!(generated == document, "docs/{file} is not what its reports give: {difference:?}; ROCL_UPDATE_DOCS=1 writes it anew");
}

#[test]
fn accuracies_are_those_of_their_reports() {
    is_up_to_date("results.md", &RESULTS);
}

#[test]
fn times_are_those_of_their_reports() {
    is_up_to_date("performance.md", &PERFORMANCE);
}
