//! The one loop nest behind [`fprop`](super::fprop()) and [`dgrad`](super::dgrad()).

use std::ops::Range;

use rayon::prelude::*;

use super::bands::{Band, Padded, Window};
use super::tiles::{self, Borders, Class};
use super::{DEPTH, Epilogue, TASKS};
use crate::device::host::convert::widen;
use crate::device::host::isa::Isa;
use crate::device::host::kernel::{Kernel, Kernels, Segment, Tile, choose, choose_by};
use crate::device::host::scratch::{self, ScratchBytes};
use crate::device::host::transpose::{SIDE, transpose};
use crate::element::{Element, Real};

/// Pixels that may be computed as one, see [`Correlation::group`].
pub(super) const GROUP: usize = 8;

/// Time of writing one stretch of output from the sums, in the units of [`Kernel::cost`].
const STORE: usize = 48;

/// Bytes of a band's padded copy. It is read once for each panel of filters, and these once for each band: a large copy leaves the second-level cache, a
/// small one has all filters pass more often. Where that balances was measured, with AVX-512 and with AVX2: see
/// `docs/performance.md`. Other vectors are as narrow as AVX2's or narrower, and have its size.
fn copy_bytes() -> usize {
    match Isa::widest() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => 320 << 10,
        _ => 1280 << 10,
    }
}

/// Along one axis, the filter tap that lies over tap `tap` of the window, for pixel `pixel` of the group:
/// `first + tap · per_tap + pixel · per_pixel`, or none where that is outside the filter.
#[derive(Clone, Copy)]
pub(super) struct Taps {
    pub(super) first: isize,
    pub(super) per_tap: isize,
    pub(super) per_pixel: isize,
    /// Taps of the filter.
    pub(super) size: usize,
}

impl Taps {
    fn over(&self, tap: usize, pixel: usize) -> Option<usize> {
        let tap = self.first + tap as isize * self.per_tap + pixel as isize * self.per_pixel;
        usize::try_from(tap).ok().filter(|tap| *tap < self.size)
    }
}

/// Filters in memory and how they lie under the window.
#[derive(Clone, Copy)]
pub(super) struct Filters<'a, T: Element> {
    /// Nothing where they are packed.
    pub(super) data: &'a [T],
    /// As [`Correlation::pack`] has laid them out.
    pub(super) packed: Option<&'a [T::Real]>,
    /// Along rows and columns.
    pub(super) taps: [Taps; 2],
    /// Distance between rows and between columns of a filter.
    pub(super) tap_stride: [usize; 2],
    /// Distance between the weights of neighbouring channels of the output; 1 here or in the next.
    pub(super) channel_stride: usize,
    /// Distance between the weights of neighbouring channels of the input.
    pub(super) depth_stride: usize,
}

/// Where the output goes: the window's output `(u, v)` to row `first[0] + u · step[0]` and column `first[1] + v · step[1]`.
#[derive(Clone, Copy)]
pub(super) struct Placement {
    /// Images, rows, columns and channels of the tensor that is written.
    pub(super) shape: [usize; 4],
    pub(super) first: [usize; 2],
    pub(super) step: [usize; 2],
}

/// `output[placement(u, v)] = epilogue(Σ filters · source under the window at (u, v) + bias)`.
pub(super) struct Correlation<'a, T: Element> {
    pub(super) window: Window,
    pub(super) filters: Filters<'a, T>,
    pub(super) placement: Placement,
    /// Neighbouring output columns that are computed as one pixel with that many times the channels.
    ///
    /// Fills the vectors of a network too narrow for them: each pixel has its own copy of the filters, shifted within a window
    /// that is wide enough for all. A sum gains products with zero, so its value stays, unless the neighbour under the zero is
    /// infinite or NaN: that then shows a few columns further.
    pub(super) group: usize,
    pub(super) bias: Option<&'a [T]>,
    pub(super) epilogue: Epilogue<'a, T>,
}

/// Time of an output row of `columns` pixels that are computed in groups, each a product of the given depth.
pub(super) fn cost<R: Kernels>(channels: usize, columns: usize, group: usize, depth: usize) -> usize {
    // Rows that share tiles, so that the last tile of a row does not count.
    const ROWS: usize = 1 << 10;
    let (lanes, points) = (channels * group, columns.div_ceil(group) * ROWS);
    let kernel = choose::<R>(lanes, points);
    kernel.cost(lanes, points) * depth + points * lanes.div_ceil(kernel.lanes) * STORE
}

