//! SupCon, the supervised contrastive loss.

use super::check::has_shape;
use super::nt_xent::{self, NtXent, NtXentWorkspace, QUERIES, THREADS, product_flops};
use super::reduce::weighted_sum;
use crate::device::launch::{self, Work};
use crate::device::record;
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// `weight` times the supervised contrastive loss (Khosla et al. 2020, L_out of equation 2) of `z`, and its gradient.
///
/// `z` is `[views·batch, d]`, view after view; `labels` is `[batch]`. With ẑ = z/(|z| + 10⁻⁸), s = ẑẑᵀ/τ and Pᵢ all rows of the label of i
/// but i itself, the loss is the mean over i of ln Σⱼ exp(sᵢⱼ) − mean over p ∈ Pᵢ of sᵢₚ, where j ≠ i. Views, τ and whether keys are detached are those
/// of `settings`, which has one group.
///
/// Writes `loss` `[1]`, `workspace.row_loss` and rows 0..`gradient_rows` of `d_z`; its other rows are left alone.
#[allow(clippy::too_many_arguments)]
pub fn sup_con<R: Real>(
    settings: &NtXent,
    z: &Tensor<R>,
    labels: &Tensor<i32>,
    weight: f64,
    d_z: &Tensor<R>,
    gradient_rows: usize,
    workspace: &NtXentWorkspace<R>,
    loss: &Tensor<R>,
) -> Result<()> {
    const OP: &str = "sup_con";
    let [rows, d] = z.dims_of(OP)?;
    nt_xent::check(settings, z, Some(d_z), gradient_rows)?;
    if settings.groups != 1 {
        return Err(Error::shape(OP, format!("{} groups of images have no positives in common; use one", settings.groups)));
    }
    let batch = rows / settings.views;
    has_shape(OP, "labels", labels, &[batch])?;
    let [row_loss, inverse_sums, inverse_counts] = &workspace.of(rows)?;
    let int = |n: usize| i32::try_from(n).map_err(|_| Error::shape(OP, format!("{rows} rows are too many; use a smaller batch")));
    let (views, batch, d) = (int(settings.views)?, int(batch)?, int(d)?);
    let inverse_temperature = R::from_f64(1.0 / settings.temperature);
    let row_weight = weight / int(rows)? as f64;
    let work = Work::Blocks(rows.div_ceil(QUERIES), THREADS);
    // Similarities in both of its walks, and the sums of positives in the second.
    record::computing(3 * product_flops(rows, rows, z.dims()[1]), || {
        launch::sup_con(work, z, labels, views, batch, d, inverse_temperature, row_loss, inverse_sums, inverse_counts)
    })?;
    // Similarities once more, and weighted sums.
    record::computing(2 * product_flops(gradient_rows, rows, z.dims()[1]), || {
        launch::sup_con_gradient(
            work,
            z,
            labels,
            views,
            batch,
            d,
            inverse_temperature,
            R::from_f64(row_weight / settings.temperature),
            settings.detach_keys.into(),
            gradient_rows as i64,
            inverse_sums,
            inverse_counts,
            d_z,
        )
    })?;
    weighted_sum(row_loss, row_weight, false, loss)
}
