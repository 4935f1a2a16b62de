//! A table of aligned text columns.

use std::fmt;

/// A header and rows; columns of numbers are aligned to the right, others to the left.
#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with the given column names and no rows.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells missing at its end are empty, cells beyond the header are dropped.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).take(self.header.len()).collect();
        cells.resize(self.header.len(), String::new());
        self.rows.push(cells);
        self
    }

    fn column(&self, index: usize) -> Column {
        let cells = || self.rows.iter().map(|row| row[index].as_str());
        let width = cells().chain([self.header[index].as_str()]).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let numeric = !self.rows.is_empty() && cells().all(is_number);
        Column { width, numeric }
    }
}

struct Column {
    width: usize,
    numeric: bool,
}

/// Numbers, with a unit or an error behind them if need be, and the blanks of a column of numbers.
fn is_number(cell: &str) -> bool {
    matches!(cell, "" | "-" | "–")
        || cell.trim_start_matches(['+', '-', '−', '<', '>', '~']).starts_with(|c: char| c.is_ascii_digit())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<Column> = (0..self.header.len()).map(|index| self.column(index)).collect();
        let rule = columns.iter().map(|column| "─".repeat(column.width)).collect();
        for row in [&self.header, &rule].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (cell, Column { width, numeric }) in row.iter().zip(&columns) {
                let cell = if *numeric { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                line.push_str(&cell);
                line.push_str("  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_numbers_right_and_words_left() {
        let mut table = Table::new(["model", "clean", "PGD-20", "ε"]);
        table.row(["simclr", "92.4 %", "0.0 %", "8/255"]).row(["random encoder", "9.1 %", "–"]);
        let expected = "\
model            clean  PGD-20      ε
──────────────  ──────  ──────  ─────
simclr          92.4 %   0.0 %  8/255
random encoder   9.1 %       –
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn empty_tables_and_long_rows_are_harmless() {
        assert_eq!(Table::new(["a", "b"]).to_string(), "a  b\n─  ─\n");
        assert_eq!(Table::new(["a"]).row(["1", "2"]).to_string(), "a\n─\n1\n");
        assert_eq!(Table::new(Vec::<String>::new()).to_string(), "\n\n");
    }
}
