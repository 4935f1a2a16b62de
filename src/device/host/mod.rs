//! The CPU: convolution and matrix product on the threads of the current rayon pool.

pub mod conv;
pub mod matmul;

mod convert;
mod isa;
mod kernel;
mod scratch;
mod simd;

pub use kernel::Kernels;
