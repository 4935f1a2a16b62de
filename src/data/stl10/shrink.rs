//! From 96×96 to 32×32 pixels, in 8 bits: bit for bit what Pillow's `resize` with `BILINEAR` makes of an image, and so `Resize(32)` of torchvision.
//!
//! A new pixel is the mean of the old ones around it, weighted by a triangle that is as wide as the new pixels are far apart, to either side: 1, 2, 3, 2, 1, of
//! which at the border what lies inside. Weights are rounded to 22 binary places, and sums to bytes, first along the rows and then along the columns.

use crate::data::{IMAGE_CHANNELS, IMAGE_SIDE};

/// Height and width of an image before.
pub(super) const BEFORE: usize = 96;

/// Old pixels to a new one, along a line.
const RATIO: usize = BEFORE / IMAGE_SIDE;

const TRIANGLE: [u32; 2 * RATIO - 1] = [1, 2, 3, 2, 1];

/// Binary places of a weight.
const PLACES: u32 = 22;

/// The old pixels of a line that make a new one, and their weights.
type Sources = [(usize, u32); TRIANGLE.len()];

/// Scales `stored`, three planes of 96 columns, to `image`, `[32, 32, 3]`.
pub(super) fn shrink(stored: &[u8], image: &mut [u8]) {
    let sources: [Sources; IMAGE_SIDE] = std::array::from_fn(sources);
    for (channel, plane) in stored.chunks_exact(BEFORE * BEFORE).enumerate() {
        for (x, across) in sources.iter().enumerate() {
            // A column of the new width, still of the old height.
            let column: [u8; BEFORE] = std::array::from_fn(|y| mean(across, |x| plane[BEFORE * x + y]));
            for (y, down) in sources.iter().enumerate() {
                image[(IMAGE_SIDE * y + x) * IMAGE_CHANNELS + channel] = mean(down, |y| column[y]);
            }
        }
    }
}

/// Of the new pixel at `place`.
fn sources(place: usize) -> Sources {
    // Before the first pixel it is far beyond the last.
    let source = |tap: usize| (RATIO * place + tap).wrapping_sub(1);
    let inside = |tap: &usize| source(*tap) < BEFORE;
    let total: u32 = (0..TRIANGLE.len()).filter(inside).map(|tap| TRIANGLE[tap]).sum();
    // What lies outside has no weight, and may be any pixel.
    std::array::from_fn(|tap| match inside(&tap) {
        true => (source(tap), ((TRIANGLE[tap] << PLACES) + total / 2) / total),
        false => (0, 0),
    })
}

fn mean(sources: &Sources, pixel: impl Fn(usize) -> u8) -> u8 {
    let sum: u32 = sources.iter().map(|&(source, weight)| weight * u32::from(pixel(source))).sum();
    ((sum + (1 << (PLACES - 1))) >> PLACES) as u8
}
