//! Files that a user names: read as a whole, and whether they come to an end.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// No file of ours has to be larger than this where its size is not known beforehand.
const MOST_FROM_A_PIPE: u64 = 1 << 30;

/// The bytes of the file, or of the pipe, at `path`.
///
/// # Errors
/// Those of reading; also for devices such as `/dev/zero`, which need not come to an end, and pipes that go on beyond 1 GiB.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return fs::read(path);
    }
    if is_device(kind) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is a device, not a file"));
    }
    let mut bytes = Vec::new();
    let len = File::open(path)?.take(MOST_FROM_A_PIPE + 1).read_to_end(&mut bytes)?;
    if len as u64 > MOST_FROM_A_PIPE {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "the pipe goes on beyond 1 GiB"));
    }
    Ok(bytes)
}

/// The text of the file, or of the pipe, at `path`.
///
/// # Errors
/// Those of [`read`](fn@read); also when it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not text in UTF-8"))
}

#[cfg(unix)]
fn is_device(kind: fs::FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_char_device() || kind.is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: fs::FileType) -> bool {
    false
}
