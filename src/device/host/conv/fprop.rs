//! The convolution itself.

use super::bands::Window;
use super::correlation::{Correlation, Filters, Placement};
use super::{ConvShape, Epilogue};
use crate::Result;
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
    filter: &[T],
    bias: Option<&[T]>,
    residual: Option<&[T]>,
    relu: bool,
    y: &mut [T],
) -> Result<()> {
    shape.check(
        "conv fprop",
        &[
            ("x", x.len(), shape.x_len()),
            ("filter", filter.len(), shape.filter_len()),
            ("bias", bias.map_or(shape.k, <[T]>::len), shape.k),
            ("residual", residual.map_or(shape.y_len(), <[T]>::len), shape.y_len()),
            ("y", y.len(), shape.y_len()),
        ],
    )?;
    let ConvShape { n, h, w, c, k, r, s, stride, pad } = *shape;
    let output = [shape.out_h(), shape.out_w()];
    let origin = -(pad as isize);
    Correlation {
        window: Window { source: [n, h, w, c], output, taps: [r, s], step: [stride; 2], origin: [origin; 2] },
        filters: Filters {
            data: filter,
            channel_stride: r * s * c,
            tap_stride: [(s * c) as isize, c as isize],
            first: 0,
            depth_stride: 1,
        },
        placement: Placement { shape: [n, output[0], output[1], k], first: [0, 0], step: 1 },
        bias,
        epilogue: Epilogue { residual, relu, mask: None },
    }
    .run(x, y);
    Ok(())
}
