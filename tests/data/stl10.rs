//! STL-10's files, and how their images are scaled.

use crate::common::committed;
use crate::formats::{large_pixels, put, stl10_images};
use crate::{open, refused};
use rocl::data::{Source, Split};
use safetensors::SafeTensors;
use std::path::Path;
use tempfile::TempDir;

/// Writes a split into `folder`, from images `[96, 96, 3]`.
fn split(folder: &Path, name: &str, images: &[&[u8]], labels: &[u8]) {
    put(folder.join(format!("{name}_X.bin")), stl10_images(images));
    put(folder.join(format!("{name}_y.bin")), labels);
}

/// A channel of an image by its definition, in exact numbers: a pixel is the mean of what lies less than three old pixels from its centre, weighted by how
/// much less. `[32, 32]`.
fn scaled(image: &[u8], channel: usize) -> Vec<f64> {
    let weight = |new: usize, old: usize| (3.0 - ((3 * new) as f64 + 1.5 - (old as f64 + 0.5)).abs()).max(0.0);
    let weights = |new: usize| (0..96).map(move |old| (old, weight(new, old))).filter(|(_, weight)| *weight > 0.0);
    let pixel = |(y, x): (usize, usize)| {
        let (mut sum, mut total) = (0.0, 0.0);
        for ((row, down), (column, across)) in weights(y).flat_map(|down| weights(x).map(move |across| (down, across))) {
            sum += down * across * f64::from(image[row * 288 + column * 3 + channel]);
            total += down * across;
        }
        sum / total
    };
    (0..1024).map(|place| pixel((place / 32, place % 32))).collect()
}

#[test]
fn images_are_scaled_as_pillow_does_it() {
    let bytes = std::fs::read(committed("stl10.safetensors")).unwrap();
    let recorded = SafeTensors::deserialize(&bytes).unwrap();
    let [before, after] = ["in_u8", "out_u8"].map(|name| recorded.tensor(name).unwrap().data());
    let images: Vec<&[u8]> = before.chunks_exact(27648).collect();
    let dir = TempDir::new().unwrap();
    split(dir.path(), "test", &images, &[1, 2, 9, 10]);
    let dataset = open(&dir, Split::Test);
    assert_eq!((dataset.len(), &dataset.images[..] == after), (4, true));
    // Both roundings to bytes move a pixel by at most half, and those of the weights by less than a thousandth.
    for (index, image) in images.iter().enumerate() {
        for channel in 0..3 {
            for (place, exact) in scaled(image, channel).into_iter().enumerate() {
                let found = f64::from(dataset.image(index)[3 * place + channel]);
                assert!((found - exact).abs() < 1.001, "image {index}, channel {channel}, {place}: {found}, not {exact}");
            }
        }
    }
}

#[test]
fn splits_labels_and_limits() {
    let images: Vec<Vec<u8>> = (0..3).map(large_pixels).collect();
    let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    for subfolder in ["", "stl10_binary"] {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join(subfolder);
        split(&folder, "train", &images, &[10, 1, 3]);
        split(&folder, "test", &images[1..2], &[8]);
        // What else the archive has is not read.
        put(folder.join("class_names.txt"), "nothing");
        put(folder.join("fold_indices.txt"), "nothing");
        let train = open(&dir, Split::Train);
        assert_eq!((train.name.as_str(), &train.labels[..]), ("stl-10", &[9, 0, 2][..]));
        assert_eq!((train.classes.len(), train.classes[0].as_str(), train.classes[9].as_str()), (10, "airplane", "truck"));
        let test = open(&dir, Split::Test);
        assert_eq!((&test.labels[..], test.image(0), &test.classes), (&[7][..], train.image(1), &train.classes));
        for limit in 0..5 {
            let taken = Source::Path(dir.path().into()).open(Split::Train, Some(limit)).unwrap();
            assert_eq!(taken, train.clone().take(limit));
        }
    }
}

