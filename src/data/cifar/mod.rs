//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009), in the two encodings that their authors publish.
//!
//! The binary version and the Python version, which torchvision downloads, hold the same images in the same order.
//! Files may be shorter than the official ones, and some of CIFAR-10's training files may be missing: a subset is read as it is.

mod binary;
mod classes;
mod python;

use super::{Dataset, IMAGE_BYTES, IMAGE_CHANNELS, Split};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Which of the two data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cifar {
    /// Ten classes, 50,000 images to train on and 10,000 to test on.
    Cifar10,
    /// A hundred classes ("fine labels"), as many images.
    Cifar100,
}

impl Cifar {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cifar10, Self::Cifar100];

    /// What tables and logs call it, `cifar-10` or `cifar-100`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar-10",
            Self::Cifar100 => "cifar-100",
        }
    }

    /// What people call it, `CIFAR-10` or `CIFAR-100`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
        }
    }

    /// What `rocl fetch` calls it, `cifar10` or `cifar100`.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
        }
    }

    /// The classes' names, in the order of their labels.
    pub fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &classes::CIFAR_10,
            Self::Cifar100 => &classes::CIFAR_100,
        }
    }

    /// The files of a split, in order, without their ending.
    fn stems(self, split: Split) -> &'static [&'static str] {
        match (self, split) {
            (Self::Cifar10, Split::Train) => &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
            (Self::Cifar10, Split::Test) => &["test_batch"],
            (Self::Cifar100, Split::Train) => &["train"],
            (Self::Cifar100, Split::Test) => &["test"],
        }
    }

    /// A label, if it is one of the data set's.
    fn label(self, number: i128) -> Option<u8> {
        u8::try_from(number).ok().filter(|&label| usize::from(label) < self.classes().len())
    }

    /// What is said of a label that is none.
    fn no_label(self, index: usize, label: i128) -> String {
        format!("record {index} has the label {label}, but {} has the labels 0 to {}", self.title(), self.classes().len() - 1)
    }
}

/// How the images are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Records of label and pixels.
    Binary,
    /// Pickled dictionaries of arrays.
    Python,
}

impl Encoding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Binary, Self::Python];

    /// The ending of its files.
    fn ending(self) -> &'static str {
        match self {
            Self::Binary => ".bin",
            Self::Python => "",
        }
    }
}

/// The folder that the official archive unpacks to.
pub fn archive_folder(cifar: Cifar, encoding: Encoding) -> &'static str {
    match (cifar, encoding) {
        (Cifar::Cifar10, Encoding::Binary) => "cifar-10-batches-bin",
        (Cifar::Cifar10, Encoding::Python) => "cifar-10-batches-py",
        (Cifar::Cifar100, Encoding::Binary) => "cifar-100-binary",
        (Cifar::Cifar100, Encoding::Python) => "cifar-100-python",
    }
}

/// A folder that holds files of one of the data sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    cifar: Cifar,
    encoding: Encoding,
    path: PathBuf,
}

impl Folder {
    /// What `root` holds of this data set in this encoding: itself, or in the folder inside it that the official archive unpacks to.
    pub fn find(root: &Path, cifar: Cifar, encoding: Encoding) -> Option<Self> {
        let candidates = [root.to_owned(), root.join(archive_folder(cifar, encoding))].into_iter();
        let mut folders = candidates.map(|path| Self { cifar, encoding, path });
        folders.find(|folder| [Split::Train, Split::Test].iter().any(|&split| folder.files(split).next().is_some()))
    }

    /// The folder with the files in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of a split that are there, in order.
    fn files(&self, split: Split) -> impl Iterator<Item = PathBuf> + '_ {
        let names = self.cifar.stems(split).iter().map(|stem| format!("{stem}{}", self.encoding.ending()));
        names.map(|name| self.path.join(name)).filter(|path| path.is_file())
    }

    /// Reads one split, or its first `limit` images.
    ///
    /// # Errors
    /// [`Error::File`] when the split has no file here, or one cannot be read, is empty, damaged, or has a label that is none of the data set's.
    pub fn read(&self, split: Split, limit: Option<usize>) -> Result<Dataset> {
        let classes = self.cifar.classes().iter().map(ToString::to_string).collect();
        let mut dataset = Dataset { name: self.cifar.name().into(), images: Vec::new(), labels: Vec::new(), classes };
        for path in self.files(split) {
            let wanted = limit.map_or(usize::MAX, |limit| limit - dataset.len());
            if wanted == 0 {
                return Ok(dataset);
            }
            let appended = match self.encoding {
                Encoding::Binary => binary::append(&path, self.cifar, wanted, &mut dataset),
                Encoding::Python => python::append(&path, self.cifar, wanted, &mut dataset),
            };
            appended.map_err(|problem| {
                let remedy = format!("replace it, or have `rocl fetch {}` download the data set", self.cifar.argument());
                Error::file(&path, format!("{problem}; {remedy}"))
            })?;
        }
        if dataset.is_empty() && limit != Some(0) {
            return Err(self.lacks(split));
        }
        Ok(dataset)
    }

    fn lacks(&self, split: Split) -> Error {
        let stems = self.cifar.stems(split);
        let (first, last) = (stems[0], stems[stems.len() - 1]);
        let ending = self.encoding.ending();
        let files = if first == last { format!("{first}{ending}") } else { format!("{first}{ending} to {last}{ending}") };
        let (title, argument, purpose) = (self.cifar.title(), self.cifar.argument(), split.purpose());
        Error::file(
            &self.path,
            format!("holds {title}, but nothing to {purpose} ({files}); add it, or have `rocl fetch {argument}` download it"),
        )
    }
}

/// Appends the pixels of an image whose red, green and blue planes lie one behind the other, 1024 bytes each.
fn append_planes(planes: &[u8], images: &mut Vec<u8>) {
    let (red, rest) = planes.split_at(IMAGE_BYTES / IMAGE_CHANNELS);
    let (green, blue) = rest.split_at(IMAGE_BYTES / IMAGE_CHANNELS);
    images.extend(red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]));
}