/// Numbers of input that a window sees.
fn depth(window: &Window) -> usize {
    window.taps[0] * window.taps[1] * window.source[3]
}

/// An output shared by tasks that write disjoint parts of it.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

// SAFETY: every element is written by one task only, see `Plan::store`.
unsafe impl<T: Send> Sync for Shared<T> {}

/// A correlation laid out for the kernel.
struct Plan<'a, T: Element> {
    correlation: &'a Correlation<'a, T>,
    kernel: &'static Kernel<T::Real>,
    /// Channels of a computed pixel.
    channels: usize,
    padded: Padded,
    /// The bands, each with the number of its layout.
    bands: Vec<(Band, usize)>,
    layouts: Vec<Layout>,
    /// The whole depth.
    depth: usize,
}

/// How the pixels of a band are computed; bands of as many images and the same rows share it.
struct Layout {
    /// Where the computed pixels read, whole tiles of them; class after class.
    offsets: Vec<usize>,
    /// Which of these each pixel of the band is.
    slots: Vec<usize>,
    /// Whether that is its own number.
    in_order: bool,
    /// For each class, which of the offsets are its, and its depth, cut into as many blocks as any other's; vectors are relative to a panel of
    /// packed filters.
    classes: Vec<(Range<usize>, Vec<Vec<Segment>>)>,
}

impl<T: Element> Correlation<'_, T> {
    /// Computes the output pixels that `placement` reaches.
    pub(super) fn run(&self, source: &[T], output: &mut [T]) {
        if self.placement.shape[0] == 0 {
            return;
        }
        let plan = Plan::new(self);
        let panels = plan.panels();
        let output = Shared(output.as_mut_ptr());

        scratch::for_call(|scratch| {
            let here = if self.filters.packed.is_some() { 0 } else { plan.weights_len() };
            let buffer: &mut [T::Real] = scratch.slice(here + plan.biases_len());
            let (weights, biases) = buffer.split_at_mut(here);
            plan.pack_bias(biases);
            let (weights, biases) = match self.filters.packed {
                Some(packed) => (packed, &*biases),
                None => {
                    plan.pack_all(weights);
                    (&*weights, &*biases)
                }
            };

            let panels_per_task = panels.div_ceil(TASKS.div_ceil(plan.bands.len()).min(panels));
            let per_band = panels.div_ceil(panels_per_task);
            (0..plan.bands.len() * per_band).into_par_iter().for_each(|task| {
                let first = task % per_band * panels_per_task;
                let panels = first..panels.min(first + panels_per_task);
                plan.task(task / per_band, panels, source, weights, biases, output);
            });
        });
    }

    /// Channels of a computed pixel.
    fn channels(&self) -> usize {
        self.placement.shape[3] * self.group
    }

    /// Whether whole rows of the output lie as their sums do, while these are in order.
    fn writes_rows(&self, kernel: &Kernel<T::Real>) -> bool {
        kernel.lanes == self.channels() && self.placement.step[1] * self.placement.shape[3] == kernel.lanes
    }

    /// Time of writing a pixel while the sums are in order, and else.
    fn store_cost(&self, kernel: &Kernel<T::Real>) -> [usize; 2] {
        let scattered = self.channels().div_ceil(kernel.lanes) * STORE;
        [if self.writes_rows(kernel) { 0 } else { scattered }, scattered]
    }

    /// Time of the products of so many pixels and taps.
    fn product_cost(&self, kernel: &Kernel<T::Real>) -> impl Fn(usize, usize) -> usize {
        let (channels, inputs) = (self.channels(), self.window.source[3]);
        move |pixels, taps| kernel.cost(channels, pixels) * taps * inputs
    }

    /// Lays the filters out for [`run`](Self::run) with any batch.
    pub(super) fn pack(&self, target: &mut [T::Real]) {
        Plan::new(self).pack_all(target);
    }

    /// Elements of the packed filters.
    pub(super) fn packed_len(&self) -> usize {
        Plan::new(self).weights_len()
    }

    /// The working memory of [`run`](Self::run).
    pub(super) fn scratch(&self) -> ScratchBytes {
        if self.placement.shape[0] == 0 {
            return ScratchBytes::default();
        }
        let plan = Plan::new(self);
        ScratchBytes::of::<T::Real>(plan.weights_len() + plan.biases_len(), plan.copy_len() + plan.sums_len())
    }
}

