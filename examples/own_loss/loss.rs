//! Alignment and uniformity (Wang & Isola 2020): the loss, and the launches of its kernels.

use rocl::element::Real;
use rocl::loss::EmbeddingLoss;
use rocl::ops::check::has_shape;
use rocl::own::{self, Work};
use rocl::{Device, Error, Result, Tensor};

const OP: &str = "alignment_uniformity";
/// As in `kernels/alignment_uniformity.cu`.
const THREADS: usize = 128;
const MOST_DIMENSIONS: usize = 2 * THREADS;

/// How far the views of an image lie apart on the sphere, and how evenly the images are spread over it:
///
/// mean |uᵢ − uₚ|² over pairs of views of an image + `uniformity` · mean over views of ln mean exp(−`t` |uᵢ − uⱼ|²) over pairs of images,
///
/// with u = z/|z|. Between views, other images play no part, unlike in NT-Xent.
pub struct AlignmentUniformity<R> {
    t: f64,
    uniformity: f64,
    units: Tensor<R>,
    inverse_norms: Tensor<R>,
    near: Tensor<R>,
    potential: Tensor<R>,
}

impl<R: Real> AlignmentUniformity<R> {
    /// With the paper's t = 2 and equal weights, for up to `max_rows` embeddings of `dimensions` numbers.
    pub fn new(device: &Device, max_rows: usize, dimensions: usize) -> Result<Self> {
        if !dimensions.is_multiple_of(4) || dimensions > MOST_DIMENSIONS {
            let message = format!("embeddings of {dimensions} dimensions; use a multiple of 4, {MOST_DIMENSIONS} at most");
            return Err(Error::shape(OP, message));
        }
        let of_rows = || Tensor::zeros(device, [max_rows]);
        Ok(Self {
            t: 2.0,
            uniformity: 1.0,
            units: Tensor::zeros(device, [max_rows, dimensions])?,
            inverse_norms: of_rows()?,
            near: of_rows()?,
            potential: of_rows()?,
        })
    }
}

impl<R: Real> EmbeddingLoss<R> for AlignmentUniformity<R> {
    fn evaluate(
        &self,
        z: &Tensor<R>,
        views: usize,
        weight: f64,
        d_z: &Tensor<R>,
        gradient_rows: usize,
        loss: &Tensor<R>,
    ) -> Result<()> {
        let [rows, d] = z.dims_of(OP)?;
        has_shape(OP, "z", z, &[rows, self.units.dims()[1]])?;
        has_shape(OP, "d_z", &d_z.rows(0..gradient_rows)?, &[gradient_rows, d])?;
        has_shape(OP, "loss", loss, &[1])?;
        if views < 2 || !rows.is_multiple_of(views) || rows / views < 2 {
            return Err(Error::shape(OP, format!("{rows} rows in {views} views; two views of two images are the least")));
        }
        let batch = (rows / views) as i32;
        let (views, dimensions, t) = (views as i32, d as i32, R::from_f64(self.t));
        let (lambda, weight) = (R::from_f64(self.uniformity), R::from_f64(weight));
        let (u, inverse_norms) = (&self.units.rows(0..rows)?, &self.inverse_norms.rows(0..rows)?);
        let (near, potential) = (&self.near.rows(0..rows)?, &self.potential.rows(0..rows)?);

        own::unit_rows(Work::Blocks(rows, 32), z, dimensions, u, inverse_norms)?;
        own::distances_of_rows(Work::Blocks(rows, THREADS), u, views, batch, dimensions, t, near, potential)?;
        own::alignment_uniformity(Work::Blocks(1, 32), near, potential, views, batch, lambda, weight, loss)?;
        let (work, d_z) = (Work::Blocks(gradient_rows, THREADS), &d_z.rows(0..gradient_rows)?);
        own::alignment_uniformity_gradient(work, u, inverse_norms, potential, views, batch, dimensions, t, lambda, weight, d_z)
    }
}
