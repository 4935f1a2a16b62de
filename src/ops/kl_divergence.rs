//! The divergence of Kullback and Leibler between two classifications.

use super::check::{has_shape, has_valid_rows, like_or_none};
use super::reduce::weighted_sum;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// `weight` times the mean KL(p ‖ q) of the first `n_valid` rows, in nats, with p = softmax(`reference`) and q = softmax(`logits`), both
/// `[n, classes]`: the regulariser of TRADES (Zhang et al. 2019), with p of the clean and q of the adversarial image.
///
/// Written are `loss` `[1]`, the unweighted `row_loss` `[n]` and, where wanted, the gradients by `logits` and by `reference` (`weight`
/// included). Rows from `n_valid` on get zeros.
#[allow(clippy::too_many_arguments)]
pub fn kl_divergence<R: Real>(
    logits: &Tensor<R>,
    reference: &Tensor<R>,
    n_valid: usize,
    weight: f64,
    d_logits: Option<&Tensor<R>>,
    d_reference: Option<&Tensor<R>>,
    row_loss: &Tensor<R>,
    loss: &Tensor<R>,
) -> Result<()> {
    const OP: &str = "kl_divergence";
    let [n, classes] = logits.dims_of(OP)?;
    has_shape(OP, "reference", reference, &[n, classes])?;
    has_shape(OP, "row_loss", row_loss, &[n])?;
    like_or_none(OP, "d_logits", d_logits, logits)?;
    like_or_none(OP, "d_reference", d_reference, logits)?;
    has_valid_rows(OP, n_valid, logits)?;
    let int = i32::try_from(classes).map_err(|_| Error::shape(OP, format!("{classes} classes are too many")))?;
    let row_weight = weight / n_valid as f64;
    // Six exponentials a class, each as much work as some 16 plain elements.
    let (work, scale) = (Work::Items(n, 96 * classes), R::from_f64(row_weight));
    launch::kl_divergence_loss(work, logits, reference, int, n as i64, n_valid as i64, scale, d_logits, d_reference, row_loss)?;
    weighted_sum(row_loss, row_weight, false, loss)
}
