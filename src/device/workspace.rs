//! Memory that libraries compute in.

use super::Device;
use crate::{Error, Result};

/// What scratch memory is for that all library calls share.
pub(super) const WORKSPACE: &str = "workspace";

/// Device memory that a library may scribble in; all its plans may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// A multiple of 256, as allocations are; 0 where there is none.
    pub address: u64,
    /// Its size.
    pub bytes: usize,
}

impl Device {
    /// See [`Cuda::workspace`](super::Cuda::workspace); a dry device notes that it is wanted.
    pub(super) fn workspace(&self, bytes: usize) -> Result<Workspace> {
        match self {
            Self::Cuda(cuda) => cuda.workspace(bytes),
            Self::Dry(dry) => {
                dry.scratch(WORKSPACE, bytes);
                Ok(Workspace { address: dry.address(bytes), bytes })
            }
            Self::Host(_) => Err(Error::shape("workspace", "no library computes on a CPU")),
        }
    }
}
