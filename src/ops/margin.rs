//! The margin loss.

use super::check::{has_shape, has_valid_rows, same_shape};
use super::reduce::weighted_sum;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// `weight` times the mean margin max_{j ≠ y} z_j − z_y of the first `n_valid` rows of `logits` `[n, classes]`, with its gradient: positive
/// where another class than the label's wins.
///
/// `labels` `[n]` are class indices; one that is not a class makes its row's loss, and so the mean, NaN. Written are `loss` `[1]`, the
/// unweighted `row_loss` `[n]` and, where wanted, `d_logits` (`weight` included). Of several largest classes the first has the gradient.
/// Rows from `n_valid` on get zeros.
pub fn margin_loss<R: Real>(
    logits: &Tensor<R>,
    labels: &Tensor<i32>,
    n_valid: usize,
    weight: f64,
    d_logits: Option<&Tensor<R>>,
    row_loss: &Tensor<R>,
    loss: &Tensor<R>,
) -> Result<()> {
    const OP: &str = "margin_loss";
    let [n, classes] = logits.dims_of(OP)?;
    has_shape(OP, "labels", labels, &[n])?;
    has_shape(OP, "row_loss", row_loss, &[n])?;
    if let Some(d_logits) = d_logits {
        same_shape(OP, &[("logits", logits), ("d_logits", d_logits)])?;
    }
    has_valid_rows(OP, n_valid, logits)?;
    let int = i32::try_from(classes).ok().filter(|_| classes >= 2);
    let int = int.ok_or_else(|| Error::shape(OP, format!("{classes} classes have no margin; at least 2 do")))?;
    let row_weight = weight / n_valid as f64;
    let (work, scale) = (Work::Items(n, classes), R::from_f64(row_weight));
    launch::margin_loss(work, logits, labels, int, n as i64, n_valid as i64, scale, d_logits, row_loss)?;
    weighted_sum(row_loss, row_weight, false, loss)
}
