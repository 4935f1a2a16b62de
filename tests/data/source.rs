//! How a path is told to be what it is.

use crate::formats::{cifar_binary, cifar_pickle, npy_images, npy_labels, npz, png_of, put};
use crate::{open, refused};
use rocl::data::Split;
use tempfile::TempDir;

#[test]
fn nothing_and_something_else() {
    let dir = TempDir::new().unwrap();
    refused(
        dir.path().join("absent"),
        Split::Train,
        "absent: there is no such file or folder; check the path, or have `rocl fetch cifar10`",
    );
    refused(&dir, Split::Train, "holds no images that can be read; they can be CIFAR-10 or CIFAR-100");
    for (name, expected) in [
        ("cifar-10-binary.tar.gz", "is an archive; unpack it"),
        ("images.zip", "is an archive; unpack it"),
        ("data_batch_1.bin", "is no .npz file; name a folder of images"),
    ] {
        put(dir.path().join(name), [0x1f, 0x8b]);
        refused(dir.path().join(name), Split::Train, expected);
    }
}

/// A folder of CIFAR-100's Python version and one of images both have something called `train`.
#[test]
fn a_file_is_no_folder() {
    let dir = TempDir::new().unwrap();
    put(dir.path().join("files/train"), cifar_pickle("fine_labels", &[0], 0));
    put(dir.path().join("folders/train/a/1.png"), png_of(0));
    assert_eq!(open(dir.path().join("files"), Split::Train).name, "cifar-100");
    assert_eq!(open(dir.path().join("folders"), Split::Train).name, "folder folders");
}

#[test]
fn two_data_sets_are_not_chosen_between() {
    let dir = TempDir::new().unwrap();
    put(dir.path().join("cifar-10-batches-bin/test_batch.bin"), cifar_binary(&[0], 0, None));
    assert_eq!(open(&dir, Split::Test).name, "cifar-10");
    put(dir.path().join("cifar-100-python/test"), cifar_pickle("fine_labels", &[0], 0));
    refused(&dir, Split::Test, "cifar-10-batches-bin, ");
    refused(&dir, Split::Test, "holds more than one data set");
    assert_eq!(open(dir.path().join("cifar-100-python"), Split::Test).name, "cifar-100");
    put(dir.path().join("test.npz"), npz(&[("x", npy_images(0, 1)), ("y", npy_labels(&[0]))], false));
    refused(&dir, Split::Test, "(.npz)");
}
