//! The convolution itself.

use super::bands::Window;
use super::correlation::{Correlation, Filters, GROUP, Placement, Taps, cost};
use super::{ConvShape, Epilogue, Filter};
use crate::Result;
use crate::device::host::scratch::ScratchBytes;
use crate::element::Element;

/// `y = relu(x ∗ filter + bias + residual)`, each of the last three where given.
///
/// `x` is `[n, h, w, c]`, `filter` `[k, r, s, c]`, `bias` `[k]`, `residual` and `y` `[n, out_h, out_w, k]`. Sums are kept in
/// [`Element::Real`] and rounded once.
///
/// # Errors
/// [`crate::Error::Shape`] if the shape has no output or a slice has another length.
pub fn fprop<T: Element>(
    shape: &ConvShape,
    x: &[T],
    filter: Filter<T>,
    bias: Option<&[T]>,
    residual: Option<&[T]>,
    relu: bool,
    y: &mut [T],
) -> Result<()> {
    let (filter_len, expected) = filter.lens(shape.filter_len(), || fprop_packed_len::<T>(shape));
    shape.check(
        "conv fprop",
        &[
            ("x", x.len(), shape.x_len()),
            ("filter", filter_len, expected),
            ("bias", bias.map_or(shape.k, <[T]>::len), shape.k),
            ("residual", residual.map_or(shape.y_len(), <[T]>::len), shape.y_len()),
            ("y", y.len(), shape.y_len()),
        ],
    )?;
    correlation(shape, filter, bias, Epilogue { residual, relu, mask: None }).run(x, y);
    Ok(())
}

/// The working memory of [`fprop`].
pub(in crate::device) fn fprop_scratch<T: Element>(shape: &ConvShape) -> ScratchBytes {
    correlation::<T>(shape, Filter::Plain(&[]), None, Epilogue::default()).scratch()
}

/// Elements of the filters as [`pack_fprop`] lays them out.
pub fn fprop_packed_len<T: Element>(shape: &ConvShape) -> usize {
    correlation::<T>(shape, Filter::Plain(&[]), None, Epilogue::default()).packed_len()
}

/// Lays `filter` (`[k, r, s, c]`) out for [`fprop`], for who uses the same filters more than once.
///
/// # Errors
/// [`crate::Error::Shape`] if the shape has no output, or a slice another length than [`fprop_packed_len`] says.
pub fn pack_fprop<T: Element>(shape: &ConvShape, filter: &[T], packed: &mut [T::Real]) -> Result<()> {
    let lens = [("filter", filter.len(), shape.filter_len()), ("packed", packed.len(), fprop_packed_len::<T>(shape))];
    shape.check("conv fprop", &lens)?;
    correlation(shape, Filter::Plain(filter), None, Epilogue::default()).pack(packed);
    Ok(())
}

fn correlation<'a, T: Element>(
    shape: &ConvShape,
    filter: Filter<'a, T>,
    bias: Option<&'a [T]>,
    epilogue: Epilogue<'a, T>,
) -> Correlation<'a, T> {
    let ConvShape { n, h, w, c, k, r, s, stride, pad } = *shape;
    let [out_h, out_w] = [shape.out_h(), shape.out_w()];
    let columns = |group: usize| s + stride * (group - 1);
    let group =
        (1..=GROUP.min(out_w)).min_by_key(|group| cost::<T::Real>(k, out_w, *group, r * columns(*group) * c)).unwrap_or(1);
    let taps = |size, per_pixel| Taps { first: 0, per_tap: 1, per_pixel, size };
    Correlation {
        window: Window {
            source: [n, h, w, c],
            output: [out_h, out_w.div_ceil(group)],
            taps: [r, columns(group)],
            step: [stride, stride * group],
            origin: [-(pad as isize); 2],
        },
        filters: Filters {
            data: filter.plain(),
            packed: filter.packed(),
            taps: [taps(r, 0), taps(s, -(stride as isize))],
            tap_stride: [s * c, c],
            channel_stride: r * s * c,
            depth_stride: 1,
        },
        placement: Placement { shape: [n, out_h, out_w, k], first: [0, 0], step: [1, group] },
        group,
        bias,
        epilogue,
    }
}
