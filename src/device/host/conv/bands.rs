//! Cutting a batch into bands, and a band's zero-padded copy.

use std::ops::Range;

use crate::device::host::convert::widen;
use crate::element::{Element, Real};

/// Output pixels of a band: its sums shall fit the second-level cache, with its copy or what a block of the depth reads of that.
const PIXELS: usize = 256;

/// Where a convolution reads: output pixel `(u, v)` sees the `taps` of rows from `u · step + origin` on, and likewise for
/// columns; what lies outside the image is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Images, rows, columns and channels of the tensor that is read.
    pub(super) source: [usize; 4],
    /// Rows and columns of the output.
    pub(super) output: [usize; 2],
    /// Rows and columns of the filter.
    pub(super) taps: [usize; 2],
    /// Input rows and columns from one output pixel to the next.
    pub(super) step: [usize; 2],
    /// Row and column of the input under the first tap of the first output pixel.
    pub(super) origin: [isize; 2],
}

/// Consecutive images, or consecutive output rows of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
}

/// The padded copy of a band: `[images, height, width, channels]`.
///
/// Where the filter has one row (column), only the rows (columns) that are looked at are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Padded {
    window: Window,
    /// Input rows and columns between neighbours in the copy.
    sample: [usize; 2],
    /// Rows and columns of the copy between neighbouring output pixels.
    pub(super) step: [usize; 2],
    /// Images of a full band.
    images: usize,
    /// Output rows of a full band.
    rows: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Padded {
    /// Of bands with copies of at most `most` bytes, or of one image.
    pub(super) fn new<R: Real>(window: Window, most: usize) -> Self {
        let axis = |a: usize| if window.taps[a] == 1 { (window.step[a], 1) } else { (1, window.step[a]) };
        let ((sample_h, step_h), (sample_w, step_w)) = (axis(0), axis(1));
        let [out_h, out_w] = window.output;
        let extent = |output: usize, step: usize, taps: usize| (output - 1) * step + taps;
        let width = extent(out_w, step_w, window.taps[1]);

        let parts = (out_h * out_w).div_ceil(PIXELS).min(out_h);
        let rows = out_h.div_ceil(parts);
        let height = extent(rows, step_h, window.taps[0]);
        let bytes = height * width * window.source[3] * size_of::<R>();
        // Not fewer in a small batch: filters that are packed for one batch serve every other.
        let images = if parts > 1 { 1 } else { (PIXELS / (out_h * out_w)).min(most / bytes.max(1)).max(1) };
        Self { window, sample: [sample_h, sample_w], step: [step_h, step_w], images, rows, height, width }
    }

    /// The bands of some images, in order.
    pub(super) fn bands(&self, images: Range<usize>) -> Vec<Band> {
        let rows = self.window.output[0];
        images
            .clone()
            .step_by(self.images)
            .flat_map(|image| (0..rows).step_by(self.rows).map(move |row| (image, row)))
            .map(|(image, row)| Band { images: image..images.end.min(image + self.images), rows: row..rows.min(row + self.rows) })
            .collect()
    }

    /// Elements of the copy of a full band.
    pub(super) fn len(&self) -> usize {
        self.images * self.height * self.width * self.window.source[3]
    }

    /// Output pixels of a full band.
    pub(super) fn pixels(&self) -> usize {
        self.images * self.rows * self.window.output[1]
    }

    /// Where the pixel `(image, row, column)` of a band's output finds its first tap in the copy.
    pub(super) fn offset(&self, image: usize, row: usize, column: usize) -> usize {
        ((image * self.height + row * self.step[0]) * self.width + column * self.step[1]) * self.window.source[3]
    }

    /// What it is copied for.
    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// The first band of a large batch.
    pub(super) fn first_band(&self) -> Band {
        Band { images: 0..self.images, rows: 0..self.rows }
    }

    /// Copies the input of a band.
    pub(super) fn fill<T: Element>(&self, band: &Band, source: &[T], copy: &mut [T::Real]) {
        let [_, h, w, c] = self.window.source;
        let height = (band.rows.len() - 1) * self.step[0] + self.window.taps[0];
        let [first_row, first_column] = [0, 1].map(|a| self.window.origin[a]);
        for (slot, image) in band.images.clone().enumerate() {
            for row in 0..height {
                let target = &mut copy[(slot * self.height + row) * self.width * c..][..self.width * c];
                let row = first_row + ((band.rows.start * self.step[0] + row) * self.sample[0]) as isize;
                match usize::try_from(row).ok().filter(|row| *row < h) {
                    Some(row) => self.fill_row(first_column, &source[(image * h + row) * w * c..][..w * c], target),
                    None => target.fill(T::Real::ZERO),
                }
            }
        }
    }

    fn fill_row<T: Element>(&self, first: isize, source: &[T], target: &mut [T::Real]) {
        let [.., w, c] = self.window.source;
        let sample = self.sample[1];
        // The columns of the copy that lie inside the image.
        let start = first.min(0).unsigned_abs().div_ceil(sample).min(self.width);
        let end = (w as isize - first).max(0).unsigned_abs().div_ceil(sample).clamp(start, self.width);
        target[..start * c].fill(T::Real::ZERO);
        target[end * c..].fill(T::Real::ZERO);
        if start == end {
            return;
        }
        let origin = (first + (start * sample) as isize).unsigned_abs();
        if sample == 1 {
            widen(&source[origin * c..][..(end - start) * c], &mut target[start * c..end * c]);
        } else {
            for (slot, pixel) in target[start * c..end * c].chunks_exact_mut(c).enumerate() {
                widen(&source[(origin + slot * sample) * c..][..c], pixel);
            }
        }
    }
}
