//! Reports as they were written, and tables as Markdown has them.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

/// A report, by its path in the repository.
pub fn load(path: &str) -> Value {
    let path = crate::common::root().join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
pub fn number(value: &Value, path: &str) -> f64 {
    at(value, path).as_f64().unwrap_or_else(|| panic!("no number {path} in {value:.200}"))
}

#[track_caller]
pub fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_else(|| panic!("no text {path} in {value:.200}"))
}

#[track_caller]
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().unwrap_or_else(|| panic!("no list {path} in {value:.200}"))
}

/// `machine.commit` of it.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, key| &value[key])
}

/// What all reports agree in; that they do makes them rows of one table.
#[track_caller]
pub fn common(reports: &[Value], path: &str) -> String {
    let found: BTreeSet<String> = reports.iter().map(|report| at(report, path).to_string()).collect();
    assert!(found.len() == 1 && !found.contains("null"), "{path}: {found:?}");
    found.first().unwrap().trim_matches('"').to_owned()
}

/// A commit that anybody can build.
#[track_caller]
pub fn commit(reports: &[Value]) -> String {
    let commit = common(reports, "machine.commit");
    assert!(commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{commit}");
    commit
}

/// A table, row by row.
pub struct Markdown {
    text: String,
    columns: usize,
}

impl Markdown {
    pub fn new<S: AsRef<str>>(header: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self { text: String::new(), columns: 0 };
        let header: Vec<_> = header.into_iter().collect();
        table.columns = header.len();
        table.row(header);
        writeln!(table.text, "|{}", "---|".repeat(table.columns)).unwrap();
        table
    }

    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<_> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns, "cells of a row");
        cells.iter().for_each(|cell| write!(self.text, "| {} ", cell.as_ref()).unwrap());
        self.text.push_str("|\n");
    }

    /// The table, and what is to be known of its numbers.
    pub fn below(self, note: &str) -> String {
        format!("{}\n{note}\n", self.text)
    }
}
