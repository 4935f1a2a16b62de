//! The Python version: a file is a pickled dictionary, `data` with a row of 3,072 bytes for each image (1,024 red, 1,024 green and 1,024 blue
//! values, each plane row by row) and `labels`, in CIFAR-100 `fine_labels`, with a number for each.

use super::{Cifar, append_planes};
use crate::data::numpy::IntegerType;
use crate::data::pickle::{self, Array};
use crate::data::{Dataset, IMAGE_BYTES, cannot_be_read};
use std::path::Path;

/// Where the labels are.
fn labels_key(cifar: Cifar) -> &'static str {
    match cifar {
        Cifar::Cifar10 => "labels",
        Cifar::Cifar100 => "fine_labels",
    }
}

/// Appends the first `wanted` images of a file to `dataset`, or says what is wrong with it.
pub(super) fn append(path: &Path, cifar: Cifar, wanted: usize, dataset: &mut Dataset) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(cannot_be_read)?;
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let pickle = pickle::read(&bytes)?;
    let rows = rows(pickle.array("data")?)?;
    let labels = pickle.integers(labels_key(cifar))?;
    if rows.len() != labels.len() {
        return Err(format!("has {} images, but {} labels", rows.len(), labels.len()));
    }
    if rows.is_empty() {
        return Err("holds no image".to_owned());
    }
    let count = wanted.min(labels.len());
    dataset.images.reserve_exact(count * IMAGE_BYTES);
    for (index, &label) in labels[..count].iter().enumerate() {
        dataset.labels.push(cifar.label(label).ok_or_else(|| cifar.no_label(index, label))?);
        append_planes(&rows.row(index), &mut dataset.images);
    }
    Ok(())
}

/// The rows of an array `[n, 3072]` of bytes, in either order.
struct Rows<'a> {
    bytes: &'a [u8],
    n: usize,
    fortran: bool,
}

impl Rows<'_> {
    fn len(&self) -> usize {
        self.n
    }

    fn is_empty(&self) -> bool {
        self.n == 0
    }

    fn row(&self, index: usize) -> Vec<u8> {
        if self.fortran {
            self.bytes[index..].iter().step_by(self.n).copied().collect()
        } else {
            self.bytes[index * IMAGE_BYTES..][..IMAGE_BYTES].to_vec()
        }
    }
}

fn rows<'a>(array: &'a Array<'_>) -> Result<Rows<'a>, String> {
    match array.shape[..] {
        [n, IMAGE_BYTES] if array.element == IntegerType::U8 => Ok(Rows { bytes: &array.bytes, n, fortran: array.fortran }),
        _ => Err(format!("has images of shape {:?}, not rows of {IMAGE_BYTES} unsigned bytes", array.shape)),
    }
}
