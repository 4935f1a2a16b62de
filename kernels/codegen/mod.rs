//! Code generation for the build: what `build.rs` derives from the kernels' signatures.

pub mod host;
pub mod launch;
pub mod signature;
