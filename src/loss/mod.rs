//! Losses on embeddings.

mod embedding_distance;
mod nt_xent;
mod sup_con;

pub use embedding_distance::EmbeddingDistance;
pub use nt_xent::NtXent;
pub use sup_con::SupCon;

use crate::element::Real;
use crate::{Result, Tensor};

/// A loss on the embeddings of several views of a batch, with its gradient.
///
/// The built-in [`NtXent`] is written against this trait; so is a loss of your own.
pub trait EmbeddingLoss<R: Real> {
    /// Computes `weight`·loss of `z`, which is `[views · batch, d]` with the rows of a view together, into `loss` (`[1]`).
    ///
    /// `d_z` has the shape of `z`; its first `gradient_rows` rows receive `weight` times the gradient, the others are left alone. Everything stays on
    /// the device: an implementation launches kernels and reads nothing back.
    fn evaluate(
        &self,
        z: &Tensor<R>,
        views: usize,
        weight: f64,
        d_z: &Tensor<R>,
        gradient_rows: usize,
        loss: &Tensor<R>,
    ) -> Result<()>;
}