impl<'a, T: Element> Plan<'a, T> {
    fn new(correlation: &'a Correlation<'a, T>) -> Self {
        let window = correlation.window;
        let channels = correlation.channels();
        let padded = Padded::new::<T::Real>(window, copy_bytes());
        // By what a large batch takes: filters that are packed for one batch serve every other.
        let borders = Borders::new(&window, &padded.first_band());
        let kernel = choose_by(|kernel| borders.cheapest(correlation.store_cost(kernel), correlation.product_cost(kernel)).0);
        let mut plan =
            Self { correlation, kernel, channels, padded, bands: Vec::new(), layouts: Vec::new(), depth: depth(&window) };

        let mut kinds: Vec<(usize, Range<usize>)> = Vec::new();
        for band in padded.bands(0..window.source[0]) {
            let kind = (band.images.len(), band.rows.clone());
            let known = kinds.iter().position(|other| *other == kind);
            let layout = known.unwrap_or(kinds.len());
            if known.is_none() {
                plan.layouts.push(plan.layout(&band));
                kinds.push(kind);
            }
            plan.bands.push((band, layout));
        }
        plan
    }

    fn layout(&self, band: &Band) -> Layout {
        let window = &self.correlation.window;
        let pixels = (0..band.images.len()).flat_map(|image| (0..band.rows.len()).map(move |row| (image, row)));
        let pixels = pixels.flat_map(|(image, row)| (0..window.output[1]).map(move |column| (image, row, column)));
        let offsets: Vec<usize> = pixels.map(|(image, row, column)| self.padded.offset(image, row, column)).collect();
        let mut layout = Layout { offsets: Vec::new(), slots: vec![0; offsets.len()], in_order: true, classes: Vec::new() };
        for Class { taps, pixels } in
            tiles::classes(window, band, self.correlation.store_cost(self.kernel), self.correlation.product_cost(self.kernel))
        {
            let first = layout.offsets.len();
            for (index, pixel) in pixels.iter().enumerate() {
                layout.slots[*pixel] = first + index;
                layout.in_order &= *pixel == first + index;
                layout.offsets.push(offsets[*pixel]);
            }
            layout.offsets.resize((first + pixels.len()).next_multiple_of(self.kernel.points), 0);
            layout.classes.push((first..layout.offsets.len(), self.blocks(&taps)));
        }
        layout
    }

    /// The depth of such taps, in blocks; none is left out, though it may be empty.
    fn blocks(&self, taps: &[Range<usize>; 2]) -> Vec<Vec<Segment>> {
        let Window { source: [.., inputs], taps: [_, width], .. } = self.correlation.window;
        let run = width * inputs;
        let block = self.depth.div_ceil(self.depth.div_ceil(DEPTH).max(1)).max(1);
        let cut = |from: usize| {
            let row = |row: usize| {
                let start = from.max(row * run + taps[1].start * inputs);
                let end = (from + block).min(row * run + taps[1].end * inputs);
                (start < end).then(|| Segment {
                    vector: start * self.kernel.lanes,
                    scalar: start / run * self.padded.width * inputs + start % run,
                    len: end - start,
                })
            };
            taps[0].clone().filter_map(row).collect()
        };
        (0..self.depth.max(1)).step_by(block).map(cut).collect()
    }

    fn panels(&self) -> usize {
        self.channels.div_ceil(self.kernel.lanes)
    }

    /// Elements of a panel of packed filters.
    fn panel_len(&self) -> usize {
        self.depth * self.kernel.lanes
    }

    /// Elements of all packed filters.
    fn weights_len(&self) -> usize {
        self.panels() * self.panel_len()
    }

    /// Elements of all packed biases.
    fn biases_len(&self) -> usize {
        self.panels() * self.kernel.lanes
    }

    /// Elements of a band's copy.
    fn copy_len(&self) -> usize {
        scratch::aligned::<T::Real>(self.padded.len())
    }

    /// Elements of the sums of a band and a panel.
    fn sums_len(&self) -> usize {
        self.layouts.iter().map(|layout| layout.offsets.len()).max().unwrap_or(0) * self.kernel.lanes
    }

    /// Lays out all weights, panel by panel.
    fn pack_all(&self, target: &mut [T::Real]) {
        if target.is_empty() {
            return;
        }
        target.par_chunks_exact_mut(self.panel_len()).enumerate().for_each(|(panel, target)| {
            Isa::widest().run(
                #[inline(always)]
                || self.pack(panel, target),
            );
        });
    }

