//! Results on standard output, remarks on standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use crate::run::atomic;
use crate::{Error, Result};

/// Prints a line. When the reader has closed the pipe (`| head`) nothing is printed and nothing is wrong: results are in files
/// too.
///
/// # Errors
/// [`Error::File`] when standard output cannot be written for another reason, such as a full disk behind a redirection.
pub fn print(line: impl Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::file("standard output", format!("cannot be written ({error}); check where it is redirected to")))
        }
        _ => Ok(()),
    }
}

/// `1 step` or `2 steps`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Prints a line on standard error. It is for people: with standard error closed the command goes on.
pub fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints `value` as one line of JSON.
///
/// # Errors
/// As [`print()`], and [`Error::Numeric`] for a value that has no JSON form.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(
        serde_json::to_string(value)
            .map_err(|error| Error::Numeric(format!("a result has no JSON form ({error}); omit --json")))?,
    )
}

/// Writes `value` as JSON into the file at `path`.
///
/// # Errors
/// Those of [`atomic::write`], and [`Error::Numeric`] for a value that has no JSON form.
pub fn save_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| {
        Error::Numeric(format!("a result has no JSON form ({error}), so that {} is not written; report it", path.display()))
    })?;
    atomic::write(path, |file| file.write_all(&text))
}

/// The text with control characters spelt out, but for line ends and tabs: messages quote what files and arguments hold, and a terminal obeys it.
pub fn printable(text: &str) -> String {
    let spelt =
        |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(spelt).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn terminals_get_no_orders() {
        assert_eq!(printable("a\tb\nc ε"), "a\tb\nc ε");
        assert_eq!(printable("\u{1b}[31mred\u{0}\r"), "\\u{1b}[31mred\\u{0}\\r");
    }
}
