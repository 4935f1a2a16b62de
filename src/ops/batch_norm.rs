//! Batch normalisation (Ioffe & Szegedy 2015): training forward and backward, evaluation, and folding into a convolution.

use super::check::{has_shape, like_or_none, same_shape};
use super::rows::{Chunks, column_blocks, rows_channels};
use crate::device::Device;
use crate::device::launch::{self, Work};
use crate::element::{Element, Real};
use crate::{Error, Result, Tensor};

/// The affine parameters, `[channels]` each.
#[derive(Clone, Copy, Debug)]
pub struct BnParameters<'a, R> {
    /// γ
    pub gamma: &'a Tensor<R>,
    /// β
    pub beta: &'a Tensor<R>,
}

/// The running statistics, `[channels]` each.
#[derive(Clone, Copy, Debug)]
pub struct BnRunning<'a, R> {
    /// Exponential mean of the batch means.
    pub mean: &'a Tensor<R>,
    /// Exponential mean of the unbiased batch variances.
    pub var: &'a Tensor<R>,
}

/// What a training forward pass leaves for the backward pass, and the workspace of both.
#[derive(Clone, Debug)]
pub struct BnSaved<R> {
    /// Batch mean, `[channels]`.
    pub mean: Tensor<R>,
    /// 1/√(biased batch variance + eps), `[channels]`.
    pub inv_std: Tensor<R>,
    /// Σ g over rows, `[channels]`; g is the gradient behind the rectifier. Written by [`bn_backward`].
    pub sum_g: Tensor<R>,
    /// Σ g·x̂ over rows, `[channels]`. Written by [`bn_backward`].
    pub sum_gx: Tensor<R>,
    /// Two partial results per chunk and channel.
    pub(super) partials: [Tensor<R>; 2],
    max_rows: usize,
}

impl<R: Real> BnSaved<R> {
    /// Allocates for activations of at most `max_rows` rows (pixels of all images) and exactly `channels` channels.
    pub fn new(device: &Device, max_rows: usize, channels: usize) -> Result<Self> {
        if channels == 0 {
            return Err(Error::shape("BnSaved::new", "a batch norm needs at least one channel"));
        }
        let vector = || Tensor::zeros(device, [channels]);
        let partial = || Tensor::zeros(device, [Chunks::most(max_rows, channels), channels]);
        Ok(Self {
            mean: vector()?,
            inv_std: vector()?,
            sum_g: vector()?,
            sum_gx: vector()?,
            partials: [partial()?, partial()?],
            max_rows,
        })
    }

    /// Checks that it was made for this many channels, and for no fewer rows.
    pub(super) fn check(&self, op: &'static str, rows: usize, channels: usize) -> Result<()> {
        has_shape(op, "saved.mean", &self.mean, &[channels])?;
        if rows <= self.max_rows {
            return Ok(());
        }
        Err(Error::shape(op, format!("`saved` was made for {} rows, not {rows}; create it for the largest batch", self.max_rows)))
    }
}

fn check_channels<R: Real>(op: &'static str, channels: usize, tensors: &[(&'static str, &Tensor<R>)]) -> Result<()> {
    tensors.iter().try_for_each(|(name, tensor)| has_shape(op, name, tensor, &[channels]))
}

fn check_parameters<R: Real>(op: &'static str, channels: usize, parameters: BnParameters<R>) -> Result<()> {
    check_channels(op, channels, &[("gamma", parameters.gamma), ("beta", parameters.beta)])
}

fn check_running<R: Real>(op: &'static str, channels: usize, running: BnRunning<R>) -> Result<()> {
    check_channels(op, channels, &[("running mean", running.mean), ("running variance", running.var)])
}

/// Batch mean and inverse standard deviation of `x` (`[n, h, w, c]` or `[rows, c]`) into `saved`; the running statistics, where given,
/// move by `momentum` towards the batch's (the variance unbiased, as in PyTorch). Fails for fewer than two rows, which have no variance.
pub fn bn_statistics<T: Element>(
    x: &Tensor<T>,
    running: Option<BnRunning<T::Real>>,
    momentum: f64,
    eps: f64,
    saved: &BnSaved<T::Real>,
) -> Result<()> {
    const OP: &str = "bn_statistics";
    let (rows, channels) = rows_channels(OP, x)?;
    saved.check(OP, rows, channels)?;
    if let Some(running) = running {
        check_running(OP, channels, running)?;
    }
    if rows < 2 {
        return Err(Error::shape(
            OP,
            format!("{:?} has one value per channel, whose variance is undefined; train with a larger batch", x.shape()),
        ));
    }
    let (chunks, [means, deviations]) = (Chunks::of(rows, channels), &saved.partials);
    let (size, count) = (chunks.size as i64, chunks.count as i64);
    launch::bn_statistics_partial(
        Work::ItemsChannels(chunks.count, channels, chunks.size),
        x,
        means,
        deviations,
        rows as i64,
        size,
        count,
        channels as i32,
    )?;
    launch::bn_statistics_finish(
        column_blocks(chunks.count, channels),
        means,
        deviations,
        &saved.mean,
        &saved.inv_std,
        running.map(|r| r.mean),
        running.map(|r| r.var),
        rows as i64,
        size,
        count,
        channels as i32,
        Real::from_f64(momentum),
        Real::from_f64(eps),
    )
}

