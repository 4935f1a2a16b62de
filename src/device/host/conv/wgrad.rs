//! The gradient of a convolution with respect to its filters.

use std::ops::Range;

use rayon::prelude::*;

use super::bands::{Band, Padded, Window};
use super::tiles::inside;
use super::{ConvShape, TASKS};
use crate::Result;
use crate::device::host::convert::widen;
use crate::device::host::kernel::{Kernel, Segment, Tile, choose};
use crate::device::host::scratch::{self, ScratchBytes};
use crate::element::{Element, Real};

/// Bytes of gradient that a task accumulates: they shall stay in the second-level cache.
const BYTES: usize = 256 << 10;

/// Bytes of a band's padded copy, which passes through the same cache.
const COPY_BYTES: usize = 320 << 10;

/// `dw = gradient`, or `dw += gradient` where `accumulate`.
///
/// `x` is `[n, h, w, c]`, `dy` `[n, out_h, out_w, k]`, `dw` `[k, r, s, c]` and always of the computing type.
///
/// Few filters: the images are dealt out to tasks, and their partial sums are added in order. Many filters: these are dealt
/// out too, so that partial sums never take much memory.
///
/// # Errors
/// [`crate::Error::Shape`] if the shape has no output or a slice has another length.
pub fn wgrad<T: Element>(shape: &ConvShape, x: &[T], dy: &[T], accumulate: bool, dw: &mut [T::Real]) -> Result<()> {
    shape.check(
        "conv wgrad",
        &[("x", x.len(), shape.x_len()), ("dy", dy.len(), shape.y_len()), ("dw", dw.len(), shape.filter_len())],
    )?;
    if shape.n == 0 {
        if !accumulate {
            dw.fill(T::Real::ZERO);
        }
        return Ok(());
    }
    let plan = Plan::<T>::new(shape);
    let (chunks, groups) = plan.tasks();
    scratch::for_call(|scratch| {
        let partials: &mut [T::Real] = scratch.slice(chunks * groups * plan.partial_len());
        partials.par_chunks_exact_mut(plan.partial_len()).enumerate().for_each(|(task, partial)| {
            let (chunk, group) = (task / groups * plan.filters, task % groups * plan.images);
            let filters = chunk..shape.k.min(chunk + plan.filters);
            plan.task(filters, group..shape.n.min(group + plan.images), x, dy, partial);
        });
        let partials = &*partials;
        let row = shape.s * shape.c;
        dw.par_chunks_exact_mut(row).enumerate().for_each(|(index, target)| {
            let (filter, filter_row) = (index / shape.r, index % shape.r);
            let partials =
                partials[filter / plan.filters * groups * plan.partial_len()..].chunks_exact(plan.partial_len()).take(groups);
            plan.add(filter % plan.filters, filter_row, partials, accumulate, target);
        });
    });
    Ok(())
}

/// The working memory of [`wgrad`].
pub(in crate::device) fn wgrad_scratch<T: Element>(shape: &ConvShape) -> ScratchBytes {
    if shape.n == 0 {
        return ScratchBytes::default();
    }
    let plan = Plan::<T>::new(shape);
    let (chunks, groups) = plan.tasks();
    ScratchBytes::of::<T::Real>(chunks * groups * plan.partial_len(), plan.copy_len() + plan.gradient_len())
}

/// A filter gradient laid out for the kernel: vectors run along a filter row, points along the filters.
struct Plan<'a, T: Element> {
    shape: &'a ConvShape,
    kernel: &'static Kernel<T::Real>,
    padded: Padded,
    /// Filters per task.
    filters: usize,
    /// Filters per task, whole tiles of them.
    filters_padded: usize,
    /// Images per task.
    images: usize,
    /// Panels of lanes per filter row.
    panels: usize,
}