    /// Lays out the weights of one panel as `[tap row, tap column, input channel, lane]`, zero where a lane has no weight.
    #[inline(always)]
    fn pack(&self, panel: usize, target: &mut [T::Real]) {
        let Correlation { window, filters, .. } = self.correlation;
        let (lanes, inputs) = (self.kernel.lanes, window.source[3]);
        target.fill(T::Real::ZERO);
        for (pixel, channels, lane) in self.lanes(panel) {
            for (tap, target) in target.chunks_exact_mut(inputs * lanes).enumerate() {
                let [row, column] = [tap / window.taps[1], tap % window.taps[1]];
                let (Some(row), Some(column)) = (filters.taps[0].over(row, 0), filters.taps[1].over(column, pixel)) else {
                    continue;
                };
                let first = row * filters.tap_stride[0] + column * filters.tap_stride[1];
                let first = first + channels.start * filters.channel_stride;
                if filters.channel_stride == 1 {
                    for (depth, target) in target.chunks_exact_mut(lanes).enumerate() {
                        let source = &filters.data[first + depth * filters.depth_stride..][..channels.len()];
                        widen(source, &mut target[lane..][..channels.len()]);
                    }
                } else {
                    self.pack_transposed(first, channels.len(), lane, target);
                }
            }
        }
    }

    /// Packs filters whose input channels are contiguous.
    #[inline(always)]
    fn pack_transposed(&self, first: usize, channels: usize, lane: usize, target: &mut [T::Real]) {
        let inputs = target.len() / self.kernel.lanes;
        for channel in (0..channels).step_by(SIDE) {
            for input in (0..inputs).step_by(SIDE) {
                let first = first + channel * self.correlation.filters.channel_stride + input;
                let target = &mut target[input * self.kernel.lanes + lane + channel..];
                let size = [SIDE.min(channels - channel), SIDE.min(inputs - input)];
                // Whole squares by themselves, for whom the compiler knows every length.
                if size == [SIDE; 2] {
                    self.pack_square(first, [SIDE; 2], target);
                } else {
                    self.pack_square(first, size, target);
                }
            }
        }
    }

    /// Packs some output channels by some input channels.
    #[inline(always)]
    fn pack_square(&self, first: usize, [channels, inputs]: [usize; 2], target: &mut [T::Real]) {
        let Filters { data, channel_stride, .. } = self.correlation.filters;
        let mut square = [[T::Real::ZERO; SIDE]; SIDE];
        for (channel, weights) in square[..channels].iter_mut().enumerate() {
            widen(&data[first + channel * channel_stride..][..inputs], &mut weights[..inputs]);
        }
        transpose(&mut square);
        for (weights, target) in square[..inputs].iter().zip(target.chunks_mut(self.kernel.lanes)) {
            target[..channels].copy_from_slice(&weights[..channels]);
        }
    }

    fn pack_bias(&self, target: &mut [T::Real]) {
        target.fill(T::Real::ZERO);
        if let Some(bias) = self.correlation.bias {
            for (target, bias) in target.iter_mut().zip(bias.iter().cycle()).take(self.channels) {
                *target = bias.to_real();
            }
        }
    }

    /// What the lanes of a panel are: for each pixel of the group, its output channels and the lane they start at.
    fn lanes(&self, panel: usize) -> impl Iterator<Item = (usize, Range<usize>, usize)> {
        let outputs = self.correlation.placement.shape[3];
        let start = panel * self.kernel.lanes;
        let end = self.channels.min(start + self.kernel.lanes);
        (start / outputs..end.div_ceil(outputs)).map(move |pixel| {
            let from = start.max(pixel * outputs);
            let to = end.min((pixel + 1) * outputs);
            (pixel, from - pixel * outputs..to - pixel * outputs, from - start)
        })
    }

    fn task(&self, band: usize, panels: Range<usize>, source: &[T], weights: &[T::Real], biases: &[T::Real], output: Shared<T>) {
        let (band, layout) = &self.bands[band];
        let layout = &self.layouts[*layout];
        let lanes = self.kernel.lanes;
        scratch::for_task(|scratch| {
            let (copy, sums) = scratch.slice(self.copy_len() + self.sums_len()).split_at_mut(self.copy_len());
            self.padded.fill(band, source, copy);
            for panel in panels {
                let weights = &weights[panel * self.depth * lanes..][..self.depth * lanes];
                self.sum(layout, copy, weights, &biases[panel * lanes..][..lanes], sums);
                Isa::widest().run(
                    #[inline(always)]
                    || self.store(band, layout, panel, sums, output),
                );
            }
        });
    }

