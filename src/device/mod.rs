//! Where the work is done.

pub mod host;
