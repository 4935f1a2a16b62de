//! Images: where they come from, and how an epoch draws from them.
//!
//! [`Source`] names a data set as the command line does (`textures` or a folder) and opens a [`Split`] of it as a [`Dataset`], held in
//! memory as 8-bit NHWC. [`sampling::EpochPlan`] then draws the order of an epoch and the [`augmentation`] of every view.

pub mod augmentation;
pub mod cifar;
pub mod sampling;
pub mod stream;
pub mod textures;
pub mod validation;

use crate::Result;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Height and width of every image, in pixels.
pub const IMAGE_SIDE: usize = 32;

/// Channels of every image: red, green, blue.
pub const IMAGE_CHANNELS: usize = 3;

/// Bytes of one image.
pub const IMAGE_BYTES: usize = IMAGE_SIDE * IMAGE_SIDE * IMAGE_CHANNELS;

/// Which part of a data set: what is trained on, or what is only ever measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training.
    Train,
    /// For evaluation only.
    Test,
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

/// Where a user says the images are: `--data textures`, or `--data FOLDER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The built-in set, see [`textures`].
    Textures,
    /// A folder of CIFAR-10 binary files, see [`cifar`].
    Folder(PathBuf),
}

impl Source {
    /// Opens one split, or its first `limit` images.
    ///
    /// # Errors
    /// For a folder, those of [`cifar::read`]; the built-in set always opens.
    pub fn open(&self, split: Split, limit: Option<usize>) -> Result<Dataset> {
        match self {
            Self::Textures => {
                let len = textures::default_len(split);
                Ok(textures::render(textures::SEED, split, limit.unwrap_or(len).min(len)))
            }
            Self::Folder(folder) => cifar::read(folder, split, limit),
        }
    }
}

impl FromStr for Source {
    type Err = Infallible;

    /// `textures` is the built-in set; anything else is a folder (`./textures` for one of that name).
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "textures" { Self::Textures } else { Self::Folder(text.into()) })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Textures => f.write_str("textures"),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
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

    #[test]
    fn a_source_is_read_as_it_is_written() {
        for text in ["textures", "./textures", "/data/cifar"] {
            let Ok(source) = text.parse::<Source>();
            assert_eq!(source.to_string(), text);
        }
        assert_eq!("textures".parse(), Ok(Source::Textures));
    }

    #[test]
    fn the_limit_is_at_most_the_whole_split() {
        assert_eq!(Source::Textures.open(Split::Test, Some(7)).unwrap().len(), 7);
        assert_eq!(Source::Textures.open(Split::Test, Some(usize::MAX)).unwrap().len(), textures::default_len(Split::Test));
    }
}
