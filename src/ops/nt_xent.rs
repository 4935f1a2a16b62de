//! NT-Xent, the contrastive loss.

use super::reduce::weighted_sum;
use crate::device::launch::{self, Work};
use crate::device::record;
use crate::element::Real;
use crate::{Device, Error, Result, Tensor};

/// As in `kernels/include/attend.cuh`.
pub(super) const QUERIES: usize = 8;
pub(super) const THREADS: usize = 128;
const MOST_VIEWS: usize = 16;
/// As many as the widest network has features.
const MOST_DIMENSIONS: usize = 1 << 17;
/// exp(1/0.02) = e⁵⁰ keeps sums over any batch within the range of `f32`.
const LEAST_TEMPERATURE: f64 = 0.02;

/// The contrastive problem that embeddings pose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NtXent {
    /// Views of each image: 2 in the attack, 3 in RoCL's main loss; at most 16.
    pub views: usize,
    /// The images are cut into this many groups of consecutive ones, each an independent problem; the loss is the mean of the groups'.
    pub groups: usize,
    /// The temperature τ that cosines are divided by; at least 0.02.
    pub temperature: f64,
    /// Whether gradients flow through the query of each similarity only, as in the reference implementation.
    pub detach_keys: bool,
}

/// What [`nt_xent`] keeps between its launches, for a given number of rows.
pub struct NtXentWorkspace<R> {
    /// The loss of each row, `[rows]`.
    pub row_loss: Tensor<R>,
    inverse_sums: Tensor<R>,
    pulls: Tensor<R>,
}

impl<R: Real> NtXentWorkspace<R> {
    /// Room for `rows` = views · batch rows.
    pub fn new(device: &Device, rows: usize) -> Result<Self> {
        Ok(Self {
            row_loss: Tensor::zeros(device, [rows])?,
            inverse_sums: Tensor::zeros(device, [rows])?,
            pulls: Tensor::zeros(device, [rows])?,
        })
    }

    /// The first rows of loss, inverse sums and pulls.
    pub(super) fn of(&self, rows: usize) -> Result<[Tensor<R>; 3]> {
        let room = self.row_loss.len();
        if room < rows {
            return Err(Error::shape("nt_xent", format!("the workspace is for {room} rows, but there are {rows}")));
        }
        Ok([self.row_loss.rows(0..rows)?, self.inverse_sums.rows(0..rows)?, self.pulls.rows(0..rows)?])
    }
}

