//! Matrix products on the CPU, row-major: the three that a linear layer needs.
//!
//! A matrix product is a convolution of 1 × 1 images with 1 × 1 filters, and the direct convolution is a matrix product
//! kernel, so nothing is lost by saying it that way.

use super::conv::{ConvShape, dgrad, fprop, wgrad};
use crate::Result;
use crate::element::Element;

fn linear(rows: usize, inputs: usize, outputs: usize) -> ConvShape {
    ConvShape { n: rows, h: 1, w: 1, c: inputs, k: outputs, r: 1, s: 1, stride: 1, pad: 0 }
}

/// `out[m, n] = relu(a[m, k] · b[n, k]ᵀ + bias[n])`: a linear layer, or the similarities of two sets of embeddings.
///
/// # Errors
/// [`crate::Error::Shape`] if a size other than `m` is 0 or a slice has another length than the sizes demand.
#[allow(
    clippy::too_many_arguments,
    reason = "three sizes, three operands, an output and a switch: a struct would only rename them"
)]
pub fn matmul_nt<T: Element>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    bias: Option<&[T]>,
    relu: bool,
    out: &mut [T],
) -> Result<()> {
    fprop(&linear(m, k, n), a, b, bias, None, relu, out)
}

/// `out[m, n] = a[m, k] · b[k, n]`: the gradient of a linear layer with respect to its input.
///
/// # Errors
/// [`crate::Error::Shape`] if a size other than `m` is 0 or a slice has another length than the sizes demand.
pub fn matmul_nn<T: Element>(m: usize, n: usize, k: usize, a: &[T], b: &[T], out: &mut [T]) -> Result<()> {
    dgrad(&linear(m, n, k), a, b, None, None, out)
}

/// `out[m, n] = a[k, m]ᵀ · b[k, n]`, added to `out` where `accumulate`: the gradient of a linear layer with respect to its
/// weights, in the computing type.
///
/// # Errors
/// [`crate::Error::Shape`] if a size other than `k` is 0 or a slice has another length than the sizes demand.
pub fn matmul_tn<T: Element>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    accumulate: bool,
    out: &mut [T::Real],
) -> Result<()> {
    wgrad(&linear(k, n, m), b, a, accumulate, out)
}
