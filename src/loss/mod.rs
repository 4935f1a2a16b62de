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
/// The built-in [`NtXent`] is written against this trait; so is a loss of your own, in a [training run](crate::recipe::training::Training::with) or by itself.
/// One with kernels of its own is in `examples/own_loss/`. This one is made of what there is: NT-Xent, at a lower temperature where all three views are
/// compared than where an adversary and its target are.
///
/// ```
/// use rocl::element::Real;
/// use rocl::loss::{EmbeddingLoss, NtXent};
/// use rocl::{Device, Result, Tensor};
///
/// struct TwoTemperatures<R: Real> {
///     pair: NtXent<R>,
///     all: NtXent<R>,
/// }
///
/// impl<R: Real> TwoTemperatures<R> {
///     fn new(device: &Device, max_rows: usize) -> Result<Self> {
///         let nt_xent = |temperature| NtXent::new(device, max_rows, temperature, 1, true);
///         Ok(Self { pair: nt_xent(0.5)?, all: nt_xent(0.2)? })
///     }
/// }
///
/// impl<R: Real> EmbeddingLoss<R> for TwoTemperatures<R> {
///     fn evaluate(
///         &self,
///         z: &Tensor<R>,
///         views: usize,
///         weight: f64,
///         d_z: &Tensor<R>,
///         gradient_rows: usize,
///         loss: &Tensor<R>,
///     ) -> Result<()> {
///         let nt_xent = if views == 2 { &self.pair } else { &self.all };
///         nt_xent.evaluate(z, views, weight, d_z, gradient_rows, loss)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let device = Device::host()?;
/// let z = Tensor::<f32>::from_slice(&device, [6, 2], &[1., 0., 0., 1., 1., 0., 0., 1., 1., 0., 0., 1.])?;
/// let (d_z, losses) = (Tensor::zeros(&device, [6, 2])?, Tensor::zeros(&device, [2])?);
/// let function = TwoTemperatures::new(&device, 6)?;
/// for (slot, views) in [2, 3].into_iter().enumerate() {
///     let rows = 2 * views;
///     function.evaluate(&z.rows(0..rows)?, views, 1.0, &d_z.rows(0..rows)?, rows, &losses.rows(slot..slot + 1)?)?;
/// }
/// // For each of views - 1 positives, minus the logarithm of its share among all others.
/// let expected = |views: f32, t: f32| (views - 1.0) * ((views - 1.0) + views * (-1.0 / t).exp()).ln();
/// for (found, expected) in losses.to_vec()?.into_iter().zip([expected(2.0, 0.5), expected(3.0, 0.2)]) {
///     assert!((found - expected).abs() < 1e-5);
/// }
/// # Ok(())
/// # }
/// ```
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
