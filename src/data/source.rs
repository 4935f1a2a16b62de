//! What a user's `--data` names.

use super::cifar::{self, Cifar, Encoding};
use super::image_folder::ImageFolder;
use super::npz::Npz;
use super::stl10::Stl10;
use super::{Dataset, Split, textures};
use crate::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What can be read, for messages.
const FORMATS: &str = "CIFAR-10 or CIFAR-100 (binary or Python version), STL-10 (train_X.bin, train_y.bin, test_X.bin, test_y.bin), train.npz \
                       and test.npz, or train/CLASS/*.png and test/CLASS/*.png";

/// Where a user says the images are: `--data textures`, or `--data PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The built-in set, see [`textures`].
    Textures,
    /// A folder or file, which [`Source::open`] looks into.
    Path(PathBuf),
}

impl Source {
    /// Opens one split, or its first `limit` images.
    ///
    /// A path is one of these, told apart by the names of the files in it:
    ///
    /// - a folder with the files of [CIFAR-10 or CIFAR-100](cifar), or with the folder that their archives unpack to;
    /// - the same of [STL-10](super::stl10), whose images are scaled;
    /// - an [`.npz` file](super::npz) with both splits, or a folder with `train.npz` and `test.npz`;
    /// - a folder with [`train/CLASS/*.png` and `test/CLASS/*.png`](super::image_folder).
    ///
    /// # Errors
    /// [`Error::File`] when the path is none of these, or is more than one of them, and the errors of their readers; the built-in set always opens.
    pub fn open(&self, split: Split, limit: Option<usize>) -> Result<Dataset> {
        match self {
            Self::Textures => {
                let len = textures::default_len(split);
                Ok(textures::render(textures::SEED, split, limit.unwrap_or(len).min(len)))
            }
            Self::Path(path) => Layout::of(path)?.read(split, limit),
        }
    }

    /// The images to train on, those without labels among them, or the first `limit` of all these; see [`Stl10::read_with_unlabeled`].
    ///
    /// # Errors
    /// As [`Source::open`]; [`Error::Usage`] when it is a data set that has no images without labels.
    pub fn open_with_unlabeled(&self, limit: Option<usize>) -> Result<Dataset> {
        match self.stl10()? {
            Some(folder) => folder.read_with_unlabeled(limit),
            None => Err(Error::Usage(format!("{self} has no images without labels, only STL-10 has; leave --unlabeled out"))),
        }
    }

    /// How many images without labels there are beside the others.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn unlabeled_len(&self) -> Result<Option<usize>> {
        self.stl10()?.map_or(Ok(None), |folder| folder.unlabeled_len())
    }

    fn stl10(&self) -> Result<Option<Stl10>> {
        match self {
            Self::Textures => Ok(None),
            Self::Path(path) => Ok(match Layout::of(path)? {
                Layout::Stl10(folder) => Some(folder),
                _ => None,
            }),
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    /// `textures` is the built-in set; anything else is a path (`./textures` for one of that name).
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty path, as an unset variable makes it.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" => Err(Error::Usage("the path is empty; name a folder, or textures".to_owned())),
            "textures" => Ok(Self::Textures),
            _ => Ok(Self::Path(text.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Textures => f.write_str("textures"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// What lies at a path.
enum Layout {
    Cifar(cifar::Folder),
    Stl10(Stl10),
    Npz(Npz),
    Images(ImageFolder),
}

impl Layout {
    /// Looks at names only.
    fn of(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Self::of_file(path);
        }
        if !path.is_dir() {
            return Err(Error::file(
                path,
                "there is no such file or folder; check the path, or have `rocl fetch cifar10` download one",
            ));
        }
        let cifars =
            Cifar::ALL.iter().flat_map(|&cifar| Encoding::ALL.map(|encoding| cifar::Folder::find(path, cifar, encoding)));
        let found = cifars.flatten().map(Self::Cifar);
        let found = found
            .chain(Stl10::find(path).map(Self::Stl10))
            .chain(Npz::find(path).map(Self::Npz))
            .chain(ImageFolder::find(path).map(Self::Images));
        let mut found: Vec<Self> = found.collect();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::file(path, format!("holds no images that can be read; they can be {FORMATS}"))),
            _ => {
                let list: Vec<String> = found.iter().map(Self::describe).collect();
                Err(Error::file(
                    path,
                    format!("holds more than one data set: {}; name a folder with one of them", list.join(", ")),
                ))
            }
        }
    }

    fn of_file(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy();
        if name.ends_with(".npz") {
            return Ok(Self::Npz(Npz::File(path.to_owned())));
        }
        let archive = [".gz", ".tgz", ".tar", ".zip"].iter().any(|ending| name.ends_with(ending));
        let remedy = if archive {
            "is an archive; unpack it, and name the folder that it makes"
        } else {
            "is no .npz file; name a folder of images or an .npz file"
        };
        Err(Error::file(path, remedy))
    }

    fn read(&self, split: Split, limit: Option<usize>) -> Result<Dataset> {
        match self {
            Self::Cifar(folder) => folder.read(split, limit),
            Self::Stl10(folder) => folder.read(split, limit),
            Self::Npz(npz) => npz.read(split, limit),
            Self::Images(folder) => folder.read(split, limit),
        }
    }

    /// What and where, for messages.
    fn describe(&self) -> String {
        match self {
            Self::Cifar(folder) => folder.path().display().to_string(),
            Self::Stl10(folder) => folder.path().display().to_string(),
            Self::Npz(npz) => format!("{} (.npz)", npz.path().display()),
            Self::Images(folder) => format!("{} (image files)", folder.path().display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        for text in ["textures", "./textures", "/data/cifar"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert_eq!("textures".parse::<Source>().unwrap(), Source::Textures);
        assert_eq!("".parse::<Source>().unwrap_err().exit_code(), 2);
    }

    #[test]
    fn the_limit_is_at_most_the_whole_split() {
        assert_eq!(Source::Textures.open(Split::Test, Some(7)).unwrap().len(), 7);
        assert_eq!(Source::Textures.open(Split::Test, Some(usize::MAX)).unwrap().len(), textures::default_len(Split::Test));
    }
}
