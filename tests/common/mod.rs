//! Files that tests compare with, and how a test says that it was skipped.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod altered;

use std::io::Write;
use std::path::PathBuf;

/// The repository.
pub fn root() -> PathBuf {
    std::env::var_os("ROCL_ROOT").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
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
        skipped(&format!("{} is not there", path.display()));
        return None;
    }
    Some(path)
}

/// Says that a test, or a part of it, did not run. The harness shows what a passing test prints to nobody, so this goes past it.
pub fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // Nowhere to complain about a standard error that is closed.
    let _ = writeln!(std::io::stderr(), "skipped: {why} ({name})");
}