/// `weight` times the NT-Xent loss (RoCL, Equation 1) of `z`, and its gradient.
///
/// `z` is `[views·batch, d]`, view after view. With ẑ = z/(|z| + 10⁻⁸), s = ẑẑᵀ/τ and P = exp(s) without its diagonal,
/// each row divided by (its sum + 10⁻⁸), the loss of a group of n rows is 1/n Σᵢ Σₚ −ln(Pᵢₚ + 10⁻⁸) over the same image's other views p:
/// summed over the positives, not averaged.
///
/// Writes `loss` `[1]`, `workspace.row_loss` and, where wanted, rows 0..`gradient_rows` of `d_z` `[at least gradient_rows, d]`; its other
/// rows are left alone. An attack, which moves the first view only, asks for `batch` rows.
pub fn nt_xent<R: Real>(
    settings: &NtXent,
    z: &Tensor<R>,
    weight: f64,
    d_z: Option<&Tensor<R>>,
    gradient_rows: usize,
    workspace: &NtXentWorkspace<R>,
    loss: &Tensor<R>,
) -> Result<()> {
    const OP: &str = "nt_xent";
    let [rows, d] = z.dims_of(OP)?;
    check(settings, z, d_z, gradient_rows)?;
    let [row_loss, inverse_sums, pulls] = &workspace.of(rows)?;

    let batch = rows / settings.views;
    let group_batch = batch / settings.groups;
    // Similarities of some rows with all of their group, or as many weighted sums of these.
    let products = |queries: usize| product_flops(queries, settings.views * group_batch, d);
    let gradient = products(gradient_rows);
    let losses = products(rows) + if d_z.is_some() && settings.detach_keys { gradient } else { 0 };
    let blocks = settings.groups * (settings.views * group_batch).div_ceil(QUERIES);
    let int = |n: usize| i32::try_from(n).map_err(|_| Error::shape(OP, format!("{rows} rows are too many; use a smaller batch")));
    let (views, batch, group_batch, d) = (int(settings.views)?, int(batch)?, int(group_batch)?, int(d)?);
    int(rows)?;
    let inverse_temperature = R::from_f64(1.0 / settings.temperature);
    let row_weight = weight / rows as f64;
    let scale = R::from_f64(row_weight / settings.temperature);
    let gradient_rows = gradient_rows as i64;
    let work = Work::Blocks(blocks, THREADS);

    let full = d_z.filter(|_| !settings.detach_keys);
    let detached = d_z.filter(|_| settings.detach_keys);
    let (kept_sums, kept_pulls) = (full.map(|_| inverse_sums), full.map(|_| pulls));
    record::computing(losses, || {
        launch::nt_xent(
            work,
            z,
            views,
            batch,
            group_batch,
            d,
            inverse_temperature,
            scale,
            gradient_rows,
            row_loss,
            kept_sums,
            kept_pulls,
            detached,
        )
    })?;
    if let Some(d_z) = full {
        // The similarities of these rows anew, since no launch keeps a matrix of them.
        record::computing(2 * gradient, || {
            launch::nt_xent_full_gradient(
                work,
                z,
                views,
                batch,
                group_batch,
                d,
                inverse_temperature,
                scale,
                gradient_rows,
                inverse_sums,
                pulls,
                d_z,
            )
        })?;
    }
    weighted_sum(row_loss, row_weight, false, loss)
}

/// The arithmetic of every one of `queries` rows with every one of `keys` rows, of `d` dimensions: inner products, or sums of the keys by weights. Norms and
/// exponentials, of which there are fewer by a factor of d, are left out.
pub(super) fn product_flops(queries: usize, keys: usize, d: usize) -> u64 {
    2 * queries as u64 * keys as u64 * d as u64
}

pub(super) fn check<R: Real>(settings: &NtXent, z: &Tensor<R>, d_z: Option<&Tensor<R>>, gradient_rows: usize) -> Result<()> {
    let refuse = |message: String| Err(Error::shape("nt_xent", message));
    let [rows, d] = z.dims_of("nt_xent")?;
    let NtXent { views, groups, temperature, .. } = *settings;
    if !(2..=MOST_VIEWS).contains(&views) {
        return refuse(format!("{views} views cannot be contrasted; between 2 and {MOST_VIEWS} can"));
    }
    if !(LEAST_TEMPERATURE..=f64::MAX).contains(&temperature) {
        return refuse(format!("temperature {temperature} is not usable; it must be at least {LEAST_TEMPERATURE}"));
    }
    if groups == 0 || rows == 0 || !rows.is_multiple_of(views * groups) {
        return refuse(format!(
            "{rows} rows cannot be cut into {groups} groups of {views} views; use a batch that the groups divide"
        ));
    }
    if d == 0 || d > MOST_DIMENSIONS {
        return refuse(format!("embeddings of {d} dimensions are not supported; use between 1 and {MOST_DIMENSIONS}"));
    }
    let aligned = |tensor: &Tensor<R>| tensor.address().is_multiple_of(16);
    if !aligned(z) || !d_z.is_none_or(aligned) {
        return refuse("`z` and `d_z` must start at multiples of 16 bytes".to_owned());
    }
    if let Some(d_z) = d_z {
        let [found, columns] = d_z.dims_of("nt_xent")?;
        if columns != d || found < gradient_rows || gradient_rows > rows {
            return refuse(format!(
                "`d_z` is {:?}, which does not hold {gradient_rows} rows like those of `z` {:?}",
                d_z.shape(),
                z.shape()
            ));
        }
    }
    Ok(())
}
