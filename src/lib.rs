//! `rocl`: adversarial self-supervised contrastive learning (RoCL) on hand-written CUDA kernels.

pub mod cli;
pub mod error;
pub mod optim;
pub mod recipe;
pub mod report;
pub mod run;

pub use error::{Error, Result};
