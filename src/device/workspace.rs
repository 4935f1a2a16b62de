//! Memory that libraries compute in.

/// Device memory that a library may scribble in; all its plans may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// A multiple of 256, as allocations are.
    pub address: u64,
    /// Its size.
    pub bytes: usize,
}
