//! Files that are replaced as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Replaces the file at `path` by what `content` writes, creating its folder if need be.
///
/// The bytes go to `<path>.part` beside it, which is synced and then renamed, and the folder is synced: whenever the machine
/// stops, the file holds either all of the old content or all of the new.
///
/// # Errors
/// [`Error::File`] when the disk is full or a file cannot be written; a file that was there before is then untouched. Also for a path that is no
/// file, such as `/dev/null`, which the renaming would do away with.
pub fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let folder = prepare(path).map_err(|error| failure(path, &error))?;
    let part = part_of(path);
    let written = write_synced(&part, content).and_then(|()| fs::rename(&part, path));
    if let Err(error) = written {
        // Best effort: the remains are in the way of nothing, and the next attempt overwrites them.
        let _ = fs::remove_file(&part);
        return Err(failure(path, &error));
    }
    sync_folder(&folder).map_err(|error| failure(path, &error))
}

/// Finds out, before hours of work, whether the file at `path` can be written: creates its folder, and a file beside it that it removes again.
///
/// # Errors
/// As [`write`](fn@write).
pub fn probe(path: &Path) -> Result<()> {
    let part = part_of(path);
    let probed = prepare(path).and_then(|_| File::create(&part)).and_then(|_| fs::remove_file(&part));
    probed.map_err(|error| failure(path, &error))
}

/// The folder of `path`, which is there from now on; fails where `path` is something else than a file.
fn prepare(path: &Path) -> io::Result<PathBuf> {
    let folder = folder_of(path);
    fs::create_dir_all(&folder).map_err(|error| match error.kind() {
        // "File exists" would be no answer to why it cannot be written.
        ErrorKind::AlreadyExists => io::Error::new(ErrorKind::NotADirectory, "its folder is a file"),
        _ => error,
    })?;
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => Err(io::Error::new(ErrorKind::AlreadyExists, "it is a device or a pipe")),
        _ => Ok(folder),
    }
}

fn write_synced(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    content(&mut file)?;
    file.into_inner()?.sync_all()
}

/// Makes a rename last; only Unix can open a folder for it.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// The name of what is not whole yet.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// The error for a file that could not be written.
pub(super) fn failure(path: &Path, error: &io::Error) -> Error {
    let remedy = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space and resume",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "choose a folder that you may write to",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => "choose another path for the output",
        _ => "check the disk, or choose another folder for the output",
    };
    Error::file(path, format!("cannot be written ({error}); {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file");
        for content in ["old", "new"] {
            write(&path, |file| file.write_all(content.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let error = write(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::from(ErrorKind::StorageFull))
        });
        let message = error.unwrap_err().to_string();
        assert!(message.contains("cannot be written") && message.contains("free some space"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the unfinished file is gone");
    }

    /// `/dev/full` refuses every byte as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink("/dev/full", part_of(&path)).unwrap();
        let message = write(&path, |file| file.write_all(b"new")).unwrap_err().to_string();
        assert!(message.contains("No space left") && message.contains("free some space"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    /// The renaming would replace the device, for all programs.
    #[cfg(unix)]
    #[test]
    fn only_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        for (path, expected) in [(path.as_path(), "it is a device or a pipe"), (folder.path(), "is a directory")] {
            for error in [write(path, |_| Ok(())), probe(path)] {
                let message = error.unwrap_err().to_string();
                assert!(message.contains(expected) && message.contains("choose another path"), "{message}");
            }
        }
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn a_path_through_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let message = write(&folder.path().join("file/inside"), |_| Ok(())).unwrap_err().to_string();
        assert!(message.contains("choose another path"), "{message}");
    }
}
