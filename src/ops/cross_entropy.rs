//! Softmax cross-entropy.

use super::check::{has_shape, has_valid_rows, same_shape};
use super::reduce::weighted_sum;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// `weight` times the mean cross-entropy of the first `n_valid` rows of `logits` `[n, classes]`, in nats, with its gradient.
///
/// `labels` `[n]` are class indices; one that is not a class makes its row's loss, and so the mean, NaN. Written are `loss` `[1]`, the
/// unweighted `row_loss` `[n]` and, where wanted, `d_logits` (`weight` included) and `correct` `[n]`: 1 where the label has the largest
/// logit, ties going to the lower class. Rows from `n_valid` on are padding: they get zeros everywhere.
#[allow(clippy::too_many_arguments)]
pub fn cross_entropy<R: Real>(
    logits: &Tensor<R>,
    labels: &Tensor<i32>,
    n_valid: usize,
    weight: f64,
    d_logits: Option<&Tensor<R>>,
    row_loss: &Tensor<R>,
    correct: Option<&Tensor<R>>,
    loss: &Tensor<R>,
) -> Result<()> {
    const OP: &str = "cross_entropy";
    let [n, classes] = logits.dims_of(OP)?;
    has_shape(OP, "labels", labels, &[n])?;
    has_shape(OP, "row_loss", row_loss, &[n])?;
    if let Some(d_logits) = d_logits {
        same_shape(OP, &[("logits", logits), ("d_logits", d_logits)])?;
    }
    if let Some(correct) = correct {
        has_shape(OP, "correct", correct, &[n])?;
    }
    has_valid_rows(OP, n_valid, logits)?;
    // An exponential, and here there are two, is as much work as some 16 plain elements.
    let work = Work::Items(n, 32 * classes);
    let classes = i32::try_from(classes).map_err(|_| Error::shape(OP, format!("{classes} classes are too many")))?;
    let row_weight = weight / n_valid as f64;
    launch::cross_entropy(
        work,
        logits,
        labels,
        classes,
        n as i64,
        n_valid as i64,
        R::from_f64(row_weight),
        d_logits,
        row_loss,
        correct,
    )?;
    weighted_sum(row_loss, row_weight, false, loss)
}