/// More images than are read at a time.
#[test]
fn long_files_are_read_in_parts() {
    let images: Vec<Vec<u8>> = (0..3).map(large_pixels).collect();
    let many: Vec<&[u8]> = (0..515).map(|index| &images[index % 3][..]).collect();
    let labels: Vec<u8> = (0..515).map(|index| (index % 10 + 1) as u8).collect();
    let dir = TempDir::new().unwrap();
    split(dir.path(), "train", &many, &labels);
    let dataset = open(&dir, Split::Train);
    assert_eq!(dataset.len(), 515);
    assert!((3..515).all(|index| dataset.image(index) == dataset.image(index % 3)));
    assert!(dataset.image(0) != dataset.image(1));
}

#[test]
fn images_without_labels_come_behind_the_others() {
    let dir = TempDir::new().unwrap();
    let images: Vec<Vec<u8>> = (0..5).map(large_pixels).collect();
    let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    split(dir.path(), "train", &images[..2], &[4, 5]);
    let source = Source::Path(dir.path().to_owned());
    assert_eq!(source.unlabeled_len().unwrap(), None);
    let message = source.open_with_unlabeled(None).unwrap_err().to_string();
    assert!(message.contains("holds STL-10, but nothing without labels (unlabeled_X.bin); add it"), "{message}");
    put(dir.path().join("unlabeled_X.bin"), stl10_images(&images[2..]));
    assert_eq!(source.unlabeled_len().unwrap(), Some(3));
    let both = source.open_with_unlabeled(None).unwrap();
    assert_eq!((both.name.as_str(), both.len(), both.classes.len()), ("stl-10 with unlabeled", 5, 0));
    // The same images as if they had labels.
    let labeled = TempDir::new().unwrap();
    split(labeled.path(), "train", &images, &[1; 5]);
    assert_eq!(both.images, open(&labeled, Split::Train).images);
    assert_eq!(open(&dir, Split::Train).len(), 2, "they are not read unless asked for");
    for limit in 0..7 {
        assert_eq!(source.open_with_unlabeled(Some(limit)).unwrap(), both.clone().take(limit));
    }
    assert_eq!(Source::Textures.unlabeled_len().unwrap(), None);
    let message = Source::Textures.open_with_unlabeled(None).unwrap_err().to_string();
    assert_eq!(message, "textures has no images without labels, only STL-10 has; leave --unlabeled out");
}

#[test]
fn damaged_files_are_refused() {
    let dir = TempDir::new().unwrap();
    let (one, image) = (large_pixels(0), stl10_images(&[&large_pixels(0)]));
    let refusal = |images: &[u8], labels: &[u8], expected: &str| {
        put(dir.path().join("train_X.bin"), images);
        put(dir.path().join("train_y.bin"), labels);
        refused(&dir, Split::Train, expected);
    };
    refusal(&[], &[1], "train_X.bin: is empty; unpack it again");
    refusal(&image[1..], &[1], "ends inside an image: its 27647 bytes are no multiple of the 27648 of 96×96 pixels");
    refusal(&image, &[1, 2], "train_y.bin: has 2 labels for 1 images");
    refusal(&image, &[], "has 0 labels for 1 images");
    refusal(&image, &[0], "has the label 0 for image 0, but STL-10 has the labels 1 to 10");
    refusal(&image, &[11], "has the label 11 for image 0");
    refused(&dir, Split::Test, "holds STL-10, but nothing to test on (test_X.bin)");
    std::fs::remove_file(dir.path().join("train_y.bin")).unwrap();
    refused(&dir, Split::Train, "holds STL-10, but nothing to train on (train_y.bin); add it");
    // Beside another data set it is not chosen.
    split(dir.path(), "test", &[&one], &[1]);
    put(dir.path().join("test.npz"), "");
    refused(&dir, Split::Test, "holds more than one data set");
}