impl<'a, T: Element> Plan<'a, T> {
    fn new(shape: &'a ConvShape) -> Self {
        let ConvShape { n, h, w, c, k, r, s, stride, pad } = *shape;
        let row = s * c;
        let kernel = choose::<T::Real>(row, k);
        let panels = row.div_ceil(kernel.lanes);

        let bytes_per_tile = r * panels * kernel.lanes * kernel.points * size_of::<T::Real>();
        let tiles = k.div_ceil(kernel.points);
        let tiles_per_task = tiles.div_ceil(tiles.div_ceil((BYTES / bytes_per_tile).max(1)));
        let filters_padded = tiles_per_task * kernel.points;
        let filters = filters_padded.min(k);
        let groups = TASKS.div_ceil(k.div_ceil(filters)).min(n);

        let window = Window {
            source: [n, h, w, c],
            output: [shape.out_h(), shape.out_w()],
            taps: [r, s],
            step: [stride; 2],
            origin: [-(pad as isize); 2],
        };
        Self {
            shape,
            kernel,
            padded: Padded::new::<T::Real>(window, COPY_BYTES),
            filters,
            filters_padded,
            images: n.div_ceil(groups),
            panels,
        }
    }

    /// Into how many chunks of filters and groups of images the work is cut.
    fn tasks(&self) -> (usize, usize) {
        (self.shape.k.div_ceil(self.filters), self.shape.n.div_ceil(self.images))
    }

    /// Elements of a band's copy; the last vector of a filter row may reach beyond it.
    fn copy_len(&self) -> usize {
        scratch::aligned::<T::Real>(self.padded.len() + self.kernel.lanes)
    }

    /// Elements of the gradient of a band.
    fn gradient_len(&self) -> usize {
        self.padded.pixels() * self.filters_padded
    }

    /// Elements of a task's sums, `[filter row, panel, filter, lane]`.
    fn partial_len(&self) -> usize {
        self.shape.r * self.panels * self.filters_padded * self.kernel.lanes
    }

    fn task(&self, filters: Range<usize>, images: Range<usize>, x: &[T], dy: &[T], partial: &mut [T::Real]) {
        let Kernel { lanes, points, run, .. } = *self.kernel;
        let offsets: Vec<usize> = (0..self.filters_padded).collect();
        let copy_len = self.copy_len();
        let row_len = self.padded.width * self.shape.c;
        partial.fill(T::Real::ZERO);
        scratch::for_task(|scratch| {
            let (copy, gradient) = scratch.slice(copy_len + self.gradient_len()).split_at_mut(copy_len);
            let (mut extent, mut segments) = (Band::default(), Vec::new());
            for band in self.padded.bands(images) {
                self.padded.fill(&band, x, copy);
                self.fill_gradient(&band, &filters, dy, gradient);
                // Most bands have the same rows of as many images.
                let this = Band { images: 0..band.images.len(), rows: band.rows };
                if this != extent {
                    segments = self.segments(&this);
                    extent = this;
                }
                for (index, sums) in partial.chunks_exact_mut(self.filters_padded * lanes).enumerate() {
                    let (filter_row, panel) = (index / self.panels, index % self.panels);
                    let vectors = &copy[filter_row * row_len + panel * lanes..];
                    for (offsets, sums) in offsets.chunks_exact(points).zip(sums.chunks_exact_mut(points * lanes)) {
                        let sums = sums.as_mut_ptr();
                        let tile = Tile {
                            segments: &segments[index],
                            vectors: vectors.as_ptr(),
                            vector_step: self.padded.step[1] * self.shape.c,
                            scalars: gradient.as_ptr(),
                            scalar_step: self.filters_padded,
                            offsets,
                            initial: sums,
                            initial_stride: lanes,
                            sums,
                        };
                        // SAFETY: the segments address pixels of the band, whose filter rows end inside the copy, the last
                        // panel less than `lanes` beyond; the gradient has `filters_padded` numbers per pixel.
                        unsafe { run(&tile) };
                    }
                }
            }
        });
    }

