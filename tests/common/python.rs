//! A Python to compare with.

use super::{root, skipped};
use std::path::PathBuf;
use std::process::Command;

/// A Python that has some packages: the one that `ROCL_PYTHON` names, else `target/venv/bin/python`.
pub struct Python(pub PathBuf);

impl Python {
    /// Says that the test is skipped where there is none. One that was asked for has to do.
    pub fn with(packages: &str) -> Option<Self> {
        let asked = std::env::var_os("ROCL_PYTHON").map(PathBuf::from);
        let python = asked.clone().unwrap_or_else(|| root().join("target/venv/bin/python"));
        let output = Command::new(&python).arg("-c").arg(format!("import {packages}")).output();
        if output.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(python));
        }
        assert!(asked.is_none(), "ROCL_PYTHON is {}, which has no {packages}: {output:?}", python.display());
        skipped(format!("no Python with {packages}; set ROCL_PYTHON to one, or see tools/README.md"));
        None
    }
}
