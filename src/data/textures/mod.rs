//! The built-in data set: ten families of 32×32 textures, rendered from a seed.
//!
//! The class is the family; everything else about an image is random: period, angle, phase, centre, contrast, polarity, shading, noise
//! and a tint so near to grey that colour does not tell one image from another. So pixels by themselves say next to nothing about the
//! class, and nothing but the texture says which image a view was cut from: what a contrastive learner needs here is what the
//! classes differ in. An image is a function of (seed, split, index) alone.

mod finish;
mod pattern;

use super::stream::stream;
use super::{Dataset, IMAGE_BYTES, IMAGE_SIDE, Split};
use finish::Finish;
use pattern::FAMILIES;
use rand::seq::SliceRandom;
use rayon::prelude::*;

/// The seed of the set that `--data textures` opens: one fixed set, so that runs of different seeds are measured on the same images.
pub const SEED: u64 = 0;

/// Number of images that `--data textures` opens.
pub fn default_len(split: Split) -> usize {
    match split {
        Split::Train => 4000,
        Split::Test => 1000,
    }
}

/// Renders the first `len` images of one split.
///
/// The ten classes come in shuffled rounds: images 10i to 10i + 9 are one of each.
pub fn render(seed: u64, split: Split, len: usize) -> Dataset {
    let labels: Vec<u8> = (0..len as u32).step_by(FAMILIES.len()).flat_map(|first| round(seed, split, first)).take(len).collect();
    let mut images = vec![0; len * IMAGE_BYTES];
    images.par_chunks_exact_mut(IMAGE_BYTES).zip(&labels).enumerate().for_each(|(index, (pixels, &label))| {
        draw(seed, split, index as u32, label, pixels);
    });
    let classes = FAMILIES.iter().map(|(name, _)| name.to_string()).collect();
    Dataset { name: "textures".into(), images, labels, classes }
}

/// The labels of the ten images from `first` on.
fn round(seed: u64, split: Split, first: u32) -> [u8; FAMILIES.len()] {
    let mut labels = std::array::from_fn(|class| class as u8);
    labels.shuffle(&mut stream(seed, b"classes\0", [split as u32, first, 0, 0]));
    labels
}

/// Renders one image into `pixels`, `[32, 32, 3]`.
fn draw(seed: u64, split: Split, index: u32, label: u8, pixels: &mut [u8]) {
    let rng = &mut stream(seed, b"texture\0", [split as u32, index, 0, 0]);
    let (_, family) = FAMILIES[usize::from(label)];
    let pattern = family(rng);
    let finish = Finish::sample(rng);
    for (place, pixel) in pixels.as_chunks_mut().0.iter_mut().enumerate() {
        let (x, y) = ((place % IMAGE_SIDE) as f32, (place / IMAGE_SIDE) as f32);
        *pixel = finish.pixel(pattern(x, y), x, y, rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_depends_on_seed_split_and_index_only() {
        let many = render(3, Split::Train, 64);
        assert_eq!(render(3, Split::Train, 37), many.clone().take(37));
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one_thread.install(|| render(3, Split::Train, 64)), many);
        for other in [render(4, Split::Train, 64), render(3, Split::Test, 64)] {
            assert!((0..64).all(|index| many.image(index) != other.image(index)));
        }
    }

    #[test]
    fn every_round_of_ten_holds_each_class() {
        let dataset = render(0, Split::Test, 200);
        for round in dataset.labels.chunks(10) {
            let mut sorted = round.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        }
        assert_ne!(dataset.labels[..10], dataset.labels[10..20]);
        assert_eq!(render(0, Split::Test, 13).labels, dataset.labels[..13]);
    }

    #[test]
    fn colours_are_nearly_grey_but_images_are_not_flat() {
        let dataset = render(0, Split::Train, 500);
        let (pixels, _) = dataset.images.as_chunks::<3>();
        let saturation = |&[r, g, b]: &[u8; 3]| {
            let (low, high) = (r.min(g).min(b), r.max(g).max(b));
            f64::from(high - low) / f64::from(high.max(1))
        };
        let mean = pixels.iter().map(saturation).sum::<f64>() / pixels.len() as f64;
        // CIFAR-10 has about 0.25.
        assert!(mean < 0.06, "mean saturation {mean}");
        for index in 0..dataset.len() {
            let greens: Vec<_> = dataset.image(index).iter().skip(1).step_by(3).map(|&value| f64::from(value)).collect();
            let mean = greens.iter().sum::<f64>() / 1024.0;
            let deviation = (greens.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1024.0).sqrt();
            assert!(deviation > 10.0, "image {index} has a standard deviation of {deviation:.1} of 255");
        }
    }
}
