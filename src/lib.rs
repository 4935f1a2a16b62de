//! `rocl`: adversarial self-supervised contrastive learning (RoCL) on hand-written CUDA kernels.

pub mod attack;
pub mod cli;
pub mod data;
pub mod device;
pub mod element;
pub mod error;
pub mod loss;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod recipe;
pub mod report;
pub mod run;
pub mod tensor;

pub use device::Device;
pub use error::{Error, Result};
pub use tensor::Tensor;
