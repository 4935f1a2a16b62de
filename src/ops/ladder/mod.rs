//! Versions of three operations, from the plainest to the engine's own: learning material, and the record of why the kernels of the engine look as they
//! do (`kernels/ladder/`). The last rung of each is the engine's operation itself; nothing in the engine uses the others.

mod bn_backward;
mod nt_xent;
mod pgd;

pub use bn_backward::BnBackwardRung;
pub use nt_xent::{NtXentRung, NtXentScratch};
pub use pgd::PgdRung;
