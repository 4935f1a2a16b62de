//! Images and rows of a data set, brought into a step.

use super::check::has_shape;
use crate::data::{IMAGE_CHANNELS, IMAGE_SIDE};
use crate::device::launch::{self, Work};
use crate::element::{Element, Real};
use crate::{Error, Result, Tensor};

/// Dimensions of `n` images.
pub(super) fn image_dims(n: usize) -> [usize; 4] {
    [n, IMAGE_SIDE, IMAGE_SIDE, IMAGE_CHANNELS]
}

/// The number of images in a tensor, which must be a whole number of images into its memory: kernels read several bytes at once.
pub(super) fn images_len<E: bytemuck::Pod>(op: &'static str, name: &'static str, images: &Tensor<E>) -> Result<usize> {
    let n = images.rows_len();
    has_shape(op, name, images, &image_dims(n))?;
    if !images.address().is_multiple_of(16) {
        return Err(Error::shape(op, format!("`{name}` does not start at a multiple of 16 bytes; slice it by whole images")));
    }
    Ok(n)
}

/// What every gather needs: something to take, at least `batch` entries that say what, and the clock that says which of them.
pub(super) fn gather_sizes(
    op: &'static str,
    rows: usize,
    indices: &Tensor<i32>,
    clock: &Tensor<i64>,
    batch: usize,
) -> Result<()> {
    if batch == 0 {
        return Ok(());
    }
    let [places] = indices.dims_of(op)?;
    if rows == 0 || places < batch {
        return Err(Error::shape(op, format!("{rows} rows and {places} indices do not fill a batch of {batch}")));
    }
    if clock.is_empty() {
        return Err(Error::shape(op, "`clock` is empty but must begin with the step"));
    }
    Ok(())
}

/// Pixels in [0, 1]: `out` = `images` / 255, rounded once, as torchvision's `ToTensor` (but NHWC). Both `[n, 32, 32, 3]`.
pub fn unit_range<R: Real>(images: &Tensor<u8>, out: &Tensor<R>) -> Result<()> {
    const OP: &str = "unit_range";
    let n = images_len(OP, "images", images)?;
    has_shape(OP, "out", out, &image_dims(n))?;
    launch::unit_range(Work::Elements(out.len()), images, out, out.len() as i64)
}

/// The rows of a batch: row `i` of `out` `[batch, width]` is row `indices[clock[0]·batch + i]` of `table` `[n, width]`.
///
/// `clock[0]` is the step within the epoch, read on the device. An index, or a place in `indices`, beyond the end takes the last one
/// there is.
pub fn gather_rows<T: Element>(table: &Tensor<T>, indices: &Tensor<i32>, clock: &Tensor<i64>, out: &Tensor<T>) -> Result<()> {
    const OP: &str = "gather_rows";
    let ([rows, width], [batch, _]) = (table.dims_of(OP)?, out.dims_of::<2>(OP)?);
    has_shape(OP, "out", out, &[batch, width])?;
    gather_sizes(OP, rows, indices, clock, batch)?;
    let work = Work::RowsChannels(batch, width);
    launch::gather_rows(work, table, indices, clock, out, rows as i64, indices.len() as i64, batch as i64, width as i32)
}

/// The labels of a batch: `out[i]` = `labels[indices[clock[0]·batch + i]]`, `out` being `[batch]`; see [`gather_rows`].
pub fn gather_labels(labels: &Tensor<i32>, indices: &Tensor<i32>, clock: &Tensor<i64>, out: &Tensor<i32>) -> Result<()> {
    const OP: &str = "gather_labels";
    let ([count], [batch]) = (labels.dims_of(OP)?, out.dims_of(OP)?);
    gather_sizes(OP, count, indices, clock, batch)?;
    let work = Work::Items(batch, 1);
    launch::gather_labels(work, labels, indices, clock, out, count as i64, indices.len() as i64, batch as i64)
}
