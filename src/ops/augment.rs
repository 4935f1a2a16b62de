//! The augmented views of a step.

use super::check::has_shape;
use super::image::{gather_sizes, image_dims, images_len};
use crate::data::augmentation::Augmentation;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// Threads that make one view; `THREADS` of `kernels/augment.cu`.
const THREADS: usize = 64;

/// Makes all views of a step from the 8-bit `dataset` `[n, 32, 32, 3]`, pixels in [0, 1]: colour jitter, grayscale, flip and crop, byte
/// for byte as torchvision on Pillow images (RoCL, experimental setup).
///
/// Row `v·batch + i` of `out` `[views·batch, 32, 32, 3]` is image `permutation[clock[0]·batch + i]` under the [`Augmentation`] in row
/// `(clock[0]·views + v)·batch + i` of `augmentations` `[rows, 12]`, which is the order of an
/// [`EpochPlan`](crate::data::sampling::EpochPlan). `clock[0]` is the step within the epoch, read on the device.
///
/// A place, an image or a record beyond the end takes the last one there is, and a crop is held within the image: a wrong plan makes
/// wrong views, and never reads outside.
pub fn augment<R: Real>(
    dataset: &Tensor<u8>,
    permutation: &Tensor<i32>,
    augmentations: &Tensor<i32>,
    clock: &Tensor<i64>,
    batch: usize,
    views: usize,
    out: &Tensor<R>,
) -> Result<()> {
    const OP: &str = "augment";
    let images = images_len(OP, "dataset", dataset)?;
    let made = views * batch;
    has_shape(OP, "out", out, &image_dims(made))?;
    images_len(OP, "out", out)?;
    gather_sizes(OP, images, permutation, clock, batch)?;
    let [records, words] = augmentations.dims_of(OP)?;
    if words != Augmentation::WORDS || records < made {
        let message = format!(
            "`augmentations` is {:?} but must have a row of {} words for each of {made} views",
            augmentations.shape(),
            Augmentation::WORDS
        );
        return Err(Error::shape(OP, message));
    }
    let (images, places, records) = (images as i64, permutation.len() as i64, records as i64);
    let work = Work::Blocks(made, THREADS);
    launch::augment_views(
        work,
        dataset,
        permutation,
        augmentations,
        clock,
        out,
        images,
        places,
        records,
        batch as i32,
        views as i32,
    )
}
