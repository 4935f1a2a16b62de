//! Kernels of your own: launch functions for those in the folders that `ROCL_KERNELS` names during the build.
//!
//! A crate that depends on this one keeps its kernels in a folder of its own, say `kernels/`, and says so in its `.cargo/config.toml`:
//!
//! ```toml
//! [env]
//! ROCL_KERNELS = { value = "kernels", relative = true }
//! ```
//!
//! A kernel `KERNEL(halve)(Real* INPLACE x, int64_t n)` in `kernels/halve.cu` is then `rocl::own::halve(work, &x, n)`, on the CPU and, with the feature
//! `cuda`, on a GPU. Like the engine's own launch functions it refuses tensors on different devices, or that overlap where one is written; and like
//! those it **knows nothing of shapes**: a kernel reads and writes what its arguments tell it to. So a function of yours comes between, which holds
//! them against the tensors, by [`ops::check`](crate::ops::check) for instance, and says what [`Work`] there is:
//!
//! ```ignore
//! pub fn halve<R: Real>(x: &Tensor<R>) -> Result<()> {
//!     own::halve(Work::Elements(x.len()), x, x.len() as i64)
//! }
//! ```
//!
//! `docs/extending.md` goes through a loss and an attack with kernels of their own; `kernels/README.md` has the rules that a kernel keeps.
//! Without `ROCL_KERNELS` this module is empty but for [`KERNELS`].

pub use crate::device::Work;

#[allow(unused_imports, reason = "which of them are used depends on the kernels")]
use crate::{
    Result, Tensor,
    device::launch::{Access, Arguments, CudaEntry, Kernel},
    element::{Element, Real},
};

include!(concat!(env!("OUT_DIR"), "/own.rs"));
