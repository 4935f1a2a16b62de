//! Images in every format that is read, as `--data` finds them; files are written here by the formats' own rules.

mod cifar;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/formats.rs"]
mod formats;
mod image_folder;
mod npz;
mod python;
mod source;
mod stl10;

use rocl::data::{Dataset, Source, Split};
use std::path::Path;

/// Opens a split of what is at `path`.
fn open(path: impl AsRef<Path>, split: Split) -> Dataset {
    Source::Path(path.as_ref().to_owned()).open(split, None).unwrap()
}

/// Why a split cannot be opened: one sentence that contains `expected`, with a remedy behind a semicolon.
#[track_caller]
fn refused(path: impl AsRef<Path>, split: Split, expected: &str) {
    let message = Source::Path(path.as_ref().to_owned()).open(split, None).unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
    assert!(message.contains("; ") && !message.contains('\n'), "{message}");
}

/// The images are those of `formats`, from `first` on, with these labels.
#[track_caller]
fn holds(dataset: &Dataset, first: usize, labels: &[u8]) {
    assert_eq!(dataset.labels, labels);
    assert_eq!(dataset.images.len(), 3072 * labels.len());
    for index in 0..labels.len() {
        assert!(dataset.image(index) == formats::pixels(first + index), "image {index}");
    }
}
