//! One safe function per operation: checks shapes, states the logical shape of the launch, calls the device.

mod check;
mod clock;
mod cross_entropy;
mod nt_xent;
pub mod optim;
mod pgd;
mod random;
mod reduce;

pub use clock::record_step;
pub use cross_entropy::cross_entropy;
pub use nt_xent::{NtXent, NtXentWorkspace, nt_xent};
pub use optim::{AdamWSettings, ChunkTable, LarsSettings, LarsWorkspace, SgdSettings, adamw, lars, sgd};
pub use pgd::pgd_linf_step;
pub use random::random_start;
pub use reduce::weighted_sum;
