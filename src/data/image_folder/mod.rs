//! Folders of PNG and JPEG images, a folder for each class.
//!
//! `train/CLASS/*.png` is what is trained on, `test/CLASS/*.png` (or `val/…`) what is tested on; `.jpg` and `.jpeg` serve as well, other files and
//! names that begin with a dot are passed over. The classes are the folders of `train/` in the order of their names (those of `test/` where there is
//! no `train/`). Images come class by class in turn, the first of each, then the second of each, so that a limit leaves all classes in;
//! within a class they are in the order of their names.

mod decode;

use super::{Dataset, MOST_CLASSES, Split, cannot_be_read};
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with a folder for a split in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFolder {
    path: PathBuf,
}

/// The images of a class: its place among all of them, and its files.
struct Class {
    label: u8,
    files: Vec<PathBuf>,
}

impl ImageFolder {
    /// What `folder` holds, if a split's folder is in it.
    pub fn find(folder: &Path) -> Option<Self> {
        let found = Self { path: folder.to_owned() };
        [Split::Train, Split::Test].iter().any(|&split| found.split(split).is_some()).then_some(found)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads one split, or its first `limit` images.
    ///
    /// # Errors
    /// [`Error::File`] when the split is not there or has no image, its classes are not those of the training images, or an image cannot be decoded
    /// or is not 32×32 pixels in 8 bits without transparency.
    pub fn read(&self, split: Split, limit: Option<usize>) -> Result<Dataset> {
        let names = self.class_names()?;
        let classes = self.classes(split, &names)?;
        let mut dataset = Dataset { name: super::name_of(&self.path), images: Vec::new(), labels: Vec::new(), classes: names };
        let longest = classes.iter().map(|class| class.files.len()).max().unwrap_or_default();
        let in_turn =
            (0..longest).flat_map(|turn| classes.iter().filter_map(move |class| Some((class.label, class.files.get(turn)?))));
        for (label, path) in in_turn.take(limit.unwrap_or(usize::MAX)) {
            let pixels = decode::decode(path).map_err(|problem| Error::file(path, problem))?;
            dataset.images.extend_from_slice(&pixels);
            dataset.labels.push(label);
        }
        if longest == 0 {
            let purpose = split.purpose();
            return Err(Error::file(
                &self.path,
                format!("holds no image to {purpose}; put .png or .jpg files into {}/CLASS/", split.name()),
            ));
        }
        Ok(dataset)
    }

    /// The folder of a split, if there is one.
    fn split(&self, split: Split) -> Option<PathBuf> {
        let names: &[&str] = match split {
            Split::Train => &["train"],
            Split::Test => &["test", "val"],
        };
        names.iter().map(|name| self.path.join(name)).find(|path| path.is_dir())
    }

    fn class_names(&self) -> Result<Vec<String>> {
        let folder = self.split(Split::Train).or_else(|| self.split(Split::Test));
        let folder = folder.ok_or_else(|| self.lacks(Split::Train))?;
        let names: Vec<String> =
            entries(&folder)?.into_iter().filter(|path| path.is_dir()).map(|path| file_name(&path)).collect();
        match names.len() {
            0 => Err(Error::file(folder, "holds no folder of a class; put the images of each class into a folder of its own")),
            n if n > MOST_CLASSES => {
                Err(Error::file(folder, format!("holds {n} classes, but {MOST_CLASSES} is the most; leave some of them out")))
            }
            _ => Ok(names),
        }
    }

    fn classes(&self, split: Split, names: &[String]) -> Result<Vec<Class>> {
        let folder = self.split(split).ok_or_else(|| self.lacks(split))?;
        let folders = entries(&folder)?.into_iter().filter(|path| path.is_dir());
        let class = |path: PathBuf| {
            let label = names.iter().position(|name| *name == file_name(&path)).and_then(|label| u8::try_from(label).ok());
            let label = label.ok_or_else(|| {
                Error::file(&path, "is a class that train/ does not have; give both splits the same folders".to_owned())
            })?;
            let files = entries(&path)?.into_iter().filter(|path| path.is_file() && decode::is_image(path)).collect();
            Ok(Class { label, files })
        };
        folders.map(class).collect()
    }

    fn lacks(&self, split: Split) -> Error {
        let (name, purpose) = (split.name(), split.purpose());
        Error::file(&self.path, format!("holds no folder {name}, so nothing to {purpose}; put images into {name}/CLASS/"))
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in a folder and not hidden, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| Error::file(folder, format!("{}; check the folder and its permissions", cannot_be_read(error)));
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(unreadable)?;
    paths.retain(|path| !file_name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}
