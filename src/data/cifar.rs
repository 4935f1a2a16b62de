//! CIFAR-10 in its official binary layout.
//!
//! A file is a row of records of 3,073 bytes: the label, then 1,024 red, 1,024 green and 1,024 blue values, each plane row by row
//! (<https://www.cs.toronto.edu/~kriz/cifar.html>, "binary version"). Files may be shorter than the official 10,000 records, and
//! training files may be missing, so that a subset of CIFAR-10 is read as it is.

use super::{Dataset, IMAGE_BYTES, IMAGE_CHANNELS, Split};
use crate::{Error, Result};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const RECORD_BYTES: usize = 1 + IMAGE_BYTES;
const META: &str = "batches.meta.txt";
const WHERE_FROM: &str = "the binary version, cifar-10-binary.tar.gz, of https://www.cs.toronto.edu/~kriz/cifar.html";

/// The folder the official archive unpacks to, looked for inside the folder a user names.
const SUBFOLDER: &str = "cifar-10-batches-bin";

/// Reads one split, or its first `limit` images, from `folder` or from the folder inside it that the official archive unpacks to.
///
/// Train is `data_batch_1.bin` to `data_batch_5.bin`, those that are there in this order; test is `test_batch.bin`. The classes'
/// names come from `batches.meta.txt` where there is one.
///
/// # Errors
/// [`Error::File`] when the folder or its files are missing, or a file is empty, ends inside a record or has a label above 9.
pub fn read(folder: &Path, split: Split, limit: Option<usize>) -> Result<Dataset> {
    let (folder, files) = locate(folder, split)?;
    let mut dataset =
        Dataset { name: "cifar-10".into(), images: Vec::new(), labels: Vec::new(), classes: read_classes(&folder.join(META))? };
    for path in files {
        let wanted = limit.map_or(usize::MAX, |limit| limit - dataset.len());
        if wanted == 0 {
            break;
        }
        read_records(&path, wanted, &mut dataset)?;
    }
    Ok(dataset)
}

fn file_names(split: Split) -> Vec<String> {
    match split {
        Split::Train => (1..=5).map(|batch| format!("data_batch_{batch}.bin")).collect(),
        Split::Test => vec!["test_batch.bin".into()],
    }
}

/// The folder that holds the split's files, and those of them that exist.
fn locate(root: &Path, split: Split) -> Result<(PathBuf, Vec<PathBuf>)> {
    if root.is_file() {
        return Err(Error::file(root, "is a file, not a folder; unpack the archive (tar xf) and name the folder it makes"));
    }
    if !root.is_dir() {
        return Err(Error::file(root, format!("there is no such folder; unpack {WHERE_FROM}, and name the folder it makes")));
    }
    let candidates = [root.to_owned(), root.join(SUBFOLDER)].into_iter();
    for folder in candidates {
        let files: Vec<_> = file_names(split).iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
        if !files.is_empty() {
            return Ok((folder, files));
        }
    }
    let files = match split {
        Split::Train => "data_batch_1.bin to data_batch_5.bin",
        Split::Test => "test_batch.bin",
    };
    Err(Error::file(root, format!("holds no CIFAR-10 binary file ({files}); unpack {WHERE_FROM}, and name the folder it makes")))
}

/// Appends the first `wanted` records of one file.
fn read_records(path: &Path, wanted: usize, dataset: &mut Dataset) -> Result<()> {
    let unreadable =
        |error: std::io::Error| Error::file(path, format!("cannot be read ({error}); check the file and its permissions"));
    let damaged = |what: String| Error::file(path, format!("{what}; replace it by the one of {WHERE_FROM}"));

    let mut file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if bytes == 0 {
        return Err(damaged("is empty".into()));
    }
    if bytes % RECORD_BYTES as u64 != 0 {
        return Err(damaged(format!(
            "ends inside a record: its {bytes} bytes are no multiple of the {RECORD_BYTES} of a CIFAR-10 record"
        )));
    }
    let count = wanted.min((bytes / RECORD_BYTES as u64) as usize);
    let mut records = vec![0; count * RECORD_BYTES];
    file.read_exact(&mut records).map_err(unreadable)?;

    dataset.images.reserve_exact(count * IMAGE_BYTES);
    for (index, record) in records.chunks_exact(RECORD_BYTES).enumerate() {
        let (label, planes) = (record[0], &record[1..]);
        if usize::from(label) >= CLASSES.len() {
            return Err(damaged(format!("record {index} has the label {label}, but CIFAR-10 has the labels 0 to 9")));
        }
        dataset.labels.push(label);
        let (red, rest) = planes.split_at(IMAGE_BYTES / IMAGE_CHANNELS);
        let (green, blue) = rest.split_at(IMAGE_BYTES / IMAGE_CHANNELS);
        dataset.images.extend(red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]));
    }
    Ok(())
}