/// y = γ·(x − mean)·`inv_std` + β (+ `residual`), rectified if `relu`, with the statistics that [`bn_statistics`] saved.
pub fn bn_apply<T: Element>(
    x: &Tensor<T>,
    parameters: BnParameters<T::Real>,
    saved: &BnSaved<T::Real>,
    residual: Option<&Tensor<T>>,
    relu: bool,
    y: &Tensor<T>,
) -> Result<()> {
    const OP: &str = "bn_apply";
    let (rows, channels) = rows_channels(OP, x)?;
    check_parameters(OP, channels, parameters)?;
    saved.check(OP, rows, channels)?;
    same_shape(OP, &[("x", x), ("y", y)])?;
    like_or_none(OP, "residual", residual, x)?;
    launch::bn_apply(
        Work::RowsChannels(rows, channels),
        x,
        parameters.gamma,
        parameters.beta,
        &saved.mean,
        &saved.inv_std,
        residual,
        y,
        rows as i64,
        channels as i32,
        relu.into(),
    )
}

/// The gradient of [`bn_apply`] ∘ [`bn_statistics`]. With g = `dy` where `mask` > 0 (`mask`: the forward output behind its ReLU; `None`:
/// no ReLU), dx = γ·`inv_std`·(g − mean(g) − x̂·mean(g·x̂)); Σ g is **added** to `d_beta` and Σ g·x̂ to `d_gamma`, so that passes
/// accumulate; `d_residual`, where given, receives g. `saved` must be that of the forward pass.
#[allow(clippy::too_many_arguments)]
pub fn bn_backward<T: Element>(
    dy: &Tensor<T>,
    x: &Tensor<T>,
    mask: Option<&Tensor<T>>,
    parameters: BnParameters<T::Real>,
    saved: &BnSaved<T::Real>,
    d_gamma: &Tensor<T::Real>,
    d_beta: &Tensor<T::Real>,
    dx: &Tensor<T>,
    d_residual: Option<&Tensor<T>>,
) -> Result<()> {
    const OP: &str = "bn_backward";
    let (rows, channels) = rows_channels(OP, x)?;
    check_parameters(OP, channels, parameters)?;
    check_channels(OP, channels, &[("d_gamma", d_gamma), ("d_beta", d_beta)])?;
    saved.check(OP, rows, channels)?;
    same_shape(OP, &[("x", x), ("dy", dy), ("dx", dx)])?;
    like_or_none(OP, "mask", mask, x)?;
    like_or_none(OP, "d_residual", d_residual, x)?;

    bn_parameter_gradients(dy, x, mask, saved, d_gamma, d_beta)?;
    launch::bn_backward_apply(
        Work::RowsChannels(rows, channels),
        dy,
        x,
        mask,
        parameters.gamma,
        &saved.mean,
        &saved.inv_std,
        &saved.sum_g,
        &saved.sum_gx,
        dx,
        d_residual,
        rows as i64,
        channels as i32,
    )
}

/// The part of [`bn_backward`] that concerns the parameters: adds to their gradients, and leaves this pass's in `saved`.
fn bn_parameter_gradients<T: Element>(
    dy: &Tensor<T>,
    x: &Tensor<T>,
    mask: Option<&Tensor<T>>,
    saved: &BnSaved<T::Real>,
    d_gamma: &Tensor<T::Real>,
    d_beta: &Tensor<T::Real>,
) -> Result<()> {
    let (rows, channels) = rows_channels("bn_backward", x)?;
    let (chunks, [sums, products]) = (Chunks::of(rows, channels), &saved.partials);
    launch::bn_backward_partial(
        Work::ItemsChannels(chunks.count, channels, chunks.size),
        dy,
        x,
        mask,
        &saved.mean,
        sums,
        products,
        rows as i64,
        chunks.size as i64,
        chunks.count as i64,
        channels as i32,
    )?;
    launch::bn_backward_finish(
        column_blocks(chunks.count, channels),
        sums,
        products,
        &saved.inv_std,
        &saved.sum_g,
        &saved.sum_gx,
        d_gamma,
        d_beta,
        chunks.count as i64,
        channels as i32,
    )
}

/// Puts running statistics in the place of a batch's: [`bn_apply`] then normalises by them, whatever the batch.
pub fn bn_keep_running<R: Real>(running: BnRunning<R>, eps: f64, saved: &BnSaved<R>) -> Result<()> {
    const OP: &str = "bn_keep_running";
    let channels = saved.mean.len();
    check_running(OP, channels, running)?;
    saved.mean.copy_from(running.mean)?;
    launch::bn_inverse_std(Work::Items(channels, 1), running.var, &saved.inv_std, channels as i64, Real::from_f64(eps))
}

