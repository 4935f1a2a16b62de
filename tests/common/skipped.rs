//! How a test says that it was skipped.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Write;

/// Says that a test, or a part of it, did not run. The harness shows what a passing test prints to nobody, so this goes past it.
pub fn skipped(why: impl std::fmt::Display) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    // Nowhere to complain about a standard error that is closed.
    let _ = std::io::stderr().write_all(format!("skipped: {why} ({name})\n").as_bytes());
}

/// As [`skipped`], for want of what can be had on any machine (`tools/cuda/`): with `ROCL_STRICT`, as in `.ci/run`, it has to be there.
pub fn missing(what: impl std::fmt::Display) {
    assert!(std::env::var_os("ROCL_STRICT").is_none(), "{what}");
    skipped(what);
}
