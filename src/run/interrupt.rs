//! Ctrl-C and SIGTERM ask a run to stop at the next good moment; asked again, the process ends at once.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The exit code of a process that a signal from the keyboard ended, as [`Error::exit_code`] has it.
const EXIT_CODE: i32 = 130;

/// Listens for Ctrl-C, SIGTERM and SIGHUP from now on, but for those that the process was started to ignore, as by `nohup`; further calls change nothing.
///
/// # Errors
/// [`Error::Device`] when the operating system refuses the handler.
pub fn install() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let handler = || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE);
        }
        let _ = writeln!(std::io::stderr(), "\nstopping as soon as this step is done; once more stops at once");
    };
    let installed = INSTALLED.get_or_init(|| {
        let ignored = ignored::signals();
        let installed = ctrlc::set_handler(handler).map_err(|error| error.to_string());
        ignored::again(&ignored);
        installed
    });
    installed.clone().map_err(|error| Error::Device(format!("cannot listen for Ctrl-C ({error}); please report it")))
}

/// Fails once the user has asked to stop: for work that has nothing to save.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn check() -> Result<()> {
    if requested() {
        return Err(Error::Interrupted("stopped; what was being computed is not kept, so run the command again".to_owned()));
    }
    Ok(())
}

/// Whether the user has asked to stop: for the loop to poll after each step.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Signals that stay ignored: `nohup` has its program survive the terminal, a shell its jobs in the background Ctrl-C.
#[cfg(unix)]
mod ignored {
    const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

    /// Those that are ignored now.
    pub fn signals() -> Vec<libc::c_int> {
        let is_ignored = |signal: &libc::c_int| {
            // SAFETY: all zeros are a valid `sigaction`.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: changes nothing, and writes to live memory.
            unsafe { libc::sigaction(*signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN }
        };
        SIGNALS.into_iter().filter(is_ignored).collect()
    }

    /// Ignores them again.
    pub fn again(signals: &[libc::c_int]) {
        for &signal in signals {
            // SAFETY: SIG_IGN is a disposition that any of these signals may have.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

#[cfg(not(unix))]
mod ignored {
    pub fn signals() -> Vec<i32> {
        Vec::new()
    }

    pub fn again(_: &[i32]) {}
}
