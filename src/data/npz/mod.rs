//! Images in NumPy's `.npz` files.
//!
//! Images are an array of unsigned bytes `[n, 32, 32, 3]` (NHWC), labels one of integers, `[n]` or `[n, 1]`. Either a folder holds `train.npz` and
//! `test.npz`, each with the arrays `images` (or `x`, `data`) and `labels` (or `y`); or one file has `train_images`, `train_labels`,
//! `test_images` and `test_labels` (or `x_train`, `y_train`, `x_test` and `y_test`). The classes are 0 to the highest label of both splits.

mod archive;
mod npy;

use super::{Dataset, Split, name_of};
use crate::{Error, Result};
use archive::Archive;
use std::path::{Path, PathBuf};

/// Where the arrays are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Npz {
    /// One file with both splits.
    File(PathBuf),
    /// A folder with a file for each split.
    Folder(PathBuf),
}

/// The names that images and labels may have.
struct Names {
    images: &'static [&'static str],
    labels: &'static [&'static str],
}

impl Npz {
    /// What `folder` holds, if there is a file of a split in it.
    pub fn find(folder: &Path) -> Option<Self> {
        let found = Self::Folder(folder.to_owned());
        [Split::Train, Split::Test].iter().any(|&split| found.file(split).is_file()).then_some(found)
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) => path,
        }
    }

    /// Reads one split, or its first `limit` images.
    ///
    /// # Errors
    /// [`Error::File`] when the split is not there, or its arrays are damaged, of another shape or type, or do not fit each other.
    pub fn read(&self, split: Split, limit: Option<usize>) -> Result<Dataset> {
        let labels = self.labels(split)?.ok_or_else(|| self.lacks(split))?;
        // Of both splits, so that a head fitted on one fits the other.
        let other = self.labels(split.other())?.unwrap_or_default();
        let highest = labels.iter().chain(&other).max().copied().unwrap_or_default();
        let count = limit.map_or(labels.len(), |limit| limit.min(labels.len()));
        let path = self.file(split);
        let images = self.open(split)?.images(self.names(split).images, labels.len(), count);
        Ok(Dataset {
            name: name_of(self.path()),
            images: images.map_err(|problem| Error::file(&path, problem))?,
            labels: labels[..count].to_vec(),
            classes: (0..=highest).map(|class| class.to_string()).collect(),
        })
    }

    /// The labels of a split, if the split is there.
    fn labels(&self, split: Split) -> Result<Option<Vec<u8>>> {
        let (path, names) = (self.file(split), self.names(split));
        if !path.is_file() {
            return Ok(None);
        }
        let mut archive = self.open(split)?;
        if matches!(self, Self::File(_)) && !archive.has(names.images) && !archive.has(names.labels) {
            return Ok(None);
        }
        archive.labels(names.labels).map(Some).map_err(|problem| Error::file(&path, problem))
    }

    fn open(&self, split: Split) -> Result<Archive> {
        let path = self.file(split);
        Archive::open(&path).map_err(|problem| Error::file(&path, problem))
    }

    /// The file that a split is in.
    fn file(&self, split: Split) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Folder(folder) => folder.join(format!("{}.npz", split.name())),
        }
    }

    fn names(&self, split: Split) -> Names {
        match (self, split) {
            (Self::Folder(_), _) => Names { images: &["images", "x", "data"], labels: &["labels", "y"] },
            (Self::File(_), Split::Train) => Names { images: &["train_images", "x_train"], labels: &["train_labels", "y_train"] },
            (Self::File(_), Split::Test) => Names { images: &["test_images", "x_test"], labels: &["test_labels", "y_test"] },
        }
    }

    /// What is said when a split is not there.
    fn lacks(&self, split: Split) -> Error {
        let (name, purpose) = (split.name(), split.purpose());
        let message = match self {
            Self::Folder(_) => format!("holds nothing to {purpose}; add {name}.npz, or give another folder"),
            Self::File(_) => format!(
                "has no array {name}_images or x_{name}, so nothing to {purpose}; name its arrays {name}_images and {name}_labels, or give a \
                 folder with train.npz and test.npz"
            ),
        };
        Error::file(self.path(), message)
    }
}