    /// The sums of a band and a panel of weights, in the order of the layout's offsets. A block of weights serves all classes while it is in
    /// the cache.
    fn sum(&self, layout: &Layout, copy: &[T::Real], weights: &[T::Real], bias: &[T::Real], sums: &mut [T::Real]) {
        let Kernel { lanes, points, run, .. } = *self.kernel;
        let blocks = layout.classes.first().map_or(0, |(_, blocks)| blocks.len());
        for block in 0..blocks {
            for (slots, blocks) in &layout.classes {
                // The first block also starts the sums.
                if block > 0 && blocks[block].is_empty() {
                    continue;
                }
                let offsets = layout.offsets[slots.clone()].chunks_exact(points);
                for (offsets, sums) in offsets.zip(sums[slots.start * lanes..].chunks_exact_mut(points * lanes)) {
                    let sums = sums.as_mut_ptr();
                    let (initial, initial_stride) = if block == 0 { (bias.as_ptr(), 0) } else { (sums.cast_const(), lanes) };
                    let tile = Tile {
                        segments: &blocks[block],
                        vectors: weights.as_ptr(),
                        vector_step: lanes,
                        scalars: copy.as_ptr(),
                        scalar_step: 1,
                        offsets,
                        initial,
                        initial_stride,
                        sums,
                    };
                    // SAFETY: the segments stay inside a panel of weights and, from every offset of a full band, inside
                    // the padded copy of one; sums and bias have `lanes` numbers per point.
                    unsafe { run(&tile) };
                }
            }
        }
    }

    /// Writes the sums of a panel to the output.
    #[inline(always)]
    fn store(&self, band: &Band, layout: &Layout, panel: usize, sums: &[T::Real], output: Shared<T>) {
        let Placement { shape: [_, h, w, c], first, step } = self.correlation.placement;
        let lanes = self.kernel.lanes;
        // The elements of a computed pixel are contiguous; of them, this panel has some.
        let start = panel * lanes;
        let len = lanes.min(self.channels - start);
        // Whole rows at once where sums and output have the same layout.
        let rows_match = layout.in_order && self.correlation.writes_rows(self.kernel);
        let mut slots = layout.slots.chunks_exact(self.correlation.window.output[1]);
        for image in band.images.clone() {
            for (row, slots) in band.rows.clone().zip(&mut slots) {
                let row = (image * h + first[0] + row * step[0]) * w * c;
                if rows_match {
                    // SAFETY: a row of the output belongs to one band, and all its channels to the one panel.
                    unsafe { self.finish(&sums[slots[0] * lanes..][..w * c], row, output) };
                    continue;
                }
                for (column, slot) in slots.iter().enumerate() {
                    let at = (first[1] + column * step[1]) * c + start;
                    let len = len.min((w * c).saturating_sub(at));
                    if len > 0 {
                        // SAFETY: a pixel of the output belongs to one band, and a channel to one panel.
                        unsafe { self.finish(&sums[slot * lanes..][..len], row + at, output) };
                    }
                }
            }
        }
    }

    /// Applies the epilogue to consecutive elements and writes them from `output[at]` on.
    ///
    /// # Safety
    /// The elements must lie inside the output, and no other thread may touch them.
    #[inline(always)]
    unsafe fn finish(&self, sums: &[T::Real], at: usize, output: Shared<T>) {
        let Epilogue { residual, relu, mask } = self.correlation.epilogue;
        // SAFETY: the caller's promise.
        let output = unsafe { std::slice::from_raw_parts_mut(output.0.add(at), sums.len()) };
        // Not max(): a NaN must come out as one.
        let rectify = |value: T::Real| if relu && value < T::Real::ZERO { T::Real::ZERO } else { value };
        let keep = |value, mask: &T| if mask.to_real() > T::Real::ZERO { value } else { T::Real::ZERO };
        let sums = output.iter_mut().zip(sums);
        let part = |slice: &'a [T]| &slice[at..];
        match (residual.map(part), mask.map(part)) {
            (None, None) => sums.for_each(|(out, sum)| *out = T::from_real(rectify(*sum))),
            (Some(residual), None) => {
                sums.zip(residual).for_each(|((out, sum), residual)| *out = T::from_real(rectify(*sum + residual.to_real())));
            }
            (None, Some(mask)) => {
                sums.zip(mask).for_each(|((out, sum), mask)| *out = T::from_real(keep(rectify(*sum), mask)));
            }
            (Some(residual), Some(mask)) => sums.zip(residual).zip(mask).for_each(|(((out, sum), residual), mask)| {
                *out = T::from_real(keep(rectify(*sum + residual.to_real()), mask));
            }),
        }
    }
}