/// The gradient of [`bn_apply`] ∘ [`bn_keep_running`]: as [`bn_backward`], but that no gradient flows through the statistics, dx = γ·`inv_std`·g.
#[allow(clippy::too_many_arguments)]
pub fn bn_kept_backward<T: Element>(
    dy: &Tensor<T>,
    x: &Tensor<T>,
    mask: Option<&Tensor<T>>,
    parameters: BnParameters<T::Real>,
    running: BnRunning<T::Real>,
    eps: f64,
    saved: &BnSaved<T::Real>,
    d_gamma: &Tensor<T::Real>,
    d_beta: &Tensor<T::Real>,
    dx: &Tensor<T>,
    d_residual: Option<&Tensor<T>>,
) -> Result<()> {
    const OP: &str = "bn_kept_backward";
    let (rows, channels) = rows_channels(OP, x)?;
    check_channels(OP, channels, &[("d_gamma", d_gamma), ("d_beta", d_beta)])?;
    saved.check(OP, rows, channels)?;
    same_shape(OP, &[("x", x), ("dy", dy)])?;
    like_or_none(OP, "mask", mask, x)?;
    bn_parameter_gradients(dy, x, mask, saved, d_gamma, d_beta)?;
    bn_eval_backward(dy, mask, None, parameters, running, eps, dx, d_residual)
}

/// y = γ·(x − mean)/√(var + eps) + β (+ `residual`), rectified if `relu`, by running statistics (evaluation).
pub fn bn_eval<T: Element>(
    x: &Tensor<T>,
    parameters: BnParameters<T::Real>,
    running: BnRunning<T::Real>,
    eps: f64,
    residual: Option<&Tensor<T>>,
    relu: bool,
    y: &Tensor<T>,
) -> Result<()> {
    const OP: &str = "bn_eval";
    let (rows, channels) = rows_channels(OP, x)?;
    check_parameters(OP, channels, parameters)?;
    check_running(OP, channels, running)?;
    same_shape(OP, &[("x", x), ("y", y)])?;
    like_or_none(OP, "residual", residual, x)?;
    launch::bn_eval(
        Work::RowsChannels(rows, channels),
        x,
        parameters.gamma,
        parameters.beta,
        running.mean,
        running.var,
        residual,
        y,
        rows as i64,
        channels as i32,
        Real::from_f64(eps),
        relu.into(),
    )
}

/// The gradient of [`bn_eval`] with respect to its input, plus that which another branch has of it: dx = γ/√(var + eps)·g (+ `residual`) with g = `dy` where
/// `mask` > 0; `d_residual` receives g.
#[allow(clippy::too_many_arguments)]
pub fn bn_eval_backward<T: Element>(
    dy: &Tensor<T>,
    mask: Option<&Tensor<T>>,
    residual: Option<&Tensor<T>>,
    parameters: BnParameters<T::Real>,
    running: BnRunning<T::Real>,
    eps: f64,
    dx: &Tensor<T>,
    d_residual: Option<&Tensor<T>>,
) -> Result<()> {
    const OP: &str = "bn_eval_backward";
    let (rows, channels) = rows_channels(OP, dy)?;
    check_parameters(OP, channels, parameters)?;
    check_running(OP, channels, running)?;
    same_shape(OP, &[("dy", dy), ("dx", dx)])?;
    like_or_none(OP, "mask", mask, dy)?;
    like_or_none(OP, "residual", residual, dy)?;
    like_or_none(OP, "d_residual", d_residual, dy)?;
    launch::bn_eval_backward(
        Work::RowsChannels(rows, channels),
        dy,
        mask,
        residual,
        parameters.gamma,
        running.var,
        dx,
        d_residual,
        rows as i64,
        channels as i32,
        Real::from_f64(eps),
    )
}

/// Folds an evaluated batch norm into the convolution in front of it: `folded` = `filter`·γ/√(var + eps) per output channel, `bias` =
/// β − mean·γ/√(var + eps). `filter` and `folded` are `[k, r, s, c]`, `bias` is `[k]`.
pub fn bn_fold<T: Element>(
    filter: &Tensor<T::Real>,
    parameters: BnParameters<T::Real>,
    running: BnRunning<T::Real>,
    eps: f64,
    folded: &Tensor<T>,
    bias: &Tensor<T>,
) -> Result<()> {
    const OP: &str = "bn_fold";
    let filters = filter.rows_len();
    let weights = filter.len().checked_div(filters).unwrap_or(0);
    if filter.is_empty() || i32::try_from(filters).is_err() || i32::try_from(weights).is_err() {
        return Err(Error::shape(OP, format!("`filter` is {:?} but must be [k, r, s, c], not empty", filter.shape())));
    }
    check_parameters(OP, filters, parameters)?;
    check_running(OP, filters, running)?;
    has_shape(OP, "folded", folded, filter.dims())?;
    has_shape(OP, "bias", bias, &[filters])?;
    launch::bn_fold(
        Work::RowsChannels(filters, weights),
        filter,
        parameters.gamma,
        parameters.beta,
        running.mean,
        running.var,
        folded,
        bias,
        filters as i32,
        weights as i32,
        Real::from_f64(eps),
    )
}
