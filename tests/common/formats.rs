//! Files of images in every format that is read, written by the formats' own rules.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{Cursor, Write};
use std::path::Path;

/// Value of a pixel of image `index`: differs between neighbours, rows, channels and images.
pub fn value(index: usize, row: usize, column: usize, channel: usize) -> u8 {
    (7 * index + 3 * row + 5 * column + 101 * channel) as u8
}

/// The pixels of an image, `[32, 32, 3]`.
pub fn pixels(index: usize) -> Vec<u8> {
    (0..3072).map(|place| value(index, place / 96, place / 3 % 32, place % 3)).collect()
}

/// The same with the channels one behind the other, as CIFAR has them.
pub fn planes(index: usize) -> Vec<u8> {
    (0..3072).map(|place| value(index, place / 32 % 32, place % 32, place / 1024)).collect()
}

/// Creates `path` with its folders.
pub fn put(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Records of CIFAR's binary version with these labels, images from `first` on; with `coarse`, CIFAR-100's.
pub fn cifar_binary(labels: &[u8], first: usize, coarse: Option<u8>) -> Vec<u8> {
    let record = |(index, &label): (usize, &u8)| [coarse.as_slice(), &[label], &planes(first + index)].concat();
    labels.iter().enumerate().flat_map(record).collect()
}

/// The images of a file of STL-10, given as `[96, 96, 3]`: three planes each, column by column.
pub fn stl10_images(images: &[&[u8]]) -> Vec<u8> {
    let stored = |image: &[u8]| (0..27648).map(|at| image[at % 96 * 288 + at / 96 % 96 * 3 + at / 9216]).collect::<Vec<u8>>();
    images.iter().flat_map(|image| stored(image)).collect()
}

/// An image of 96×96 pixels that differs from others, and from itself when turned.
pub fn large_pixels(index: usize) -> Vec<u8> {
    (0..27648).map(|at| value(index, at / 288, at / 3 % 96, at % 3)).collect()
}

/// A file of CIFAR's Python version as Python 2 wrote them: protocol 2, `key` with the labels.
pub fn cifar_pickle(key: &str, labels: &[u8], first: usize) -> Vec<u8> {
    let string = |text: &str| [&[b'U', text.len() as u8][..], text.as_bytes()].concat();
    let rows: Vec<u8> = (0..labels.len()).flat_map(|index| planes(first + index)).collect();
    let numbers: Vec<u8> = labels.iter().flat_map(|&label| [b'K', label]).collect();
    let names: Vec<u8> = (0..labels.len()).flat_map(|index| string(&format!("image_s_{index:06}.png"))).collect();
    [
        &b"\x80\x02}q\x01("[..],
        &string("batch_label"),
        b"q\x02",
        &string("training batch 1 of 5"),
        b"q\x03",
        &string(key),
        b"q\x04]q\x05(",
        &numbers,
        b"e",
        &string("data"),
        b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09(K\x01M",
        &(labels.len() as u16).to_le_bytes(),
        b"M\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
        &(rows.len() as u32).to_le_bytes(),
        &rows,
        b"tb",
        &string("filenames"),
        b"q\x0c]q\x0d(",
        &names,
        b"eu.",
    ]
    .concat()
}

/// An `.npy` file.
pub fn npy(descr: &str, shape: &[usize], elements: &[u8]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    // Elements begin at a multiple of 64.
    header += &" ".repeat(63 - (10 + header.len()) % 64);
    header.push('\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), elements].concat()
}

/// The images from `first` on, `[n, 32, 32, 3]`, as an `.npy` file.
pub fn npy_images(first: usize, n: usize) -> Vec<u8> {
    npy("|u1", &[n, 32, 32, 3], &(first..first + n).flat_map(pixels).collect::<Vec<_>>())
}

/// Labels as an `.npy` file of 64-bit integers, as NumPy has them by default.
pub fn npy_labels(labels: &[u8]) -> Vec<u8> {
    npy("<i8", &[labels.len()], &labels.iter().flat_map(|&label| i64::from(label).to_le_bytes()).collect::<Vec<_>>())
}

/// An `.npz` file with arrays of these names.
pub fn npz(arrays: &[(&str, Vec<u8>)], deflated: bool) -> Vec<u8> {
    use zip::write::SimpleFileOptions;
    let method = if deflated { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(array).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A PNG image of that size and kind, 8 bits a channel.
pub fn png(width: u32, height: u32, kind: png::ColorType, bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(kind);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    file
}

/// Image `index` as PNG.
pub fn png_of(index: usize) -> Vec<u8> {
    png(32, 32, png::ColorType::Rgb, &pixels(index))
}

/// A baseline JPEG of 32×32 pixels (ITU-T T.81), each of its 4×4 blocks of one colour: for each component (grey, or Y, Cb and Cr) the blocks' values.
pub fn jpeg(components: &[[u8; 16]]) -> Vec<u8> {
    let n = components.len() as u8;
    let segment = |marker: u8, bytes: &[u8]| [&[0xff, marker][..], &(bytes.len() as u16 + 2).to_be_bytes(), bytes].concat();
    // No quantisation, so that a block's first coefficient is 8 (value - 128), and its others are zero.
    let quantisation = segment(0xdb, &[&[0][..], &[1; 64]].concat());
    let frame_of = |id: u8| [id, 0x11, 0];
    let frame = segment(0xc0, &[&[8, 0, 32, 0, 32, n][..], &(1..=n).flat_map(frame_of).collect::<Vec<_>>()].concat());
    // Twelve sizes of differences, four bits each in order; one code of one bit, for the end of a block.
    let first =
        segment(0xc4, &[&[0x00, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &(0..12).collect::<Vec<u8>>()].concat());
    let others = segment(0xc4, &[0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00]);
    let scan = segment(0xda, &[&[n][..], &(1..=n).flat_map(|id| [id, 0x00]).collect::<Vec<_>>(), &[0, 63, 0]].concat());
    let mut bits = Vec::new();
    for block in 0..16 {
        for component in components {
            let coefficient = |block: usize| 8 * (i32::from(component[block]) - 128);
            let difference = coefficient(block) - if block == 0 { 0 } else { coefficient(block - 1) };
            let size = 32 - difference.unsigned_abs().leading_zeros();
            bits.extend((0..4).rev().map(|bit| size >> bit & 1 == 1));
            // Negative differences are written less one.
            let written = if difference < 0 { difference - 1 } else { difference };
            bits.extend((0..size).rev().map(|bit| written >> bit & 1 == 1));
            bits.push(false);
        }
    }
    bits.resize(bits.len().next_multiple_of(8), true);
    let bytes = bits.chunks(8).map(|byte| byte.iter().fold(0, |value, &bit| value << 1 | u8::from(bit)));
    let stuffed: Vec<u8> = bytes.flat_map(|byte| if byte == 0xff { vec![0xff, 0] } else { vec![byte] }).collect();
    [&[0xff, 0xd8][..], &quantisation, &frame, &first, &others, &scan, &stuffed, &[0xff, 0xd9]].concat()
}
