//! `rocl`: adversarial self-supervised contrastive learning (RoCL) on hand-written CUDA kernels.

pub mod data;
pub mod error;

pub use error::{Error, Result};
