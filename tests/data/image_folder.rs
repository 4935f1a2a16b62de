//! Folders of images.

use crate::formats::{jpeg, png, png_of, put, value};
use crate::{holds, open, refused};
use ::png::ColorType;
use rocl::data::{Dataset, Source, Split};
use std::path::Path;
use tempfile::TempDir;

/// Class `b` has one image more than `a`, and `c` has none.
fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, index) in [("b/1.png", 1), ("a/1.png", 0), ("b/2.PNG", 3), ("a/x.png", 2), ("b/3.png", 4)] {
        put(dir.path().join("train").join(name), png_of(index));
    }
    for other in ["train/c/readme.txt", "train/a/.hidden.png", "train/.cache/1.png", "train/list.csv"] {
        put(dir.path().join(other), "no image");
    }
    put(dir.path().join("test/c/1.png"), png_of(9));
    dir
}

/// The one image of a class.
fn single(path: &Path) -> Dataset {
    open(path, Split::Train)
}

#[test]
fn classes_come_in_turn() {
    let dir = folder();
    let train = open(&dir, Split::Train);
    holds(&train, 0, &[0, 1, 0, 1, 1]);
    assert_eq!(train.classes, ["a", "b", "c"]);
    assert_eq!(train.name, format!("folder {}", dir.path().file_name().unwrap().display()));
    holds(&open(&dir, Split::Test), 9, &[2]);
    for limit in 0..7 {
        let taken = Source::Path(dir.path().into()).open(Split::Train, Some(limit)).unwrap();
        assert_eq!(taken, train.clone().take(limit));
    }
}

#[test]
fn val_serves_as_test_where_there_is_none() {
    let dir = folder();
    put(dir.path().join("val/b/1.png"), png_of(5));
    holds(&open(&dir, Split::Test), 9, &[2]);
    std::fs::remove_dir_all(dir.path().join("test")).unwrap();
    holds(&open(&dir, Split::Test), 5, &[1]);
}

#[test]
fn png_of_every_kind_in_eight_bits() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("train/a/1.png");
    let grey: Vec<u8> = (0..1024).map(|place| value(0, place / 32, place % 32, 0)).collect();
    let as_colour: Vec<u8> = grey.iter().flat_map(|&g| [g; 3]).collect();
    let opaque =
        |pixels: &[u8], channels| pixels.chunks(channels).flat_map(|pixel| [pixel, &[255]].concat()).collect::<Vec<u8>>();
    put(&path, png(32, 32, ColorType::Grayscale, &grey));
    assert!(single(dir.path()).images == as_colour);
    put(&path, png(32, 32, ColorType::GrayscaleAlpha, &opaque(&grey, 1)));
    assert!(single(dir.path()).images == as_colour);
    let colour = crate::formats::pixels(3);
    put(&path, png(32, 32, ColorType::Rgba, &opaque(&colour, 3)));
    assert!(single(dir.path()).images == colour);
    let mut transparent = opaque(&colour, 3);
    transparent[4003] = 254;
    put(&path, png(32, 32, ColorType::Rgba, &transparent));
    refused(&dir, Split::Train, "is transparent in places; put it on a background");

    // A palette of two colours, and 16 bits.
    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, 32, 32);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(::png::BitDepth::One);
    encoder.set_palette(&[1, 2, 3, 250, 251, 252]);
    encoder.write_header().unwrap().write_image_data(&[0b0101_0101; 128]).unwrap();
    put(&path, &file);
    assert!(single(dir.path()).images == [1, 2, 3, 250, 251, 252].repeat(512));
    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, 32, 32);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(::png::BitDepth::Sixteen);
    encoder.write_header().unwrap().write_image_data(&[0; 6144]).unwrap();
    put(&path, &file);
    refused(&dir, Split::Train, "has 16 bits for each colour; convert it to 8");
}

/// Blocks of one grey are exact: their only coefficient is a multiple of 8.
#[test]
fn jpeg_in_grey() {
    let dir = TempDir::new().unwrap();
    let blocks: [u8; 16] = std::array::from_fn(|block| (block * 17) as u8);
    // The content counts, not the ending.
    put(dir.path().join("train/a/1.png"), jpeg(&[blocks]));
    let images = single(dir.path()).images;
    for (place, pixel) in images.chunks(3).enumerate() {
        let block = place / 32 / 8 * 4 + place % 32 / 8;
        assert_eq!(pixel, [blocks[block]; 3], "pixel {place}");
    }
}

/// Against the definition of JFIF's colours. Decoders round them in fixed point, and may be one off.
#[test]
fn jpeg_in_colour() {
    let dir = TempDir::new().unwrap();
    let component = |start: usize, step: usize| std::array::from_fn(|block| (start + step * block) as u8);
    let [y, cb, cr]: [[u8; 16]; 3] = [component(60, 8), component(100, 3), component(150, 2)];
    put(dir.path().join("train/a/1.jpeg"), jpeg(&[y, cb, cr]));
    let images = single(dir.path()).images;
    for (place, pixel) in images.chunks(3).enumerate() {
        let block = place / 32 / 8 * 4 + place % 32 / 8;
        let [y, cb, cr] = [f64::from(y[block]), f64::from(cb[block]) - 128.0, f64::from(cr[block]) - 128.0];
        let exact = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
        let near = |(&byte, exact): (&u8, f64)| (f64::from(byte) - exact.clamp(0.0, 255.0)).abs() <= 1.0;
        assert!(pixel.iter().zip(exact).all(near), "pixel {place}: {pixel:?}, not {exact:?}");
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("train/a/1.png");
    let refusal = |bytes: &[u8], expected: &str| {
        put(&path, bytes);
        refused(&dir, Split::Train, expected);
    };
    refusal(&png(31, 32, ColorType::Grayscale, &[0; 992]), "1.png: has 31×32 pixels; scale all images to 32×32");
    // Four billion pixels by its header, and nothing behind it.
    let mut huge = png_of(0)[..33].to_vec();
    huge[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    refusal(&huge, "1.png: ");
    let good = png_of(0);
    refusal(&good[..good.len() / 2], "cannot be decoded");
    let grey = jpeg(&[[7; 16]]);
    refusal(&grey[..grey.len() / 2], "cannot be decoded");
    refusal(b"GIF89a", "is no PNG or JPEG image; convert it to PNG");
    refusal(b"", "is no PNG or JPEG image");
}

#[test]
fn what_is_missing_is_said() {
    let dir = TempDir::new().unwrap();
    put(dir.path().join("train/readme.txt"), "");
    refused(&dir, Split::Train, "holds no folder of a class");
    put(dir.path().join("train/a/readme.txt"), "");
    refused(&dir, Split::Train, "holds no image to train on; put .png or .jpg files into train/CLASS/");
    refused(&dir, Split::Test, "holds no folder test, so nothing to test on");
    put(dir.path().join("test/b/1.png"), png_of(0));
    refused(&dir, Split::Test, "b: is a class that train/ does not have");
    for class in 0..257 {
        std::fs::create_dir_all(dir.path().join(format!("train/{class}"))).unwrap();
    }
    refused(&dir, Split::Train, "holds 258 classes, but 256 is the most");
}
