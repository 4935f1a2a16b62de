//! Environment variables for finding faults. They make a run slower and its results no better.

use crate::{Error, Result};

/// `ROCL_CONV=direct`: convolutions and matrix products as portable kernels instead of library calls.
pub(super) fn direct_convolution() -> Result<bool> {
    switch("ROCL_CONV", "direct")
}

/// `ROCL_CUDA_SYNC=1`: every launch is waited for, so that a failure names its kernel.
pub(super) fn synchronous() -> Result<bool> {
    switch("ROCL_CUDA_SYNC", "1")
}

/// Whether the variable has its one value; unset and empty mean no.
fn switch(variable: &str, on: &str) -> Result<bool> {
    match std::env::var_os(variable) {
        Some(value) if value == on => Ok(true),
        Some(value) if !value.is_empty() => {
            Err(Error::Usage(format!("{variable} is {value:?}, but can only be {on}; set it so, or unset it")))
        }
        _ => Ok(false),
    }
}
