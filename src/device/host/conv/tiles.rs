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
/// so many pixels and taps take, `store` that of writing a pixel while all are in order, and else.
pub(super) fn classes(window: &Window, band: &Band, store: [usize; 2], cost: impl Fn(usize, usize) -> usize) -> Vec<Class> {
    apart(window, band, Borders::new(window, band).cheapest(store, cost).1)
}

/// How many rows and columns of a band see which taps. From these alone the time of any classes follows.
pub(super) struct Borders {
    images: usize,
    /// Along rows and columns: the taps that a place sees inside the image, and how many places do.
    kinds: [Vec<(Range<usize>, usize)>; 2],
    /// All taps, for places that are not told apart.
    taps: [usize; 2],
}

impl Borders {
    pub(super) fn new(window: &Window, band: &Band) -> Self {
        let kinds = |axis: usize, places: Range<usize>| {
            let (taps, kinds) = kinds(window, axis, places, true);
            let count = |kind| kinds.iter().filter(|other| **other == kind).count();
            taps.into_iter().enumerate().map(|(kind, taps)| (taps, count(kind))).collect()
        };
        let kinds = [kinds(0, band.rows.clone()), kinds(1, 0..window.output[1])];
        Self { images: band.images.len(), kinds, taps: window.taps }
    }

    /// The time of the classes that cost least, and the axes along which they are told apart.
    pub(super) fn cheapest(&self, store: [usize; 2], cost: impl Fn(usize, usize) -> usize) -> (usize, [bool; 2]) {
        let kinds = |axis: usize, told: bool| -> Vec<(usize, usize)> {
            let kinds = &self.kinds[axis];
            match told {
                true => kinds.iter().map(|(taps, places)| (taps.len(), *places)).collect(),
                false => vec![(self.taps[axis], kinds.iter().map(|(_, places)| places).sum())],
            }
        };
        let pixels: usize =
            self.images * self.kinds.iter().map(|kinds| kinds.iter().map(|(_, places)| places).sum::<usize>()).product::<usize>();
        let total = |split: [bool; 2]| -> usize {
            let columns = kinds(1, split[1]);
            let class = |(taps, rows): (usize, usize)| -> usize {
                columns.iter().map(|(across, columns)| cost(self.images * rows * columns, taps * across)).sum()
            };
            let products: usize = kinds(0, split[0]).into_iter().map(class).sum();
            products + store[usize::from(split != [false, false])] * pixels
        };
        // Of equals the first, which has the fewest classes.
        let splits = [[false, false], [true, false], [false, true], [true, true]];
        splits.map(|split| (total(split), split)).into_iter().min_by_key(|(total, _)| *total).unwrap_or_default()
    }
}

/// Classes along the axes that are to be told apart.
fn apart(window: &Window, band: &Band, [by_row, by_column]: [bool; 2]) -> Vec<Class> {
    let (rows, row_kinds) = kinds(window, 0, band.rows.clone(), by_row);
    let (columns, column_kinds) = kinds(window, 1, 0..window.output[1], by_column);
    let class = |rows: &Range<usize>, columns: &Range<usize>| Class { taps: [rows.clone(), columns.clone()], pixels: Vec::new() };
    let mut classes: Vec<Class> = rows.iter().flat_map(|rows| columns.iter().map(move |columns| class(rows, columns))).collect();
    let mut pixels = 0..;
    for row in band.images.clone().flat_map(|_| &row_kinds) {
        for (column, pixel) in column_kinds.iter().zip(&mut pixels) {
            classes[row * columns.len() + column].pixels.push(pixel);
        }
    }
    classes
}

/// Along one axis, the sets of taps that places see inside the image, and which of them each place sees; all taps where places are not told apart.
fn kinds(window: &Window, axis: usize, places: Range<usize>, told: bool) -> (Vec<Range<usize>>, Vec<usize>) {
    let mut kinds: Vec<Range<usize>> = Vec::new();
    let kind = |place| {
        let taps = if told { inside(window, axis, place) } else { 0..window.taps[axis] };
        kinds.iter().position(|known| *known == taps).unwrap_or_else(|| {
            kinds.push(taps);
            kinds.len() - 1
        })
    };
    let of_places = places.map(kind).collect();
    (kinds, of_places)
}

/// The taps that an output pixel sees inside the image, along one axis.
pub(super) fn inside(window: &Window, axis: usize, at: usize) -> Range<usize> {
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
            let classes = classes(&window, &band, [0, 0], |pixels, taps| pixels * taps);
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
        assert_eq!(classes(&window, &band, [0, 0], whole_tiles), std::slice::from_ref(&all));
        let dear = |pixels: usize, taps: usize| pixels * taps;
        assert_eq!(classes(&window, &band, [0, 0], dear).len(), 9);
        assert_eq!(classes(&window, &band, [0, 9], dear), [all]);
    }
}
