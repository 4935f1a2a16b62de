//! A grid for people: a table, and a plot.

use super::document::{Document, Row};
use super::grid::{SEED, shown};
use crate::recipe::accuracies::{Accuracies, Measured};
use crate::report::plot::{Plot, Point, Series};
use crate::report::table::Table;

impl Document<'_> {
    /// The keys in which rows differ.
    fn row_keys(&self) -> Vec<&str> {
        self.keys.iter().map(String::as_str).filter(|key| *key != SEED).collect()
    }

    /// Whether rows are of several seeds.
    fn has_seeds(&self) -> bool {
        self.keys.iter().any(|key| key == SEED)
    }

    /// What is measured of a head.
    fn measures(&self) -> impl Iterator<Item = String> {
        std::iter::once("clean".to_owned()).chain(self.attacks.iter().cloned())
    }

    /// The heads that are measured: what their measures are called, and where they are in a row.
    fn heads(&self) -> impl Iterator<Item = Head> {
        let plain = Head { prefix: "", of: |row| row.plain.as_ref() };
        let robust = Head { prefix: "robust head, ", of: |row| row.robust.as_ref() };
        std::iter::once(plain).chain(self.robust.then_some(robust))
    }

    /// One row for each combination of values.
    pub fn table(&self) -> Table {
        let keys = self.row_keys();
        let names = self.heads().flat_map(|head| self.measures().map(move |name| format!("{}{name}", head.prefix)));
        let header = keys.iter().map(|key| (*key).to_owned()).chain(self.has_seeds().then(|| "seeds".to_owned()));
        let mut table = Table::new(header.chain(names));
        for row in &self.rows {
            let values = keys.iter().map(|key| row.values.get(key).map_or_else(String::new, |value| shown(value)));
            let seeds = self.has_seeds().then(|| row.seeds.len().to_string());
            let missing = if row.failed > 0 { "failed" } else { "–" };
            let measured = self.heads().flat_map(|head| {
                let found = (head.of)(row).map(|found| measures(found).map(Measured::shown).collect());
                found.unwrap_or_else(|| vec![missing.to_owned(); 1 + self.attacks.len()])
            });
            table.row(values.chain(seeds).chain(measured));
        }
        table
    }

    /// The accuracies of all rows, along the grid's key if it is one of numbers.
    pub fn plot(&self) -> Plot {
        let keys = self.row_keys();
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        let number = |row: &Row| match keys[..] {
            [key] => row.values.get(key).and_then(|value| as_number(value)),
            _ => None,
        };
        let along_numbers = rows.len() > 1 && rows.iter().all(|row| number(row).is_some());
        if along_numbers {
            rows.sort_by(|a, b| number(a).partial_cmp(&number(b)).unwrap_or(std::cmp::Ordering::Equal));
        }
        let label = |row: &Row| match keys[..] {
            [key] => row.values.get(key).map_or_else(String::new, |value| shown(value)),
            _ => row.values.iter().map(|(key, value)| format!("{key} = {}", shown(value))).collect::<Vec<_>>().join(", "),
        };
        let series = |head: Head, place: usize, name: String| {
            let point = |row: &&Row| (head.of)(row).and_then(|found| measures(found).nth(place)).map(point);
            Series { name: format!("{}{name}", head.prefix), points: rows.iter().map(point).collect() }
        };
        let data = &self.data;
        Plot {
            title: format!("{}: {data}", self.recipe.name),
            axis: if keys.len() == 1 { keys[0].to_owned() } else { String::new() },
            rows: rows.iter().map(|row| label(row)).collect(),
            along_numbers,
            series: self
                .heads()
                .flat_map(|head| self.measures().enumerate().map(move |(place, name)| (head, place, name)))
                .map(|(head, place, name)| series(head, place, name))
                .collect(),
        }
    }
}

/// A head that is measured.
#[derive(Clone, Copy)]
struct Head {
    prefix: &'static str,
    of: for<'a> fn(&'a Row) -> Option<&'a Accuracies>,
}

/// Clean accuracy, and that under each attack.
fn measures(found: &Accuracies) -> impl Iterator<Item = &Measured> {
    std::iter::once(&found.clean).chain(found.attacks.iter().map(|attack| &attack.measured))
}

fn point(measured: &Measured) -> Point {
    Point { value: measured.accuracy, low: measured.interval.low, high: measured.interval.high }
}

/// A number, or a fraction such as `"8/255"`.
fn as_number(value: &toml::Value) -> Option<f64> {
    match value {
        toml::Value::Integer(value) => Some(*value as f64),
        toml::Value::Float(value) => Some(*value),
        toml::Value::String(text) => text.parse::<crate::recipe::settings::Number>().ok().map(|number| number.value()),
        _ => None,
    }
}
