//! An image file as 32×32 pixels in colour.

use crate::data::{IMAGE_BYTES, IMAGE_CHANNELS, IMAGE_SIDE, cannot_be_read};
use png::{BitDepth, ColorType, Transformations};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

const PNG: &[u8] = b"\x89PNG";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// Whether the file's name ends as an image's.
pub(super) fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The pixels `[32, 32, 3]` of an image, grey ones with three equal channels, or what is wrong with it. The content, not the name, says of which kind it is.
pub(super) fn decode(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("{}; check the file and its permissions", cannot_be_read(error));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut start = [0; 4];
    let length = file.read(&mut start).and_then(|length| file.rewind().map(|()| length)).map_err(unreadable)?;
    let pixels = match &start[..length] {
        start if start.starts_with(PNG) => png(file)?,
        start if start.starts_with(JPEG) => jpeg(file)?,
        _ => return Err("is no PNG or JPEG image; convert it to PNG".to_owned()),
    };
    // The decoders give what the header promised, which has been looked at.
    if pixels.len() != IMAGE_BYTES {
        return Err(damaged("its pixels are too few"));
    }
    Ok(pixels)
}

fn png(file: BufReader<File>) -> Result<Vec<u8>, String> {
    let mut decoder = png::Decoder::new(file);
    // Palettes become colours, and greys of fewer bits become bytes.
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    check_size(width as usize, height as usize)?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or_else(|| damaged("it is too large"))?];
    let frame = reader.next_frame(&mut bytes).map_err(damaged)?;
    bytes.truncate(frame.buffer_size());
    if frame.bit_depth != BitDepth::Eight {
        return Err("has 16 bits for each colour; convert it to 8".to_owned());
    }
    Ok(match frame.color_type {
        ColorType::Rgb => bytes,
        ColorType::Grayscale => bytes.iter().flat_map(|&grey| [grey; IMAGE_CHANNELS]).collect(),
        ColorType::Rgba => opaque(&bytes, 4)?.flatten().copied().collect(),
        ColorType::GrayscaleAlpha => opaque(&bytes, 2)?.flatten().flat_map(|&grey| [grey; IMAGE_CHANNELS]).collect(),
        ColorType::Indexed => return Err(damaged("it has no palette")),
    })
}

/// The colours of pixels of `stride` bytes, the last of which is the opacity.
fn opaque(bytes: &[u8], stride: usize) -> Result<impl Iterator<Item = &[u8]>, String> {
    if bytes.chunks_exact(stride).any(|pixel| pixel[stride - 1] != u8::MAX) {
        return Err("is transparent in places; put it on a background".to_owned());
    }
    Ok(bytes.chunks_exact(stride).map(move |pixel| &pixel[..stride - 1]))
}

fn jpeg(file: BufReader<File>) -> Result<Vec<u8>, String> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB).set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(file, options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged("it has no size"))?;
    check_size(width, height)?;
    decoder.decode().map_err(damaged)
}

fn check_size(width: usize, height: usize) -> Result<(), String> {
    if (width, height) == (IMAGE_SIDE, IMAGE_SIDE) {
        return Ok(());
    }
    Err(format!("has {width}×{height} pixels; scale all images to {IMAGE_SIDE}×{IMAGE_SIDE}"))
}

fn damaged(why: impl std::fmt::Display) -> String {
    let why = why.to_string();
    // A decoder's reason may have several lines, of which the first says what it is.
    format!("cannot be decoded ({}); replace it, or leave it out", why.lines().next().unwrap_or_default())
}
