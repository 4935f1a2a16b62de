//! Adversarial self-supervised contrastive learning (RoCL, Kim, Tack & Hwang 2020) on hand-written CUDA kernels.
//!
//! The library behind the `rocl` program. Its kernels are CUDA C++, built by a C++ compiler for the CPU and by nvcc for GPUs; a [`Device`] is either.
//!
//! # The layers
//!
//! Each builds on those below it:
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | one file per subcommand: arguments, a call into [`recipe`], a printed result |
//! | [`mod@bench`] | what a step costs: measured, counted, predicted |
//! | [`trial`] | whether a device computes what the CPU does |
//! | [`recipe`] | what a user asks for: [`Pretraining`](recipe::pretrain::Pretraining) is Algorithm 1 of the paper, step by step |
//! | [`attack`], [`loss`], [`nn`], [`optim`] | the parts of a step; layers have `forward` and `backward` written out, over buffers allocated once |
//! | [`data`], [`run`], [`report`] | images and their augmentations; checkpoints, log, progress; tables |
//! | [`ops`], [`own`] | one safe function per operation: checks shapes, then launches a kernel or calls a library; launches of kernels from elsewhere |
//! | [`device`] | memory, launches, CPU and GPU as devices, convolution and matrix product |
//!
//! [`Tensor`] is a typed handle on device memory, [`element`] says which number types there are, and every fallible call returns
//! [`Error`], whose message is a sentence with a remedy.
//!
//! # Conventions
//!
//! Activations are NHWC and filters KRSC, row-major. Images are 32×32 RGB, their pixels in [0, 1]; ε and step sizes are in these units. A model
//! may normalise them before its stem ([`nn::Normalization`]); the paper's do not. Batches of several views hold the rows of a view together.
//! `T` is the storage type of activations, `T::Real` (or `R`) the type of arithmetic, images, losses, statistics and master weights: `f32`, or
//! `f64` in gradient checks.
//!
//! # One step of an attack
//!
//! A kernel, called through its operation: x moves by α along the sign of the gradient and stays within ε of the clean image.
//!
//! ```
//! use rocl::{Device, Tensor, ops};
//!
//! # fn main() -> rocl::Result<()> {
//! let device = Device::host()?;
//! let clean = Tensor::<f32>::from_slice(&device, [4], &[0.5, 0.5, 0.5, 1.0])?;
//! let gradient = Tensor::<f32>::from_slice(&device, [4], &[3.0, -0.1, 0.0, 1.0])?;
//! let x = Tensor::<f32>::zeros(&device, [4])?;
//! x.copy_from(&clean)?;
//!
//! let (step_size, epsilon) = (0.25, 0.125);
//! ops::pgd_linf_step(&x, &gradient, &clean, step_size, epsilon)?;
//! assert_eq!(x.to_vec()?, [0.625, 0.375, 0.5, 1.0]);
//! # Ok(())
//! # }
//! ```
//!
//! # A contrastive loss
//!
//! Two views of two images, embedded in the plane: each image's views agree, so the loss is below ln 3, that of embeddings which are all the
//! same. `loss` and `gradient` stay on the device until they are read.
//!
//! ```
//! use rocl::loss::{EmbeddingLoss, NtXent};
//! use rocl::{Device, Tensor};
//!
//! # fn main() -> rocl::Result<()> {
//! let device = Device::host()?;
//! let (views, images, temperature) = (2, 2, 0.5);
//! let z = Tensor::<f32>::from_slice(&device, [views * images, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0])?;
//! let (gradient, loss) = (Tensor::zeros(&device, z.shape())?, Tensor::zeros(&device, [1])?);
//!
//! let nt_xent = NtXent::new(&device, z.rows_len(), temperature, 1, true)?;
//! nt_xent.evaluate(&z, views, 1.0, &gradient, z.rows_len(), &loss)?;
//!
//! // exp(s) is e² for the other view of the image and 1 for both views of the other image.
//! let expected = -(2f32.exp() / (2f32.exp() + 2.0)).ln();
//! assert!((loss.to_vec()?[0] - expected).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
//!
//! # Your own loss or attack
//!
//! Implement [`loss::EmbeddingLoss`] or [`attack::Attack`]; the built-in [`loss::NtXent`] and [`attack::Pgd`] are written against the same
//! traits. Kernels of your own stay in your crate, and are launched by the functions of [`own`]. `docs/extending.md` shows both from beginning to end;
//! `kernels/README.md`, how a kernel is written.

// Every public item says what it is, with shapes, units and errors.
#![warn(missing_docs)]

pub mod attack;
pub mod bench;
pub mod cli;
pub mod data;
pub mod device;
pub mod element;
pub mod error;
pub mod loss;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod own;
pub mod recipe;
pub mod report;
pub mod run;
#[cfg(test)]
#[path = "../tests/common/skipped.rs"]
mod skipped;
pub mod tensor;
pub mod trial;

pub use device::Device;
pub use error::{Error, Result};
pub use tensor::Tensor;
