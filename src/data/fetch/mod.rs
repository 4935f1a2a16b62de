//! Downloading CIFAR-10 and CIFAR-100: the archive of their authors, checked against its SHA-256, unpacked into a folder.
//!
//! The archive lies beside that folder as `NAME.part` while it comes, so that the next attempt goes on where this one ended, and as `NAME` until it is unpacked.
//! An archive that is there already, brought by other means, is taken. The folder appears under its name when it is whole.

mod download;
mod sum;
mod unpack;

pub use sum::Sha256Sum;

use super::cifar::{Cifar, Encoding, archive_folder};
use crate::run::atomic::part_of;
use crate::{Error, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An archive: where it comes from, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The data set in it.
    pub cifar: Cifar,
    /// Where it is downloaded from.
    pub url: String,
    /// What its bytes must sum up to.
    pub sha256: Sha256Sum,
}

impl Archive {
    /// The archive of the data set's authors. They publish MD5 sums only; the SHA-256 are those that TensorFlow Datasets checks
    /// (`url_checksums/cifar10.txt` and `cifar100.txt` of its repository), of files with these MD5 sums.
    pub fn official(cifar: Cifar) -> Self {
        let sha256 = match cifar {
            Cifar::Cifar10 => const { Sha256Sum::literal("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd") },
            Cifar::Cifar100 => const { Sha256Sum::literal("58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec") },
        };
        let url = format!("https://www.cs.toronto.edu/~kriz/{}", file_name(cifar));
        Self { cifar, url, sha256 }
    }
}

/// How a download is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a server may send nothing before it is given up.
    pub patience: Duration,
}

impl Default for Options {
    /// A minute.
    fn default() -> Self {
        Self { patience: Duration::from_secs(60) }
    }
}

/// How far a download is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there.
    pub done: u64,
    /// Bytes that there will be, if the server says so.
    pub total: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The folder was there before.
    Before(PathBuf),
    /// The folder is there now.
    Now(PathBuf),
}

/// Why there is no file.
enum Problem {
    /// The other side, or the way there: what happened, in words.
    Network(String),
    /// A file on this side.
    Disk(PathBuf, io::Error),
    /// An archive that is none.
    Damaged(String),
}

/// Downloads, checks and unpacks an archive into a folder of its own in `folder`, unless that is there.
///
/// # Errors
/// [`Error::Download`] when the archive cannot be had or is another one; [`Error::File`] when something cannot be read or written here. What has
/// been downloaded is kept for the next time, unless it is a wrong archive.
pub fn fetch(archive: &Archive, folder: &Path, options: Options, progress: impl FnMut(Progress)) -> Result<Fetched> {
    let target = folder.join(archive_folder(archive.cifar, Encoding::Binary));
    if target.is_dir() {
        return Ok(Fetched::Before(target));
    }
    fs::create_dir_all(folder).map_err(|error| disk(folder, &error))?;
    let file = folder.join(file_name(archive.cifar));
    let explain = |problem| explain(archive, &file, problem);
    if file.is_file() {
        if let Err(sum) = check(&file, archive).map_err(explain)? {
            return Err(Error::file(&file, format!("{}; delete or replace it", wrong(archive, sum))));
        }
    } else {
        let part = part_of(&file);
        download::download(&archive.url, &part, options.patience, progress).map_err(explain)?;
        if let Err(sum) = check(&part, archive).map_err(explain)? {
            // Going on from here would never come to a good end.
            fs::remove_file(&part).map_err(|error| disk(&part, &error))?;
            // Their authors' place has no other archive that could be meant.
            let other = archive.url != Archive::official(archive.cifar).url;
            let meant = if other { ", or say with --sha256 that these bytes are meant" } else { "" };
            let message = format!("{}; try again, or get the archive from elsewhere (--url){meant}", wrong(archive, sum));
            return Err(Error::Download { url: archive.url.clone(), message });
        }
        fs::rename(&part, &file).map_err(|error| disk(&file, &error))?;
    }
    unpack::unpack(&file, &target).map_err(explain)?;
    fs::remove_file(&file).map_err(|error| disk(&file, &error))?;
    Ok(Fetched::Now(target))
}

fn file_name(cifar: Cifar) -> &'static str {
    match cifar {
        Cifar::Cifar10 => "cifar-10-binary.tar.gz",
        Cifar::Cifar100 => "cifar-100-binary.tar.gz",
    }
}

/// Whether the file is the archive; what it sums up to if not.
fn check(file: &Path, archive: &Archive) -> Result<Result<(), Sha256Sum>, Problem> {
    let sum = Sha256Sum::of(file).map_err(|error| Problem::Disk(file.to_owned(), error))?;
    Ok(if sum == archive.sha256 { Ok(()) } else { Err(sum) })
}

fn wrong(archive: &Archive, sum: Sha256Sum) -> String {
    format!("is not the archive that is expected: its SHA-256 is {sum}, not {}", archive.sha256)
}

fn explain(archive: &Archive, file: &Path, problem: Problem) -> Error {
    match problem {
        Problem::Network(what) => Error::Download {
            url: archive.url.clone(),
            message: format!(
                "{what}; run the command again, or put the archive at {} by other means and run it then",
                file.display()
            ),
        },
        Problem::Disk(path, error) => disk(&path, &error),
        Problem::Damaged(what) => Error::file(file, format!("{what}; delete it and run the command again")),
    }
}

fn disk(path: &Path, error: &io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space and run the command again",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose with --data a folder that you may write to"
        }
        _ => "check it, or choose another folder with --data",
    };
    Error::file(path, format!("cannot be read or written ({error}); {remedy}"))
}
