//! Which pixels of a band are computed together.
//!
//! At the border of an image some taps of the filter lie over padding. A product with zero changes no sum, so pixels that see the same taps
//! inside the image share tiles, and these leave the other taps out: of a 3 × 3 filter on 4 × 4 pixels nearly a third.

use std::ops::Range;

use super::bands::{Band, Window};

/// Pixels that see the same taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// The taps inside the image, along rows and columns.
    pub(super) taps: [Range<usize>; 2],
    /// Numbers of the pixels, counted through the band.
    pub(super) pixels: Vec<usize>,
}

/// The pixels of a band, dealt out to as many classes as pay off: a tile that is not full takes as long as a full one. `cost` is the time that
/// so many pixels and taps take.
pub(super) fn classes(window: &Window, band: &Band, cost: impl Fn(usize, usize) -> usize) -> Vec<Class> {
    let total = |classes: &Vec<Class>| -> usize {
        classes.iter().map(|class| cost(class.pixels.len(), class.taps.iter().map(Range::len).product())).sum()
    };
    // Of equals the first, which has the fewest classes.
    let splits = [[false, false], [true, false], [false, true], [true, true]];
    splits.map(|split| apart(window, band, split)).into_iter().min_by_key(total).unwrap_or_default()
}

/// Classes along the axes that are to be told apart.
fn apart(window: &Window, band: &Band, [by_row, by_column]: [bool; 2]) -> Vec<Class> {
    let taps = |axis: usize, at: usize, told: bool| if told { inside(window, axis, at) } else { 0..window.taps[axis] };
    let columns: Vec<_> = (0..window.output[1]).map(|column| taps(1, column, by_column)).collect();
    let mut classes: Vec<Class> = Vec::new();
    let mut pixel = 0;
    for _ in band.images.clone() {
        for row in band.rows.clone() {
            let rows = taps(0, row, by_row);
            for column in &columns {
                let taps = [rows.clone(), column.clone()];
                match classes.iter_mut().find(|class| class.taps == taps) {
                    Some(class) => class.pixels.push(pixel),
                    None => classes.push(Class { taps, pixels: vec![pixel] }),
                }
                pixel += 1;
            }
        }
    }
    classes
}

/// The taps that an output pixel sees inside the image, along one axis.
fn inside(window: &Window, axis: usize, at: usize) -> Range<usize> {
    let first = (at * window.step[axis]) as isize + window.origin[axis];
    let end = (window.source[axis + 1] as isize - first).clamp(0, window.taps[axis] as isize).unsigned_abs();
    first.min(0).unsigned_abs().min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(size: usize, step: usize) -> Window {
        let output = size.div_ceil(step);
        Window { source: [2, size, size, 1], output: [output; 2], taps: [3; 2], step: [step; 2], origin: [-1; 2] }
    }

    /// Every pixel is in one class, whose taps are those that do not lie over padding.
    #[test]
    fn classes_hold_every_pixel_with_the_taps_it_sees() {
        for (size, step, rows) in [(4, 1, 0..4), (5, 2, 0..3), (8, 1, 2..5), (1, 1, 0..1)] {
            let window = window(size, step);
            let band = Band { images: 3..5, rows };
            let per_image = band.rows.len() * window.output[1];
            let classes = classes(&window, &band, |pixels, taps| pixels * taps);
            let mut seen = vec![0; 2 * per_image];
            for class in &classes {
                for pixel in &class.pixels {
                    seen[*pixel] += 1;
                    let at = [band.rows.start + pixel % per_image / window.output[1], pixel % window.output[1]];
                    for (axis, taps) in class.taps.iter().enumerate() {
                        let is_inside = |tap: &usize| (1..=size).contains(&(at[axis] * step + tap));
                        assert_eq!(taps.clone().collect::<Vec<_>>(), (0..3).filter(is_inside).collect::<Vec<_>>());
                    }
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
        }
    }

    #[test]
    fn what_does_not_pay_off_is_not_told_apart() {
        let (window, band) = (window(4, 1), Band { images: 0..1, rows: 0..4 });
        let whole_tiles = |pixels: usize, taps: usize| pixels.div_ceil(16) * taps;
        let all = Class { taps: [0..3, 0..3], pixels: (0..16).collect() };
        assert_eq!(classes(&window, &band, whole_tiles), [all]);
    }
}
