//! The gradient of a convolution with respect to its input.

use super::bands::Window;
use super::correlation::{Correlation, Filters, GROUP, Placement, Taps, cost};
use super::{ConvShape, Epilogue, Filter};
use crate::Result;
use crate::device::host::scratch::ScratchBytes;
use crate::element::Element;

/// `dx = (mask > 0) · (gradient + residual)`, each of the two where given.
///
/// `dy` is `[n, out_h, out_w, k]`, `filter` `[k, r, s, c]`, `residual`, `mask` and `dx` `[n, h, w, c]`. The mask is the output
/// of the ReLU that produced the convolution's input, so this is that ReLU's backward pass too. Sums are kept in
/// [`Element::Real`] and rounded once.
///
/// The gradient is a convolution of `dy` with the filters flipped and their channels exchanged. With a stride, pixels of
/// different parity see different taps: each class is a convolution of its own, and no zero is ever multiplied.
///
/// # Errors
/// [`crate::Error::Shape`] if the shape has no output or a slice has another length.
pub fn dgrad<T: Element>(
    shape: &ConvShape,
    dy: &[T],
    filter: Filter<T>,
    residual: Option<&[T]>,
    mask: Option<&[T]>,
    dx: &mut [T],
) -> Result<()> {
    let (filter_len, expected) = filter.lens(shape.filter_len(), || dgrad_packed_len::<T>(shape));
    shape.check(
        "conv dgrad",
        &[
            ("dy", dy.len(), shape.y_len()),
            ("filter", filter_len, expected),
            ("residual", residual.map_or(shape.x_len(), <[T]>::len), shape.x_len()),
            ("mask", mask.map_or(shape.x_len(), <[T]>::len), shape.x_len()),
            ("dx", dx.len(), shape.x_len()),
        ],
    )?;
    correlations(shape, filter, Epilogue { residual, relu: false, mask }).iter().for_each(|part| part.run(dy, dx));
    Ok(())
}

/// The working memory of [`dgrad`].
pub(in crate::device) fn dgrad_scratch<T: Element>(shape: &ConvShape) -> ScratchBytes {
    let parts = correlations::<T>(shape, Filter::Plain(&[]), Epilogue::default());
    parts.iter().map(Correlation::scratch).fold(ScratchBytes::default(), ScratchBytes::max)
}

/// Elements of the filters as [`pack_dgrad`] lays them out.
pub fn dgrad_packed_len<T: Element>(shape: &ConvShape) -> usize {
    correlations::<T>(shape, Filter::Plain(&[]), Epilogue::default()).iter().map(Correlation::packed_len).sum()
}

/// Lays `filter` (`[k, r, s, c]`) out for [`dgrad`], for who uses the same filters more than once.
///
/// # Errors
/// [`crate::Error::Shape`] if the shape has no output, or a slice another length than [`dgrad_packed_len`] says.
pub fn pack_dgrad<T: Element>(shape: &ConvShape, filter: &[T], packed: &mut [T::Real]) -> Result<()> {
    let lens = [("filter", filter.len(), shape.filter_len()), ("packed", packed.len(), dgrad_packed_len::<T>(shape))];
    shape.check("conv dgrad", &lens)?;
    let mut rest = packed;
    for part in correlations(shape, Filter::Plain(filter), Epilogue::default()) {
        let (packed, behind) = rest.split_at_mut(part.packed_len());
        part.pack(packed);
        rest = behind;
    }
    Ok(())
}

/// One for each class of pixels; packed filters lie one behind the other.
fn correlations<'a, T: Element>(shape: &ConvShape, filter: Filter<'a, T>, epilogue: Epilogue<'a, T>) -> Vec<Correlation<'a, T>> {
    let ConvShape { n, h, w, c, k, r, s, stride, pad } = *shape;
    let (mut parts, mut rest) = (Vec::new(), filter.packed());
    for rows in Class::apart(h, r, stride, pad) {
        for columns in column_classes::<T>(shape) {
            let mut part = Correlation {
                window: Window {
                    source: [n, shape.out_h(), shape.out_w(), k],
                    output: [rows.pixels, columns.pixels],
                    taps: [rows.taps, columns.taps],
                    step: [rows.step / stride, columns.step / stride],
                    origin: [rows.origin, columns.origin],
                },
                filters: Filters {
                    data: filter.plain(),
                    packed: None,
                    taps: [rows.filter_taps(r, stride, pad), columns.filter_taps(s, stride, pad)],
                    tap_stride: [s * c, c],
                    channel_stride: 1,
                    depth_stride: r * s * c,
                },
                placement: Placement { shape: [n, h, w, c], first: [rows.first, columns.first], step: [rows.step, columns.step] },
                group: columns.group,
                bias: None,
                epilogue,
            };
            if let Some(packed) = rest {
                let (own, behind) = packed.split_at(part.packed_len());
                (part.filters.packed, rest) = (Some(own), Some(behind));
            }
            parts.push(part);
        }
    }
    parts
}

/// The classes of columns: one by one, or grouped where the channels are too few to fill a vector.
fn column_classes<T: Element>(shape: &ConvShape) -> Vec<Class> {
    let ConvShape { w, c, k, r, s, stride, pad, .. } = *shape;
    let rows = r.div_ceil(stride);
    let cost = |classes: &Vec<Class>| -> usize {
        classes.iter().map(|class| cost::<T::Real>(c, class.pixels * class.group, class.group, rows * class.taps * k)).sum()
    };
    let grouped = (stride..=GROUP.max(stride)).step_by(stride).map(|group| vec![Class::new(w, s, stride, pad, 0, group, group)]);
    // Of equals the first: the fewest terms that are zero.
    let apart = Class::apart(w, s, stride, pad).collect();
    std::iter::once(apart).chain(grouped).min_by_key(cost).unwrap_or_default()
}

/// Along one axis, the groups of input pixels `first + u · step ..` that see the same taps of the filter.
///
/// Pixel `x` meets filter tap `t` at gradient pixel `(x + pad - t) / stride`, where that is whole.
#[derive(Debug)]
struct Class {
    first: usize,
    /// Pixels of a group.
    group: usize,
    step: usize,
    /// Groups.
    pixels: usize,
    /// The first gradient pixel that the first group sees.
    origin: isize,
    /// Gradient pixels that a group sees; none where the stride exceeds the filter.
    taps: usize,
}

impl Class {
    /// Classes of single pixels: as many as the stride.
    fn apart(size: usize, filter: usize, stride: usize, pad: usize) -> impl Iterator<Item = Self> {
        (0..stride.min(size)).map(move |first| Self::new(size, filter, stride, pad, first, 1, stride))
    }

    fn new(size: usize, filter: usize, stride: usize, pad: usize, first: usize, group: usize, step: usize) -> Self {
        let [first_tap, last_tap] = [first + pad, first + group - 1 + pad];
        let origin = (first_tap as isize - filter as isize + stride as isize).div_euclid(stride as isize);
        let taps = ((last_tap / stride) as isize - origin + 1).max(0).unsigned_abs();
        Self { first, group, step, pixels: (size - first).div_ceil(step), origin, taps }
    }

    fn filter_taps(&self, filter: usize, stride: usize, pad: usize) -> Taps {
        let stride = stride as isize;
        Taps { first: (self.first + pad) as isize - stride * self.origin, per_tap: -stride, per_pixel: 1, size: filter }
    }
}
