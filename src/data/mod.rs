//! Images: where they come from, and how an epoch draws from them.
//!
//! [`Source`] names a data set as the command line does (`textures` or a path) and opens a [`Split`] of it as a [`Dataset`], held in
//! memory as 8-bit NHWC; [`mod@fetch`] downloads one. [`sampling::EpochPlan`] then draws the order of an epoch and the [`augmentation`] of every view.

pub mod augmentation;
pub mod cifar;
pub mod fetch;
pub mod image_folder;
pub mod npz;
mod numpy;
mod pickle;
pub mod sampling;
mod source;
pub mod stl10;
pub mod stream;
pub mod textures;
pub mod validation;

pub use source::Source;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Height and width of every image, in pixels.
pub const IMAGE_SIDE: usize = 32;

/// Channels of every image: red, green, blue.
pub const IMAGE_CHANNELS: usize = 3;

/// Bytes of one image.
pub const IMAGE_BYTES: usize = IMAGE_SIDE * IMAGE_SIDE * IMAGE_CHANNELS;

/// Classes at most: a label is a byte.
pub const MOST_CLASSES: usize = 256;

/// Which part of a data set: what is trained on, or what is only ever measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training.
    Train,
    /// For evaluation only.
    Test,
}

impl Split {
    /// What files and folders of it are called, `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Train => Self::Test,
            Self::Test => Self::Train,
        }
    }

    /// What it is there for, for messages.
    fn purpose(self) -> &'static str {
        match self {
            Self::Train => "train on",
            Self::Test => "test on",
        }
    }
}

/// Labelled images in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What tables and logs call it.
    pub name: String,
    /// The pixels, `[len, 32, 32, 3]` (NHWC), 8 bits each.
    pub images: Vec<u8>,
    /// One index into `classes` for each image.
    pub labels: Vec<u8>,
    /// The classes' names.
    pub classes: Vec<String>,
}

/// What tells a data set from others, for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the data set.
    pub name: String,
    /// How many images.
    pub images: usize,
    /// [`Dataset::sha256`].
    pub sha256: String,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one image, `[32, 32, 3]`.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len), as for a slice.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[index * IMAGE_BYTES..][..IMAGE_BYTES]
    }

    /// SHA-256 of all pixels and then all labels, as 64 hexadecimal digits: tells these images from others.
    pub fn sha256(&self) -> String {
        let sum = Sha256::new().chain_update(&self.images).chain_update(&self.labels).finalize();
        sum.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a report says of these images.
    pub fn identity(&self) -> Identity {
        Identity { name: self.name.clone(), images: self.len(), sha256: self.sha256() }
    }

    /// The first `limit` images, or all where there are fewer (as `Iterator::take`).
    pub fn take(mut self, limit: usize) -> Self {
        self.labels.truncate(limit);
        self.images.truncate(self.labels.len() * IMAGE_BYTES);
        self
    }

    /// The images at `indices`, in that order; an index may come more than once.
    ///
    /// # Panics
    /// When an index is not below [`len`](Self::len), as for a slice.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            name: self.name.clone(),
            images: indices.iter().flat_map(|&index| self.image(index)).copied().collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            classes: self.classes.clone(),
        }
    }
}

/// What is said of a file that the system does not give.
fn cannot_be_read(error: std::io::Error) -> String {
    format!("cannot be read ({error})")
}

/// What tables and logs call the images at `path`: `flowers.npz`, or `folder flowers`, which is no other set's name.
fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    if path.is_dir() { format!("folder {name}") } else { name.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(len: u8) -> Dataset {
        Dataset {
            name: "numbered".into(),
            images: (0..len).flat_map(|value| [value; IMAGE_BYTES]).collect(),
            labels: (0..len).map(|index| index % 10).collect(),
            classes: (0..10).map(|class| class.to_string()).collect(),
        }
    }

    #[test]
    fn take_keeps_the_first_images() {
        let taken = numbered(12).take(5);
        assert_eq!((taken.len(), taken.images.len()), (5, 5 * IMAGE_BYTES));
        assert_eq!(taken.image(4), [4; IMAGE_BYTES]);
        assert_eq!(numbered(12).take(100), numbered(12));
        assert!(numbered(12).take(0).is_empty());
    }

    #[test]
    fn select_follows_the_indices() {
        let picked = numbered(12).select(&[11, 0, 11]);
        assert_eq!(picked.labels, [1, 0, 1]);
        assert_eq!(picked.image(2), [11; IMAGE_BYTES]);
    }
}
