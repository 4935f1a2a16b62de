//! Results on standard output, remarks on standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use serde::Serialize;

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
