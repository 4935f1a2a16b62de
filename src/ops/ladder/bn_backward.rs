//! The ladder of `bn_backward`.

use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::ops::check::{like_or_none, same_shape};
use crate::ops::rows::{Chunks, rows_channels};
use crate::ops::{BnParameters, BnSaved, bn_backward};
use crate::{Result, Tensor};

/// A version of [`bn_backward`], in which storage and arithmetic have one type. Sums differ by the order of their additions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BnBackwardRung {
    /// A kernel for every formula of the textbook, with every intermediate in memory.
    Textbook,
    /// Intermediates are computed where they are used; a thread sums a channel.
    Recomputed,
    /// A thread sums a channel of a chunk of rows, and another merges the chunks.
    Chunks,
    /// [`bn_backward`]: a thread sums a vector of channels, a block merges the chunks, and what depends on the channel alone stays in registers.
    Engine,
}

impl BnBackwardRung {
    /// From the plainest to the engine's.
    pub const ALL: [Self; 4] = [Self::Textbook, Self::Recomputed, Self::Chunks, Self::Engine];

    /// [`bn_backward`]; the two of `scratch` have the shape of `x` and are left with anything.
    ///
    /// # Errors
    /// Those of [`bn_backward`].
    #[allow(clippy::too_many_arguments)]
    pub fn run<R: Real>(
        self,
        dy: &Tensor<R>,
        x: &Tensor<R>,
        mask: Option<&Tensor<R>>,
        parameters: BnParameters<R>,
        saved: &BnSaved<R>,
        d_gamma: &Tensor<R>,
        d_beta: &Tensor<R>,
        dx: &Tensor<R>,
        d_residual: Option<&Tensor<R>>,
        scratch: [&Tensor<R>; 2],
    ) -> Result<()> {
        const OP: &str = "BnBackwardRung::run";
        if self == Self::Engine {
            return bn_backward(dy, x, mask, parameters, saved, d_gamma, d_beta, dx, d_residual);
        }
        let (rows, channels) = rows_channels(OP, x)?;
        let vectors = [parameters.gamma, parameters.beta, d_gamma, d_beta];
        vectors
            .iter()
            .try_for_each(|vector| same_shape(OP, &[("saved.mean", &saved.mean), ("a vector of the channels", vector)]))?;
        saved.check(OP, rows, channels)?;
        same_shape(OP, &[("x", x), ("dy", dy), ("dx", dx), ("scratch", scratch[0]), ("scratch", scratch[1])])?;
        like_or_none(OP, "mask", mask, x)?;
        like_or_none(OP, "d_residual", d_residual, x)?;

        let shape = (rows as i64, channels as i32);
        let (elements, columns) = (Work::Items(rows * channels, 1), Work::Items(channels, rows));
        let BnSaved { mean, inv_std, sum_g, sum_gx, .. } = saved;
        match self {
            Self::Textbook => {
                let (g, xhat) = (d_residual.unwrap_or(scratch[0]), scratch[1]);
                launch::ladder_bn_rectify(Work::Elements(x.len()), dy, mask, g, x.len() as i64)?;
                launch::ladder_bn_normalise(elements, x, mean, inv_std, xhat, shape.0, shape.1)?;
                launch::ladder_bn_sum(columns, g, sum_g, d_beta, shape.0, shape.1)?;
                launch::ladder_bn_sum_of_products(columns, g, xhat, sum_gx, d_gamma, shape.0, shape.1)?;
                return launch::ladder_bn_dx(elements, g, xhat, parameters.gamma, inv_std, sum_g, sum_gx, dx, shape.0, shape.1);
            }
            Self::Recomputed => {
                launch::ladder_bn_sums(columns, dy, x, mask, mean, inv_std, sum_g, sum_gx, d_gamma, d_beta, shape.0, shape.1)?;
            }
            Self::Chunks | Self::Engine => {
                let (Chunks { size, count }, [sums, products]) = (Chunks::of(rows, channels), &saved.partials);
                let (size, chunks) = (size as i64, count as i64);
                let work = Work::Items(count * channels, rows.div_ceil(count));
                launch::ladder_bn_partial_sums(work, dy, x, mask, mean, sums, products, shape.0, size, chunks, shape.1)?;
                let work = Work::Items(channels, count);
                launch::ladder_bn_merge(work, sums, products, inv_std, sum_g, sum_gx, d_gamma, d_beta, chunks, shape.1)?;
            }
        }
        let gamma = parameters.gamma;
        launch::ladder_bn_apply(elements, dy, x, mask, gamma, mean, inv_std, sum_g, sum_gx, dx, d_residual, shape.0, shape.1)
    }
}
