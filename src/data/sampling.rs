//! What an epoch draws: the order of the images, and the augmentation of every view.

use super::augmentation::{Augmentation, AugmentationSettings};
use super::stream::stream;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use rayon::prelude::*;

/// The sizes of one training epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochShape {
    /// Images in the data set.
    pub images: usize,
    /// Images in a step.
    pub batch_size: usize,
    /// Augmented views of each image.
    pub views: usize,
}

impl EpochShape {
    /// Checks the sizes.
    ///
    /// # Errors
    /// [`Error::Usage`] when the batch size is 0, or exceeds the number of images.
    pub fn new(images: usize, batch_size: usize, views: usize) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::Usage("the batch size is 0; give a --batch-size of at least 1".into()));
        }
        if images < batch_size {
            // No method trains on batches of one.
            let (images, lower) = match images {
                1 => ("a single training image does".to_owned(), String::new()),
                _ => {
                    let lower = format!("lower --batch-size (train.batch_size) to at most {images}, or ");
                    (format!("the {images} training images do"), lower)
                }
            };
            return Err(Error::Usage(format!(
                "{images} not fill one batch of {batch_size}; {lower}train on more images (--limit, --data)"
            )));
        }
        if i32::try_from(images).is_err() {
            return Err(Error::Usage(format!(
                "{images} training images are more than can be numbered; set --limit below 2147483648"
            )));
        }
        Ok(Self { images, batch_size, views })
    }

    /// Steps in an epoch: whole batches only, a partial last one is dropped.
    pub fn steps(&self) -> usize {
        self.images / self.batch_size
    }
}

/// All that is random in the data of one training epoch, drawn from (seed, epoch) and uploaded at once.
///
/// The permutation, and the augmentation of each view of each place in it, have streams of their own: other augmentation settings
/// leave the order of the images as it is, and another batch size or number of views leaves each view's draw as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochPlan {
    /// The sizes it was drawn for.
    pub shape: EpochShape,
    /// Every image of the data set once, `[images]`; a step takes the next `batch_size` of them.
    pub permutation: Vec<i32>,
    /// One record for each step, view and image of the step, `[steps, views, batch_size]`.
    pub augmentations: Vec<Augmentation>,
}

impl EpochPlan {
    /// Draws an epoch. The settings must be [valid](AugmentationSettings::validate).
    pub fn draw(seed: u64, epoch: u32, shape: EpochShape, settings: &AugmentationSettings) -> Self {
        let mut permutation: Vec<i32> = (0..shape.images as i32).collect();
        permutation.shuffle(&mut stream(seed, b"shuffle\0", [epoch, 0, 0, 0]));

        let EpochShape { batch_size, views, .. } = shape;
        let augmentations = (0..shape.steps() * views * batch_size)
            .into_par_iter()
            .map(|row| {
                let (step, view, image) = (row / (views * batch_size), row / batch_size % views, row % batch_size);
                let place = step * batch_size + image;
                settings.sample(&mut stream(seed, b"augment\0", [epoch, place as u32, view as u32, 0]))
            })
            .collect();
        Self { shape, permutation, augmentations }
    }

    /// The images of one step, `[batch_size]`.
    ///
    /// # Panics
    /// When `step` is not below [`EpochShape::steps`], as for a slice.
    pub fn images(&self, step: usize) -> &[i32] {
        &self.permutation[step * self.shape.batch_size..][..self.shape.batch_size]
    }

    /// The augmentations of one step, `[views, batch_size]`.
    ///
    /// # Panics
    /// When `step` is not below [`EpochShape::steps`], as for a slice.
    pub fn augmentations(&self, step: usize) -> &[Augmentation] {
        let rows = self.shape.views * self.shape.batch_size;
        &self.augmentations[step * rows..][..rows]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: u64, epoch: u32, batch_size: usize, views: usize) -> EpochPlan {
        EpochPlan::draw(seed, epoch, EpochShape::new(103, batch_size, views).unwrap(), &AugmentationSettings::default())
    }

    #[test]
    fn a_permutation_holds_every_image_once() {
        let plan = draw(0, 0, 10, 2);
        let mut sorted = plan.permutation.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..103).collect::<Vec<_>>());
        assert_ne!(sorted, plan.permutation);
    }

    #[test]
    fn the_last_partial_batch_is_dropped() {
        let plan = draw(0, 0, 10, 2);
        assert_eq!(plan.shape.steps(), 10);
        assert_eq!(plan.augmentations.len(), 10 * 2 * 10);
        assert_eq!(plan.images(9), &plan.permutation[90..100]);
        assert_eq!(plan.augmentations(9), &plan.augmentations[180..200]);
    }

    #[test]
    fn a_plan_is_a_function_of_seed_and_epoch() {
        assert_eq!(draw(0, 3, 10, 2), draw(0, 3, 10, 2));
        for other in [draw(1, 3, 10, 2), draw(0, 4, 10, 2)] {
            assert_ne!(draw(0, 3, 10, 2).permutation, other.permutation);
            let equal = draw(0, 3, 10, 2).augmentations.iter().zip(&other.augmentations).filter(|(a, b)| a == b).count();
            assert_eq!(equal, 0);
        }
    }

    #[test]
    fn views_are_independent_draws() {
        let plan = draw(0, 0, 10, 2);
        let (first, second) = plan.augmentations(0).split_at(10);
        assert!(first.iter().zip(second).all(|(a, b)| a != b));
    }

    #[test]
    fn the_order_of_images_does_not_depend_on_augmentation() {
        let shape = EpochShape::new(103, 10, 2).unwrap();
        let mild = AugmentationSettings { crop_scale: [0.2, 1.0], ..Default::default() };
        let plan = EpochPlan::draw(7, 0, shape, &mild);
        assert_eq!(plan.permutation, draw(7, 0, 10, 2).permutation);
        assert_ne!(plan.augmentations, draw(7, 0, 10, 2).augmentations);
    }

    #[test]
    fn a_view_does_not_depend_on_batch_size_or_number_of_views() {
        // Place 13 of the permutation, second view.
        let (tens, fours) = (draw(7, 0, 10, 2), draw(7, 0, 4, 3));
        assert_eq!(tens.augmentations(1)[10 + 3], fours.augmentations(3)[4 + 1]);
    }

    #[test]
    fn too_few_images_say_what_to_change() {
        let message = EpochShape::new(100, 128, 2).unwrap_err().to_string();
        assert!(
            message.contains("100 training images") && message.contains("(train.batch_size) to at most 100, or "),
            "{message}"
        );
        assert!(EpochShape::new(0, 0, 2).is_err());
        assert_eq!(EpochShape::new(128, 128, 2).unwrap().steps(), 1);
    }
}
