//! Ctrl-C and SIGTERM ask a run to stop at the next good moment; asked again, the process ends at once.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The exit code of a process that a signal from the keyboard ended, as [`Error::exit_code`] has it.
const EXIT_CODE: i32 = 130;

/// Listens for Ctrl-C, SIGTERM and SIGHUP from now on; further calls change nothing.
///
/// # Errors
/// [`Error::Device`] when the operating system refuses the handler.
pub fn install() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let handler = || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE);
        }
        let _ = writeln!(std::io::stderr(), "\nstopping after this step and saving; once more stops at once");
    };
    let installed = INSTALLED.get_or_init(|| ctrlc::set_handler(handler).map_err(|error| error.to_string()));
    installed.clone().map_err(|error| Error::Device(format!("cannot listen for Ctrl-C ({error}); please report it")))
}

/// Fails once the user has asked to stop: for work that has nothing to save.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn check() -> Result<()> {
    if requested() { Err(Error::Interrupted("stopped; nothing of this part is kept".to_owned())) } else { Ok(()) }
}

/// Whether the user has asked to stop: for the loop to poll after each step.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