/// The names in `batches.meta.txt`, one a line; CIFAR-10's own where there is no such file.
fn read_classes(path: &Path) -> Result<Vec<String>> {
    if !path.exists() {
        return Ok(CLASSES.map(String::from).to_vec());
    }
    let text = fs::read_to_string(path).map_err(|error| {
        Error::file(path, format!("cannot be read ({error}); check the file, or remove it to use CIFAR-10's names"))
    })?;
    let names: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if names.len() != CLASSES.len() {
        return Err(Error::file(
            path,
            format!("names {} classes, but CIFAR-10 has 10; correct it, or remove it to use CIFAR-10's names", names.len()),
        ));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// Value of one pixel of the synthetic record `index`: differs between neighbours, rows, channels and records.
    fn value(index: usize, row: usize, column: usize, channel: usize) -> u8 {
        (7 * index + 3 * row + 5 * column + 101 * channel) as u8
    }

    fn record(index: usize) -> Vec<u8> {
        let mut bytes = vec![(index % 10) as u8];
        for channel in 0..3 {
            for row in 0..32 {
                bytes.extend((0..32).map(|column| value(index, row, column, channel)));
            }
        }
        bytes
    }

    fn write(folder: &Path, name: &str, records: std::ops::Range<usize>) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), records.flat_map(record).collect::<Vec<_>>()).unwrap();
    }

    fn message(folder: &Path, split: Split) -> String {
        read(folder, split, None).unwrap_err().to_string()
    }

    #[test]
    fn planes_become_pixels() {
        let dir = TempDir::new().unwrap();
        write(dir.path(), "test_batch.bin", 0..12);
        let dataset = read(dir.path(), Split::Test, None).unwrap();
        assert_eq!(dataset.len(), 12);
        assert_eq!(dataset.classes[9], "truck");
        for index in 0..12 {
            assert_eq!(usize::from(dataset.labels[index]), index % 10);
            for (place, &pixel) in dataset.image(index).iter().enumerate() {
                assert_eq!(pixel, value(index, place / 96, place / 3 % 32, place % 3));
            }
        }
    }

    #[test]
    fn the_batches_that_are_there_are_read_in_order() {
        for subfolder in ["", "cifar-10-batches-bin"] {
            let dir = TempDir::new().unwrap();
            let folder = dir.path().join(subfolder);
            write(&folder, "data_batch_4.bin", 2..4);
            write(&folder, "data_batch_1.bin", 0..2);
            fs::write(folder.join(META), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n").unwrap();
            let dataset = read(dir.path(), Split::Train, None).unwrap();
            assert_eq!(dataset.labels, [0, 1, 2, 3]);
            assert_eq!(dataset.classes.concat(), "abcdefghij");
            for limit in 0..6 {
                assert_eq!(read(dir.path(), Split::Train, Some(limit)).unwrap(), dataset.clone().take(limit));
            }
        }
    }

    #[test]
    fn a_folder_without_files_says_where_they_come_from() {
        let dir = TempDir::new().unwrap();
        assert!(message(&dir.path().join("absent"), Split::Train).contains("there is no such folder; unpack the binary version"));
        assert!(message(dir.path(), Split::Train).contains("data_batch_1.bin to data_batch_5.bin); unpack the binary version"));
        write(dir.path(), "data_batch_1.bin", 0..1);
        assert!(message(dir.path(), Split::Test).contains("(test_batch.bin)"));
    }

    #[test]
    fn an_archive_is_to_be_unpacked() {
        let dir = TempDir::new().unwrap();
        let archive = dir.path().join("cifar-10-binary.tar.gz");
        fs::write(&archive, [0x1f, 0x8b]).unwrap();
        assert!(message(&archive, Split::Train).contains("unpack the archive"));
    }

    #[test]
    fn damaged_files_are_refused() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("test_batch.bin");
        let refusal = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            message(dir.path(), Split::Test)
        };
        assert!(refusal(&[]).contains("is empty; replace it"));
        let mut records = [record(0), record(1)].concat();
        assert!(refusal(&records[..RECORD_BYTES + 5]).contains("ends inside a record: its 3078 bytes"));
        records[RECORD_BYTES] = 10;
        assert!(refusal(&records).contains("record 1 has the label 10"));
    }

    #[test]
    fn a_list_of_classes_has_ten_names() {
        let dir = TempDir::new().unwrap();
        write(dir.path(), "test_batch.bin", 0..1);
        fs::write(dir.path().join(META), "cat\ndog\n").unwrap();
        assert!(message(dir.path(), Split::Test).contains("names 2 classes"));
    }
}