    /// Copies the gradient of a band at some filters as `[pixel, filter]`.
    fn fill_gradient(&self, band: &Band, filters: &Range<usize>, dy: &[T], copy: &mut [T::Real]) {
        let (h, w, k) = (self.shape.out_h(), self.shape.out_w(), self.shape.k);
        let mut copy = copy.chunks_exact_mut(self.filters_padded);
        for image in band.images.clone() {
            let pixels = (image * h + band.rows.start) * w..(image * h + band.rows.end) * w;
            for (pixel, copy) in dy[pixels.start * k..pixels.end * k].chunks_exact(k).zip(&mut copy) {
                widen(&pixel[filters.clone()], &mut copy[..filters.len()]);
            }
        }
    }

    /// For `[filter row, panel]` the pixels of a band that see a tap of it inside the image: one segment per row, or fewer where rows follow each
    /// other in the copy as in the gradient. Those over padding add nothing: of a 3 × 3 filter on 4 × 4 pixels nearly a third.
    fn segments(&self, band: &Band) -> Vec<Vec<Segment>> {
        let (window, w) = (self.padded.window(), self.shape.out_w());
        let (vector_step, scalar_step) = (self.padded.step[1] * self.shape.c, self.filters_padded);
        let rows = |filter_row: usize| -> Vec<(usize, usize)> {
            let sees = |row: &usize| inside(window, 0, *row).contains(&filter_row);
            let all = band
                .images
                .clone()
                .flat_map(|image| band.rows.clone().filter(sees).map(move |row| (image, row - band.rows.start)));
            all.map(|(image, row)| (self.padded.offset(image, row, 0), (image * band.rows.len() + row) * w * scalar_step))
                .collect()
        };
        let columns: Vec<Range<usize>> = (0..self.panels).map(|panel| self.columns(panel)).collect();
        let mut all = Vec::with_capacity(self.shape.r * self.panels);
        for rows in (0..self.shape.r).map(rows) {
            for columns in &columns {
                let mut segments: Vec<Segment> = Vec::with_capacity(rows.len());
                for (vector, scalar) in &rows {
                    let (vector, scalar) = (vector + columns.start * vector_step, scalar + columns.start * scalar_step);
                    match segments.last_mut() {
                        Some(last)
                            if last.vector + last.len * vector_step == vector
                                && last.scalar + last.len * scalar_step == scalar =>
                        {
                            last.len += columns.len();
                        }
                        _ => segments.push(Segment { vector, scalar, len: columns.len() }),
                    }
                }
                all.push(segments);
            }
        }
        all
    }

    /// The columns of pixels that see a tap of a panel inside the image.
    fn columns(&self, panel: usize) -> Range<usize> {
        let lanes = panel * self.kernel.lanes..(panel + 1) * self.kernel.lanes;
        let taps = lanes.start / self.shape.c..lanes.end.div_ceil(self.shape.c);
        let sees = |column: &usize| {
            let inside = inside(self.padded.window(), 1, *column);
            inside.start < taps.end && taps.start < inside.end
        };
        let mut columns = 0..self.shape.out_w();
        columns.find(sees).map_or(0..0, |first| first..columns.rfind(sees).unwrap_or(first) + 1)
    }

    /// Adds up the partial sums of one row of one filter.
    fn add<'p>(
        &self,
        filter: usize,
        filter_row: usize,
        partials: impl Iterator<Item = &'p [T::Real]>,
        accumulate: bool,
        target: &mut [T::Real],
    ) {
        let lanes = self.kernel.lanes;
        let mut add = accumulate;
        for partial in partials {
            for (panel, target) in target.chunks_mut(lanes).enumerate() {
                let at = ((filter_row * self.panels + panel) * self.filters_padded + filter) * lanes;
                for (target, sum) in target.iter_mut().zip(&partial[at..]) {
                    *target = if add { *target + *sum } else { *sum };
                }
            }
            add = true;
        }
    }
}
