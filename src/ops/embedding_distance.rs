//! Distances between the embeddings of two views.

use super::check::has_shape;
use super::reduce::weighted_sum;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// How far apart two embeddings a and b of d dimensions are; numbered as in `kernels/embedding_distance.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Distance {
    /// |a − b|²/d, the mean squared error.
    Mse = 0,
    /// |a − b|₁/d, the mean absolute error.
    L1 = 1,
    /// 1 − a·b/(|a| |b|).
    Cosine = 2,
}

/// `weight` times the mean distance of row i and row batch + i of `z` (`[2·batch, d]`), with its gradient.
///
/// Written are `loss` `[1]`, the unweighted `row_loss` `[batch]` and rows 0..`gradient_rows` of `d_z` (of the shape of `z`), `weight` included; the
/// other rows are left alone.
pub fn embedding_distance<R: Real>(
    distance: Distance,
    z: &Tensor<R>,
    weight: f64,
    d_z: &Tensor<R>,
    gradient_rows: usize,
    row_loss: &Tensor<R>,
    loss: &Tensor<R>,
) -> Result<()> {
    const OP: &str = "embedding_distance";
    let [rows, d] = z.dims_of(OP)?;
    let batch = rows / 2;
    has_shape(OP, "d_z", d_z, z.dims())?;
    has_shape(OP, "row_loss", row_loss, &[batch])?;
    if batch == 0 || rows % 2 == 1 || d == 0 || gradient_rows > rows {
        return Err(Error::shape(OP, format!("`z` is {:?}, and {gradient_rows} rows of it have no two views", z.shape())));
    }
    if i32::try_from(batch).is_err() {
        return Err(Error::shape(OP, format!("{batch} rows are too many for one launch; use a smaller batch")));
    }
    let row_weight = weight / batch as f64;
    let scale = R::from_f64(row_weight);
    let (kind, work) = (distance as i32, Work::Blocks(batch, 32));
    launch::embedding_distance(work, z, kind, batch as i64, d as i32, scale, gradient_rows as i64, row_loss, d_z)?;
    weighted_sum(row_loss, row_weight, false, loss)
}
