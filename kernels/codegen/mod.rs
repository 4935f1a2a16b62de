//! Code generation for the build: what `build.rs` derives from the kernels' signatures, and how nvcc is run.

pub mod cuda;
pub mod host;
pub mod launch;
pub mod nvcc;
pub mod signature;
pub mod source;
pub mod toolkit;
pub mod unit;
