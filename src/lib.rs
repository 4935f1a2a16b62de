//! `rocl`: adversarial self-supervised contrastive learning (RoCL) on hand-written CUDA kernels.

pub mod device;
pub mod element;
pub mod error;

pub use error::{Error, Result};
