//! The ladder of `nt_xent`.

use crate::device::launch::{self, Work};
use crate::device::record;
use crate::element::Real;
use crate::ops::nt_xent::{check, product_flops};
use crate::ops::{NtXent, NtXentWorkspace, nt_xent, weighted_sum};
use crate::{Device, Error, Result, Tensor};

/// A version of [`nt_xent`], for a single group with detached keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtXentRung {
    /// A kernel for every formula, with the matrix of all similarities in memory.
    Matrix,
    /// One kernel; a block owns a query, and its threads read the keys where they lie.
    Row,
    /// The keys come to the block in tiles of shared memory.
    Tile,
    /// [`nt_xent`]: a block owns eight queries, which share a tile.
    Engine,
}

/// What the rungs keep in memory, beside a [`NtXentWorkspace`].
pub struct NtXentScratch<R> {
    z_hat: Tensor<R>,
    norms: Tensor<R>,
    matrix: Tensor<R>,
}

impl<R: Real> NtXentScratch<R> {
    /// For exactly `rows` = views · batch rows of `d` dimensions.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no room.
    pub fn new(device: &Device, rows: usize, d: usize) -> Result<Self> {
        let [z_hat, norms, matrix] = [rows * d, rows, rows * rows].map(|length| Tensor::zeros(device, [length]));
        Ok(Self { z_hat: z_hat?, norms: norms?, matrix: matrix? })
    }
}

impl NtXentRung {
    /// From the plainest to the engine's.
    pub const ALL: [Self; 4] = [Self::Matrix, Self::Row, Self::Tile, Self::Engine];

    /// [`nt_xent`].
    ///
    /// # Errors
    /// Those of [`nt_xent`]; [`Error::Shape`] for several groups, attached keys, or a scratch of other sizes.
    #[allow(clippy::too_many_arguments)]
    pub fn run<R: Real>(
        self,
        settings: &NtXent,
        z: &Tensor<R>,
        weight: f64,
        d_z: Option<&Tensor<R>>,
        gradient_rows: usize,
        workspace: &NtXentWorkspace<R>,
        scratch: &NtXentScratch<R>,
        loss: &Tensor<R>,
    ) -> Result<()> {
        const OP: &str = "NtXentRung::run";
        if self == Self::Engine {
            return nt_xent(settings, z, weight, d_z, gradient_rows, workspace, loss);
        }
        let [rows, d] = z.dims_of(OP)?;
        check(settings, z, d_z, gradient_rows)?;
        if settings.groups != 1 || !settings.detach_keys {
            return Err(Error::shape(OP, "the ladder knows one group and detached keys only; use ops::nt_xent"));
        }
        if scratch.norms.len() != rows || scratch.z_hat.len() != rows * d {
            return Err(Error::shape(OP, format!("`scratch` was not made for {rows} rows of {d} dimensions")));
        }
        let [row_loss, inverse_sums, pulls] = &workspace.of(rows)?;
        let row_weight = weight / rows as f64;
        let inverse_temperature = R::from_f64(1.0 / settings.temperature);
        let scale = R::from_f64(row_weight / settings.temperature);
        let (batch, views) = ((rows / settings.views) as i64, settings.views as i32);
        let products = product_flops(rows, rows, d) + d_z.map_or(0, |_| product_flops(gradient_rows, rows, d));
        match self {
            Self::Matrix => {
                let problem = Matrix { rows, d, batch, inverse_temperature, scale, gradient_rows };
                problem.run(z, scratch, [inverse_sums, pulls], row_loss, d_z)?;
            }
            Self::Row => {
                let (work, rows) = (Work::Blocks(rows, THREADS), gradient_rows as i64);
                record::computing(products, || {
                    launch::ladder_nt_row(work, z, views, batch, d as i32, inverse_temperature, scale, rows, row_loss, d_z)
                })?;
            }
            Self::Tile | Self::Engine => {
                let (work, rows) = (Work::Blocks(rows, THREADS), gradient_rows as i64);
                record::computing(products, || {
                    launch::ladder_nt_tile(work, z, views, batch, d as i32, inverse_temperature, scale, rows, row_loss, d_z)
                })?;
            }
        }
        weighted_sum(row_loss, row_weight, false, loss)
    }
}

/// As in `kernels/ladder/nt_xent_row.cuh`.
const THREADS: usize = 128;

struct Matrix<R> {
    rows: usize,
    d: usize,
    batch: i64,
    inverse_temperature: R,
    scale: R,
    gradient_rows: usize,
}

impl<R: Real> Matrix<R> {
    fn run(
        &self,
        z: &Tensor<R>,
        scratch: &NtXentScratch<R>,
        [inverse_sums, pulls]: [&Tensor<R>; 2],
        row_loss: &Tensor<R>,
        d_z: Option<&Tensor<R>>,
    ) -> Result<()> {
        let NtXentScratch { z_hat, norms, matrix } = scratch;
        let (rows, d, wanted) = (self.rows as i64, self.d as i32, self.gradient_rows as i64);
        let (by_row, by_pair) = (Work::Items(self.rows, self.rows), Work::Items(self.rows * self.rows, self.d));
        launch::ladder_nt_normalise(by_row, z, z_hat, norms, rows, d)?;
        record::computing(product_flops(self.rows, self.rows, self.d), || {
            launch::ladder_nt_exponentials(by_pair, z_hat, matrix, rows, d, self.inverse_temperature)
        })?;
        launch::ladder_nt_losses(by_row, matrix, inverse_sums, pulls, row_loss, rows, self.batch)?;
        let Some(d_z) = d_z else { return Ok(()) };
        let by_element = Work::Items(self.gradient_rows * self.d, self.rows);
        let by_wanted_row = Work::Items(self.gradient_rows, self.d);
        launch::ladder_nt_by_similarity(by_pair, matrix, inverse_sums, pulls, rows, self.batch)?;
        record::computing(product_flops(self.gradient_rows, self.rows, self.d), || {
            launch::ladder_nt_by_embedding(by_element, matrix, z_hat, d_z, rows, wanted, d)
        })?;
        launch::ladder_nt_through_normalisation(by_wanted_row, d_z, z, norms, wanted, d, self.scale)
    }
}
