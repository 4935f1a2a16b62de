//! STL-10 (Coates, Ng & Lee 2011), its binary files: images of 96×96 pixels in ten classes, scaled to 32×32 as they are read.
//!
//! `train_X.bin` and `test_X.bin` are rows of images, `train_y.bin` and `test_y.bin` a byte for each, the class from 1 to 10. An image is a red, a green
//! and a blue plane, each column by column. `unlabeled_X.bin` has images without a class. Files may be shorter than the official ones, and no file is
//! ever in memory as a whole: that of the unlabelled images has 2.8 GB, of which 307 MB are left.

mod shrink;

use super::{Dataset, IMAGE_BYTES, Split, cannot_be_read};
use crate::{Error, Result};
use rayon::prelude::*;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of an image in the files.
const STORED_BYTES: usize = 3 * shrink::BEFORE * shrink::BEFORE;

/// Images that are read at a time.
const AT_A_TIME: usize = 256;

/// The folder that the official archive unpacks to.
const ARCHIVE_FOLDER: &str = "stl10_binary";

/// The images without a class.
const UNLABELED: &str = "unlabeled_X.bin";

/// The classes' names, in the order of their labels.
const CLASSES: [&str; 10] = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"];

/// A folder that holds its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stl10 {
    path: PathBuf,
}

impl Stl10 {
    /// What `root` holds: itself, or in the folder inside it that the official archive unpacks to.
    pub fn find(root: &Path) -> Option<Self> {
        let mut folders = [root.to_owned(), root.join(ARCHIVE_FOLDER)].into_iter().map(|path| Self { path });
        let names = [images_of(Split::Train), images_of(Split::Test), UNLABELED.to_owned()];
        folders.find(|folder| names.iter().any(|name| folder.path.join(name).is_file()))
    }

    /// The folder with the files in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads one split, or its first `limit` images.
    ///
    /// # Errors
    /// [`Error::File`] when the split is not here, or a file cannot be read, is empty, damaged, or does not fit the other.
    pub fn read(&self, split: Split, limit: Option<usize>) -> Result<Dataset> {
        let [images, labels] = [images_of(split), format!("{}_y.bin", split.name())].map(|name| self.path.join(name));
        if let Some(absent) = [&images, &labels].into_iter().find(|path| !path.is_file()) {
            let (purpose, name) = (split.purpose(), absent.file_name().unwrap_or_default().display());
            return Err(self.lacks(format!("to {purpose} ({name})")));
        }
        let mut dataset = Dataset {
            name: "stl-10".to_owned(),
            images: Vec::new(),
            labels: Vec::new(),
            classes: CLASSES.map(str::to_owned).into(),
        };
        let there = stored_images(&images)?;
        let count = limit.map_or(there, |limit| limit.min(there));
        append_labels(&labels, there, count, &mut dataset.labels).map_err(|problem| damaged(&labels, &problem))?;
        append_images(&images, count, &mut dataset.images)?;
        Ok(dataset)
    }

    /// The images to train on and behind them those without labels, or the first `limit` of all these. They count as without labels: there are no classes,
    /// and every label is 0.
    ///
    /// # Errors
    /// As [`Stl10::read`].
    pub fn read_with_unlabeled(&self, limit: Option<usize>) -> Result<Dataset> {
        let mut dataset = self.read(Split::Train, limit)?;
        let rest = limit.map_or(usize::MAX, |limit| limit - dataset.len());
        let unlabeled = self.unlabeled_len()?.ok_or_else(|| self.lacks(format!("without labels ({UNLABELED})")))?;
        append_images(&self.path.join(UNLABELED), rest.min(unlabeled), &mut dataset.images)?;
        let len = dataset.images.len() / IMAGE_BYTES;
        Ok(Dataset { name: "stl-10 with unlabeled".to_owned(), labels: vec![0; len], classes: Vec::new(), ..dataset })
    }

    /// How many images without labels there are, where there is a file of them.
    ///
    /// # Errors
    /// [`Error::File`] when it is empty or damaged.
    pub fn unlabeled_len(&self) -> Result<Option<usize>> {
        let path = self.path.join(UNLABELED);
        path.is_file().then(|| stored_images(&path)).transpose()
    }

    fn lacks(&self, what: String) -> Error {
        Error::file(&self.path, format!("holds STL-10, but nothing {what}; add it, from the archive that has all of its files"))
    }
}

/// The file with the images of a split.
fn images_of(split: Split) -> String {
    format!("{}_X.bin", split.name())
}

/// How many images a file has.
fn stored_images(path: &Path) -> Result<usize> {
    let bytes = std::fs::metadata(path).map_err(|error| damaged(path, &cannot_be_read(error)))?.len();
    match bytes {
        0 => Err(damaged(path, "is empty")),
        _ if bytes % STORED_BYTES as u64 != 0 => {
            let problem =
                format!("ends inside an image: its {bytes} bytes are no multiple of the {STORED_BYTES} of 96×96 pixels");
            Err(damaged(path, &problem))
        }
        _ => Ok((bytes / STORED_BYTES as u64) as usize),
    }
}

/// Appends the first `count` labels of a file that is to have one for each of `images`, or says what is wrong with it.
fn append_labels(path: &Path, images: usize, count: usize, labels: &mut Vec<u8>) -> Result<(), String> {
    let file = File::open(path).map_err(cannot_be_read)?;
    let found = file.metadata().map_err(cannot_be_read)?.len();
    if found != images as u64 {
        return Err(format!("has {found} labels for {images} images"));
    }
    file.take(count as u64).read_to_end(labels).map_err(cannot_be_read)?;
    for (index, label) in labels.iter_mut().enumerate() {
        if !(1..=CLASSES.len() as u8).contains(label) {
            return Err(format!("has the label {label} for image {index}, but STL-10 has the labels 1 to {}", CLASSES.len()));
        }
        *label -= 1;
    }
    Ok(())
}

/// Appends the first `count` images of a file that has so many, scaled.
fn append_images(path: &Path, count: usize, images: &mut Vec<u8>) -> Result<()> {
    let unreadable = |error| damaged(path, &cannot_be_read(error));
    let mut file = File::open(path).map_err(unreadable)?;
    images.reserve_exact(count * IMAGE_BYTES);
    let mut stored = vec![0; count.min(AT_A_TIME) * STORED_BYTES];
    for first in (0..count).step_by(AT_A_TIME) {
        let stored = &mut stored[..AT_A_TIME.min(count - first) * STORED_BYTES];
        file.read_exact(stored).map_err(unreadable)?;
        let start = images.len();
        images.resize(start + stored.len() / STORED_BYTES * IMAGE_BYTES, 0);
        let scaled = images[start..].par_chunks_exact_mut(IMAGE_BYTES);
        scaled.zip(stored.par_chunks_exact(STORED_BYTES)).for_each(|(image, stored)| shrink::shrink(stored, image));
    }
    Ok(())
}

fn damaged(path: &Path, problem: &str) -> Error {
    Error::file(path, format!("{problem}; unpack it again from the archive"))
}
