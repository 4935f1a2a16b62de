//! Activations as matrices [rows, channels], and how reductions over rows are cut.

use crate::device::launch::Work;
use crate::{Error, Result, Tensor};
use bytemuck::Pod;

/// Rows and channels of an activation: the channels are the last dimension, the rows everything before it.
pub(crate) fn rows_channels<E: Pod>(op: &'static str, x: &Tensor<E>) -> Result<(usize, usize)> {
    let channels = x.dims().last().copied().unwrap_or(0);
    if x.is_empty() || i32::try_from(channels).is_err() {
        return Err(Error::shape(op, format!("{:?} has no channels or too many in its last dimension", x.shape())));
    }
    Ok((x.len() / channels, channels))
}

/// Rows in chunks of equal size (but the last), whose partial results a second kernel merges. A function of the shape alone, so that
/// results do not depend on the device: at least 2048 elements and 32 rows, so that partials cost little, and at most 4096 chunks, which
/// still fill a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    pub size: usize,
    pub count: usize,
}

const FEWEST_ELEMENTS: usize = 2048;
const FEWEST_ROWS: usize = 32;
const MOST_CHUNKS: usize = 4096;

/// The rows of the smallest chunk.
fn fewest_rows(channels: usize) -> usize {
    (FEWEST_ELEMENTS / channels).max(FEWEST_ROWS)
}

impl Chunks {
    pub fn of(rows: usize, channels: usize) -> Self {
        let size = rows.div_ceil(MOST_CHUNKS).max(fewest_rows(channels));
        Self { size, count: rows.div_ceil(size) }
    }

    /// The most chunks that any number of rows up to `max_rows` is cut into.
    pub fn most(max_rows: usize, channels: usize) -> usize {
        max_rows.div_ceil(fewest_rows(channels)).min(MOST_CHUNKS)
    }
}

/// The blocks for `column_sum` over a [rows, channels] matrix: four channels each (COLUMNS in `kernels/include/columns.cuh`), and up to 64
/// threads a channel, fewer when there are few rows to share.
pub(crate) fn column_blocks(rows: usize, channels: usize) -> Work {
    const COLUMNS: usize = 4;
    let threads_per_channel = rows.div_ceil(32).next_power_of_two().clamp(8, 64);
    Work::Blocks(channels.div_ceil(COLUMNS), COLUMNS * threads_per_channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_rows_and_never_exceed_the_bound() {
        for channels in [1, 8, 64, 2048] {
            for rows in (1..300).chain([4096 * 32 - 1, 4096 * 32, 4096 * 32 + 1, 1_310_720]) {
                let Chunks { size, count } = Chunks::of(rows, channels);
                assert!((count - 1) * size < rows && rows <= count * size, "{rows}");
                let most = Chunks::most(rows, channels);
                assert!(count <= most && most <= Chunks::most(rows + 1, channels), "{rows}");
            }
        }
    }
}
