//! NumPy's files.

use crate::formats::{npy, npy_images, npy_labels, npz, pixels, put};
use crate::{holds, open, refused};
use rocl::data::{Source, Split};
use tempfile::TempDir;

#[test]
fn a_folder_with_a_file_for_each_split() {
    for (deflated, images, labels) in [(false, "images", "labels"), (true, "x", "y"), (true, "data", "labels")] {
        let dir = TempDir::new().unwrap();
        put(dir.path().join("train.npz"), npz(&[(images, npy_images(0, 3)), (labels, npy_labels(&[2, 0, 1]))], deflated));
        put(dir.path().join("test.npz"), npz(&[(labels, npy_labels(&[4, 1])), (images, npy_images(7, 2))], deflated));
        let train = open(&dir, Split::Train);
        holds(&train, 0, &[2, 0, 1]);
        holds(&open(&dir, Split::Test), 7, &[4, 1]);
        // The highest label of both splits counts, so that heads fit either.
        assert_eq!(train.classes, ["0", "1", "2", "3", "4"]);
        assert_eq!(open(&dir, Split::Test).classes, train.classes);
        for limit in 0..5 {
            let taken = Source::Path(dir.path().into()).open(Split::Train, Some(limit)).unwrap();
            assert_eq!(taken, train.clone().take(limit));
        }
    }
}

#[test]
fn a_file_with_both_splits() {
    for names in [["train_images", "train_labels", "test_images", "test_labels"], ["x_train", "y_train", "x_test", "y_test"]] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("flowers.npz");
        let arrays = [npy_images(0, 2), npy_labels(&[0, 9]), npy_images(2, 1), npy_labels(&[1])];
        put(&path, npz(&names.into_iter().zip(arrays).collect::<Vec<_>>(), true));
        let train = open(&path, Split::Train);
        holds(&train, 0, &[0, 9]);
        holds(&open(&path, Split::Test), 2, &[1]);
        assert_eq!((train.name.as_str(), train.classes.len()), ("flowers.npz", 10));
    }
}

#[test]
fn labels_of_every_type_of_integer() {
    let dir = TempDir::new().unwrap();
    let types: [(&str, &[u8]); 6] = [
        ("|u1", &[200, 3]),
        ("<u2", &[200, 0, 3, 0]),
        (">u2", &[0, 200, 0, 3]),
        ("<i4", &[200, 0, 0, 0, 3, 0, 0, 0]),
        (">i8", &[0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 3]),
        ("<u8", &[200, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (descr, bytes) in types {
        // A column is as good as a row.
        for shape in [&[2][..], &[2, 1]] {
            put(dir.path().join("train.npz"), npz(&[("x", npy_images(0, 2)), ("y", npy(descr, shape, bytes))], false));
            holds(&open(&dir, Split::Train), 0, &[200, 3]);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let dir = TempDir::new().unwrap();
    let refusal = |images: Vec<u8>, labels: Vec<u8>, expected: &str| {
        put(dir.path().join("train.npz"), npz(&[("images", images), ("labels", labels)], false));
        refused(&dir, Split::Train, expected);
    };
    let two = || npy_images(0, 2);
    let bytes: Vec<u8> = [pixels(0), pixels(1)].concat();
    refusal(two(), npy_labels(&[0]), "has 2 images in images, but 1 labels; write as many of both");
    refusal(two(), npy("<i8", &[2], &[[0; 8], (-1_i64).to_le_bytes()].concat()), "has the label -1 in labels[1]");
    refusal(two(), npy("<i8", &[2], &[[0; 8], 256_i64.to_le_bytes()].concat()), "number the classes from 0 to at most 255");
    refusal(two(), npy("<f4", &[2], &[0; 8]), "has labels of type <f4; convert the labels to integers");
    refusal(two(), npy("|u1", &[1, 2], &[0; 2]), "has labels of shape [1, 2]");
    refusal(npy_images(0, 0), npy_labels(&[]), "has no label in labels");
    refusal(
        npy("<f4", &[2, 32, 32, 3], &[0; 4 * 6144]),
        npy_labels(&[0, 1]),
        "has images of type <f4; write pixels as unsigned bytes",
    );
    refusal(
        npy("|u1", &[2, 3, 32, 32], &bytes),
        npy_labels(&[0, 1]),
        "channels first; write it again with images.transpose(0, 2, 3, 1)",
    );
    refusal(npy("|u1", &[2, 16, 64, 3], &bytes), npy_labels(&[0, 1]), "has images of shape [2, 16, 64, 3]");
    refusal(
        npy("|u1", &[2, 32, 32, 3], &bytes[1..]),
        npy_labels(&[0, 1]),
        "a damaged array images (6143 of 6144 bytes are there)",
    );
    refusal(npy("|u1", &[1, 32, 32, 3], &bytes), npy_labels(&[0]), "has more elements than its shape says");
    refusal(npy("|u1", &[usize::MAX, 32, 32, 3], &[]), npy_labels(&[0]), "but 1 labels");
    refusal(b"\x93NUMPY".to_vec(), npy_labels(&[0]), "a damaged array images");
}

#[test]
fn what_is_missing_or_damaged_is_said() {
    let dir = TempDir::new().unwrap();
    let train = dir.path().join("train.npz");
    let good = npz(&[("images", npy_images(0, 2)), ("labels", npy_labels(&[0, 1]))], false);
    put(&train, &good);
    refused(&dir, Split::Test, "holds nothing to test on; add test.npz");
    refused(&train, Split::Train, "has no array train_images or x_train, so nothing to train on; name its arrays train_images");
    put(&train, npz(&[("images", npy_images(0, 2))], false));
    refused(&dir, Split::Train, "has no array labels or y; give it that name");
    put(&train, npz(&[("labels", npy_labels(&[0]))], false));
    refused(&dir, Split::Train, "has no array images or x or data; give it that name");
    put(&train, &good[..good.len() / 2]);
    refused(&dir, Split::Train, "is no .npz file");
    put(&train, "");
    refused(&dir, Split::Train, "is no .npz file");
    // A pixel that changed: the archive's checksum tells.
    let mut changed = good.clone();
    changed[1000] ^= 1;
    put(&train, changed);
    refused(&dir, Split::Train, "a damaged array images (Invalid checksum)");
}
