//! The binary version: a file is a row of records.
//!
//! A record is one label byte in CIFAR-10, two in CIFAR-100 (coarse, then fine; the fine one counts), and then 1,024 red, 1,024 green and
//! 1,024 blue values, each plane row by row (<https://www.cs.toronto.edu/~kriz/cifar.html>, "binary version").

use super::{Cifar, append_planes};
use crate::data::{Dataset, IMAGE_BYTES, cannot_be_read};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes before the pixels; the last of them is the label.
fn label_bytes(cifar: Cifar) -> usize {
    match cifar {
        Cifar::Cifar10 => 1,
        Cifar::Cifar100 => 2,
    }
}

/// Appends the first `wanted` records of a file to `dataset`, or says what is wrong with it.
pub(super) fn append(path: &Path, cifar: Cifar, wanted: usize, dataset: &mut Dataset) -> Result<(), String> {
    let mut file = File::open(path).map_err(cannot_be_read)?;
    let bytes = file.metadata().map_err(cannot_be_read)?.len();
    let record_bytes = label_bytes(cifar) + IMAGE_BYTES;
    if bytes == 0 {
        return Err("is empty".to_owned());
    }
    if bytes % record_bytes as u64 != 0 {
        let title = cifar.title();
        return Err(format!("ends inside a record: its {bytes} bytes are no multiple of the {record_bytes} of a {title} record"));
    }
    let count = wanted.min((bytes / record_bytes as u64) as usize);
    let mut records = vec![0; count * record_bytes];
    file.read_exact(&mut records).map_err(cannot_be_read)?;

    dataset.images.reserve_exact(count * IMAGE_BYTES);
    for (index, record) in records.chunks_exact(record_bytes).enumerate() {
        let (labels, planes) = record.split_at(label_bytes(cifar));
        let label = i128::from(labels[labels.len() - 1]);
        dataset.labels.push(cifar.label(label).ok_or_else(|| cifar.no_label(index, label))?);
        append_planes(planes, &mut dataset.images);
    }
    Ok(())
}
