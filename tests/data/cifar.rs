//! CIFAR-10 and CIFAR-100, binary and Python versions.

use crate::formats::{cifar_binary, cifar_pickle, put};
use crate::{holds, open, refused};
use rocl::data::{Source, Split};
use tempfile::TempDir;

#[test]
fn the_binary_version_of_cifar_10() {
    let dir = TempDir::new().unwrap();
    put(dir.path().join("test_batch.bin"), cifar_binary(&[3, 0, 9], 5, None));
    let dataset = open(&dir, Split::Test);
    holds(&dataset, 5, &[3, 0, 9]);
    assert_eq!((dataset.name.as_str(), dataset.classes.len(), dataset.classes[9].as_str()), ("cifar-10", 10, "truck"));
}

#[test]
fn the_binary_version_of_cifar_100_has_its_fine_labels() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("cifar-100-binary");
    put(folder.join("train.bin"), cifar_binary(&[99, 0, 42], 0, Some(19)));
    put(folder.join("test.bin"), cifar_binary(&[7], 3, Some(0)));
    for root in [dir.path(), &folder] {
        let dataset = open(root, Split::Train);
        holds(&dataset, 0, &[99, 0, 42]);
        assert_eq!((dataset.name.as_str(), dataset.classes.len(), dataset.classes[42].as_str()), ("cifar-100", 100, "leopard"));
        holds(&open(root, Split::Test), 3, &[7]);
    }
}

#[test]
fn the_batches_that_are_there_are_read_in_order() {
    for subfolder in ["", "cifar-10-batches-bin"] {
        let dir = TempDir::new().unwrap();
        put(dir.path().join(subfolder).join("data_batch_4.bin"), cifar_binary(&[2, 3], 2, None));
        put(dir.path().join(subfolder).join("data_batch_1.bin"), cifar_binary(&[0, 1], 0, None));
        let dataset = open(&dir, Split::Train);
        holds(&dataset, 0, &[0, 1, 2, 3]);
        for limit in 0..6 {
            let taken = Source::Path(dir.path().into()).open(Split::Train, Some(limit)).unwrap();
            assert_eq!(taken, dataset.clone().take(limit));
        }
    }
}

#[test]
fn the_python_version_of_both() {
    let dir = TempDir::new().unwrap();
    let ten = dir.path().join("ten/cifar-10-batches-py");
    put(ten.join("data_batch_1"), cifar_pickle("labels", &[1, 9], 0));
    put(ten.join("data_batch_2"), cifar_pickle("labels", &[5], 2));
    put(ten.join("test_batch"), cifar_pickle("labels", &[0], 9));
    // What else is in that folder is not read.
    put(ten.join("batches.meta"), "no pickle");
    let hundred = dir.path().join("hundred/cifar-100-python");
    put(hundred.join("train"), cifar_pickle("fine_labels", &[99, 50], 0));
    put(hundred.join("test"), cifar_pickle("fine_labels", &[3], 4));
    for root in ["ten", "ten/cifar-10-batches-py"] {
        let dataset = open(dir.path().join(root), Split::Train);
        holds(&dataset, 0, &[1, 9, 5]);
        assert_eq!((dataset.name.as_str(), dataset.classes.len()), ("cifar-10", 10));
        holds(&open(dir.path().join(root), Split::Test), 9, &[0]);
    }
    let dataset = open(dir.path().join("hundred"), Split::Train);
    holds(&dataset, 0, &[99, 50]);
    assert_eq!((dataset.name.as_str(), dataset.classes.len()), ("cifar-100", 100));
    holds(&open(&hundred, Split::Test), 4, &[3]);
    let first = Source::Path(ten).open(Split::Train, Some(2)).unwrap();
    holds(&first, 0, &[1, 9]);
}

#[test]
fn damaged_binary_files_are_refused() {
    let dir = TempDir::new().unwrap();
    let refusal = |bytes: &[u8], expected: &str| {
        put(dir.path().join("test_batch.bin"), bytes);
        refused(&dir, Split::Test, expected);
    };
    refusal(&[], "test_batch.bin: is empty; replace it, or have `rocl fetch cifar10`");
    let mut records = cifar_binary(&[0, 1], 0, None);
    refusal(&records[..3078], "ends inside a record: its 3078 bytes are no multiple of the 3073 of a CIFAR-10 record");
    records[3073] = 10;
    refusal(&records, "record 1 has the label 10, but CIFAR-10 has the labels 0 to 9");
    let hundred = TempDir::new().unwrap();
    put(hundred.path().join("test.bin"), cifar_binary(&[99, 100], 0, Some(0)));
    refused(&hundred, Split::Test, "record 1 has the label 100, but CIFAR-100 has the labels 0 to 99");
    refused(&hundred, Split::Train, "holds CIFAR-100, but nothing to train on (train.bin)");
}

#[test]
fn damaged_pickles_are_refused() {
    let dir = TempDir::new().unwrap();
    let refusal = |bytes: &[u8], expected: &str| {
        put(dir.path().join("data_batch_2"), bytes);
        refused(&dir, Split::Train, expected);
    };
    let good = cifar_pickle("labels", &[1, 2], 0);
    refusal(&[], "data_batch_2: is empty; replace it, or have `rocl fetch cifar10`");
    refusal(&good[..good.len() - 1], "ends in the middle of a pickle");
    refusal(&cifar_pickle("labels", &[1, 10], 0), "record 1 has the label 10");
    refusal(&cifar_pickle("fine_labels", &[1], 0), "has no `labels`");
    refusal(&cifar_pickle("labels", &[], 0), "holds no image");
    refusal(b"\x80\x02cos\nsystem\nU\x02ls\x85R.", "asks for os.system, which CIFAR's files do not");
    // One label fewer than images: the list's first number is turned into nothing.
    let at = good.windows(4).position(|window| window == b"K\x01K\x02").unwrap();
    refusal(&[&good[..at], &good[at + 2..]].concat(), "has 2 images, but 1 labels");
    // Rows of another length.
    let at = good.windows(3).position(|window| window == b"M\x00\x0c").unwrap();
    let mut other = good.clone();
    other[at + 1] = 1;
    refusal(&other, "has an array of shape [2, 3073] in 6144 bytes");
}
