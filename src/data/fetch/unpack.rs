//! An archive as a folder of files.

use super::Problem;
use crate::run::atomic::part_of;
use flate2::read::GzDecoder;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path};
use tar::Archive;

/// Bytes of a file. CIFAR-100's images to train on have 153,700,000; far more is no CIFAR.
const MOST_BYTES: u64 = 200_000_000;

/// Files of an archive.
const MOST_FILES: usize = 32;

/// Unpacks the gzipped tar `archive`, which holds files in one folder named as `target`, to `target`; that appears when it is whole.
pub(super) fn unpack(archive: &Path, target: &Path) -> Result<(), Problem> {
    let part = part_of(target);
    let disk = |path: &Path| {
        let path = path.to_owned();
        move |error| Problem::Disk(path, error)
    };
    if part.exists() {
        fs::remove_dir_all(&part).map_err(disk(&part))?;
    }
    fs::create_dir(&part).map_err(disk(&part))?;
    let unpacked = unpack_files(archive, target.file_name().unwrap_or_default(), &part);
    if unpacked.is_err() {
        // Best effort, for the room it takes; the next attempt removes it in any case.
        let _ = fs::remove_dir_all(&part);
    }
    unpacked?;
    fs::rename(&part, target).map_err(disk(target))
}

fn unpack_files(archive: &Path, folder: &OsStr, into: &Path) -> Result<(), Problem> {
    let damaged = |error: io::Error| Problem::Damaged(format!("cannot be unpacked ({error})"));
    let file = File::open(archive).map_err(|error| Problem::Disk(archive.to_owned(), error))?;
    let mut tar = Archive::new(GzDecoder::new(BufReader::new(file)));
    let mut files = 0;
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let (kind, path) = (entry.header().entry_type(), entry.path().map_err(damaged)?.into_owned());
        if kind.is_dir() {
            continue;
        }
        let name = plain_name(&path, folder).filter(|_| kind.is_file() && entry.size() <= MOST_BYTES && files < MOST_FILES);
        let Some(name) = name else {
            let folder = folder.display();
            return Err(Problem::Damaged(format!("holds {}, which is none of the files of {folder}", path.display())));
        };
        files += 1;
        let path = into.join(name);
        let disk = |error| Problem::Disk(path.clone(), error);
        // A second file of the same name is refused, too.
        let mut file = File::create_new(&path).map_err(disk)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match entry.read(&mut buffer).map_err(damaged)? {
                0 => break,
                count => file.write_all(&buffer[..count]).map_err(disk)?,
            }
        }
        file.sync_all().map_err(disk)?;
    }
    Ok(())
}

/// The name of a file directly in `folder`; none for any other path.
fn plain_name(path: &Path, folder: &OsStr) -> Option<OsString> {
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    match (parts.next()?, parts.next()?, parts.next()) {
        (Component::Normal(first), Component::Normal(name), None) if first == folder => Some(name.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let name = |path: &str| plain_name(Path::new(path), OsStr::new("set"));
        assert_eq!(name("set/a.bin"), Some("a.bin".into()));
        assert_eq!(name("./set/a.bin"), Some("a.bin".into()));
        for other in ["a.bin", "set", "other/a.bin", "/set/a.bin", "set/../a.bin", "../set/a.bin", "set/b/a.bin", "set/.."] {
            assert_eq!(name(other), None, "{other}");
        }
    }
}
