//! The gradient of a convolution with respect to its input.

use super::bands::Window;
use super::correlation::{Correlation, Filters, Placement};
use super::{ConvShape, Epilogue};
use crate::Result;
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
    filter: &[T],
    residual: Option<&[T]>,
    mask: Option<&[T]>,
    dx: &mut [T],
) -> Result<()> {
    shape.check(
        "conv dgrad",
        &[
            ("dy", dy.len(), shape.y_len()),
            ("filter", filter.len(), shape.filter_len()),
            ("residual", residual.map_or(shape.x_len(), <[T]>::len), shape.x_len()),
            ("mask", mask.map_or(shape.x_len(), <[T]>::len), shape.x_len()),
            ("dx", dx.len(), shape.x_len()),
        ],
    )?;
    let ConvShape { n, h, w, c, k, r, s, stride, pad } = *shape;
    for class_h in Class::all(h, r, stride, pad) {
        for class_w in Class::all(w, s, stride, pad) {
            let taps = [class_h.taps, class_w.taps];
            let last = class_h.last_tap * (s * c) + class_w.last_tap * c;
            Correlation {
                window: Window {
                    source: [n, shape.out_h(), shape.out_w(), k],
                    output: [class_h.pixels, class_w.pixels],
                    taps,
                    step: [1, 1],
                    origin: [class_h.origin, class_w.origin],
                },
                filters: Filters {
                    data: filter,
                    channel_stride: 1,
                    tap_stride: [-((stride * s * c) as isize), -((stride * c) as isize)],
                    first: last,
                    depth_stride: r * s * c,
                },
                placement: Placement { shape: [n, h, w, c], first: [class_h.first, class_w.first], step: stride },
                bias: None,
                epilogue: Epilogue { residual, relu: false, mask },
            }
            .run(dy, dx);
        }
    }
    Ok(())
}

/// Along one axis, the input pixels `first + stride · u` that see the same taps of the filter.
struct Class {
    first: usize,
    pixels: usize,
    /// How many taps they see; none where the stride exceeds the filter.
    taps: usize,
    /// The filter tap over the first gradient pixel; the others follow at `-stride`.
    last_tap: usize,
    /// The gradient pixel that `u = 0` sees first.
    origin: isize,
}

impl Class {
    fn all(size: usize, filter: usize, stride: usize, pad: usize) -> impl Iterator<Item = Self> {
        (0..stride.min(size)).map(move |first| {
            // Pixel x meets tap t at gradient pixel (x + pad - t) / stride, where that is whole.
            let residue = (first + pad) % stride;
            let taps = filter.saturating_sub(residue).div_ceil(stride);
            Self {
                first,
                pixels: (size - first).div_ceil(stride),
                taps,
                last_tap: residue + taps.saturating_sub(1) * stride,
                origin: ((first + pad) / stride) as isize - taps as isize + 1,
            }
        })
    }
}
