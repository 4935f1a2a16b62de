//! Devices that tests run on, files that they compare with, the program, and how a test says that it was skipped.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod altered;
pub mod devices;
#[path = "../fake_cuda/mod.rs"]
pub mod fake_cuda;
pub mod python;
pub mod skipped;

pub use skipped::skipped;

use std::path::PathBuf;

/// The repository, or the part of it that tests read: the folder that `ROCL_ROOT` names, else the current one, else where the tests were built.
pub fn root() -> PathBuf {
    let named = std::env::var_os("ROCL_ROOT").map(PathBuf::from);
    let here = || std::env::current_dir().ok().filter(|folder| folder.join("tests/golden").is_dir());
    named.or_else(here).unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")))
}

/// The program `rocl`: the file that `ROCL_BIN` names, else the one built with the tests. It listens to signals, though the tests may have been started
/// to ignore them, as by `nohup` or in the background of a script.
pub fn program() -> PathBuf {
    #[cfg(unix)]
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the default is a disposition that any of these signals may have; children inherit it.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    std::env::var_os("ROCL_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_rocl")), PathBuf::from)
}

/// A committed recording.
pub fn committed(name: &str) -> PathBuf {
    root().join("tests/golden").join(name)
}

/// A larger recording, in `golden/` of the folder `ROCL_SHARED` names, or of `../shared`; says so where there is none.
pub fn shared(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ROCL_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = folder.join("golden").join(name);
    if !path.exists() {
        skipped(format!("{} is not there", path.display()));
        return None;
    }
    Some(path)
}
