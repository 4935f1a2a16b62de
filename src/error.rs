//! The one error type of the crate.
//!
//! Every message is a sentence a user can act on: what is wrong, with the offending value, and what to do about it.

use std::path::{Path, PathBuf};

/// What can go wrong, grouped by what the user has to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A flag, recipe key or argument that cannot be meant. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Tensors whose shapes, devices or memory do not fit the operation.
    #[error("{op}: {message}")]
    Shape {
        /// The operation that refused.
        op: &'static str,
        /// What does not fit.
        message: String,
    },
    /// A file that is missing, unreadable, truncated or of another kind.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        message: String,
    },
    /// A file that cannot be had from where it should come.
    #[error("{url}: {message}")]
    Download {
        /// The place.
        url: String,
        /// What went wrong, and the remedy.
        message: String,
    },
    /// A device that is absent or failed.
    #[error("{0}")]
    Device(String),
    /// A computation that left the realm of finite numbers.
    #[error("{0}")]
    Numeric(String),
    /// The user asked the run to stop; what was reached has been saved.
    #[error("{0}")]
    Interrupted(String),
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A refusal of `op` because of a shape, a device or an overlap in memory.
    pub fn shape(op: &'static str, message: impl Into<String>) -> Self {
        Self::Shape { op, message: message.into() }
    }

    /// A problem with a file, with the remedy in `message`.
    pub fn file(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::File { path: path.as_ref().to_owned(), message: message.into() }
    }

    /// The process exit code: 2 for misuse, 130 for an interruption, 1 for any other failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Interrupted(_) => 130,
            _ => 1,
        }
    }
}
