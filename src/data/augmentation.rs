//! The parameters of one augmented view, and the distributions they are drawn from.
//!
//! A view is made by colour jitter, grayscale, horizontal flip and a random resized crop, in this order, all in 8-bit arithmetic as
//! torchvision on Pillow images. Only the parameters are drawn here; the augmentation kernel is a pure function of an image and its
//! [`Augmentation`].

use super::IMAGE_SIDE;
use crate::{Error, Result};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::ops::{Range, RangeInclusive};

/// What is done to one image to make one view: 12 words of 32 bits, so that a list of them is uploaded as rows of `i32`.
///
/// A skipped operation keeps the parameters drawn for it; its bit in `flags` says that it is skipped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Augmentation {
    /// The order of the four jitter operations, first one first: 0 brightness, 1 contrast, 2 saturation, 3 hue.
    pub order: [u8; 4],
    /// Which operations are applied: any of [`JITTER`](Self::JITTER), [`GRAYSCALE`](Self::GRAYSCALE) and [`FLIP`](Self::FLIP).
    pub flags: u32,
    /// Weight of the image against black.
    pub brightness: f32,
    /// Weight of the image against its mean luminance.
    pub contrast: f32,
    /// Weight of the image against its luminance.
    pub saturation: f32,
    /// Shift of the 8-bit hue, which wraps at 256.
    pub hue: i32,
    /// First row of the crop.
    pub top: i32,
    /// First column of the crop.
    pub left: i32,
    /// Rows of the crop, 1 to 32.
    pub height: i32,
    /// Columns of the crop, 1 to 32.
    pub width: i32,
    /// Zero; rounds a record up to 16-byte units.
    pub padding: [i32; 2],
}

impl Augmentation {
    /// Bit of [`flags`](Self::flags): the four jitter operations are applied.
    pub const JITTER: u32 = 1;
    /// Bit of [`flags`](Self::flags): the image is turned to luminance.
    pub const GRAYSCALE: u32 = 2;
    /// Bit of [`flags`](Self::flags): left and right are exchanged.
    pub const FLIP: u32 = 4;
    /// 32-bit words of a record.
    pub const WORDS: usize = size_of::<Self>() / 4;

    /// The augmentation that leaves every image as it is.
    pub fn identity() -> Self {
        Self {
            order: [0, 1, 2, 3],
            flags: 0,
            brightness: 1.0,
            contrast: 1.0,
            saturation: 1.0,
            hue: 0,
            top: 0,
            left: 0,
            height: IMAGE_SIDE as i32,
            width: IMAGE_SIDE as i32,
            padding: [0; 2],
        }
    }
}

/// The distributions of [`Augmentation`], in torchvision's terms; the default is that of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentationSettings {
    /// How often colour is jittered at all.
    pub jitter_probability: f64,
    /// The brightness factor is uniform in 1 ± this (not below 0).
    pub brightness: f64,
    /// The contrast factor is uniform in 1 ± this (not below 0).
    pub contrast: f64,
    /// The saturation factor is uniform in 1 ± this (not below 0).
    pub saturation: f64,
    /// The hue shift is uniform in ± this, in turns of the colour circle; at most 0.5.
    pub hue: f64,
    /// How often the image is turned to luminance.
    pub grayscale_probability: f64,
    /// How often the image is flipped left to right.
    pub flip_probability: f64,
    /// Smallest and largest area of the crop, as a part of the image's area.
    pub crop_scale: [f64; 2],
    /// Smallest and largest width of the crop over its height.
    pub crop_ratio: [f64; 2],
}

impl Default for AugmentationSettings {
    fn default() -> Self {
        Self {
            jitter_probability: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            grayscale_probability: 0.2,
            flip_probability: 0.5,
            crop_scale: [0.08, 1.0],
            crop_ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

impl AugmentationSettings {
    /// Refuses settings that are no distribution.
    ///
    /// # Errors
    /// [`Error::Usage`], naming the setting, its value and its range.
    pub fn validate(&self) -> Result<()> {
        let within = |name: &str, value: f64, range: RangeInclusive<f64>| {
            if range.contains(&value) {
                return Ok(());
            }
            let (low, high) = range.into_inner();
            Err(Error::Usage(format!("{name} is {value}; give a number from {low} to {high}")))
        };
        within("jitter_probability", self.jitter_probability, 0.0..=1.0)?;
        within("grayscale_probability", self.grayscale_probability, 0.0..=1.0)?;
        within("flip_probability", self.flip_probability, 0.0..=1.0)?;
        // Factors stay where the 8-bit blend does not overflow; ten times an image is past any use.
        within("brightness", self.brightness, 0.0..=10.0)?;
        within("contrast", self.contrast, 0.0..=10.0)?;
        within("saturation", self.saturation, 0.0..=10.0)?;
        within("hue", self.hue, 0.0..=0.5)?;
        let ordered = |name: &str, [low, high]: [f64; 2], range: Range<f64>| {
            if range.start < low && low <= high && high <= range.end {
                return Ok(());
            }
            let Range { start, end } = range;
            Err(Error::Usage(format!(
                "{name} is [{low}, {high}]; give two numbers above {start} and up to {end}, the smaller one first"
            )))
        };
        ordered("crop_scale", self.crop_scale, 0.0..1.0)?;
        ordered("crop_ratio", self.crop_ratio, 0.0..100.0)
    }

    /// Draws one view. The settings must be [valid](Self::validate).
    pub fn sample(&self, rng: &mut impl Rng) -> Augmentation {
        let jitter = rng.random_bool(self.jitter_probability);
        let mut order = [0, 1, 2, 3];
        order.shuffle(rng);
        let mut factor = |spread: f64| rng.random_range((1.0 - spread).max(0.0)..=1.0 + spread) as f32;
        let (brightness, contrast, saturation) = (factor(self.brightness), factor(self.contrast), factor(self.saturation));
        let hue = (rng.random_range(-self.hue..=self.hue) * 255.0) as i32;
        let grayscale = rng.random_bool(self.grayscale_probability);
        let flip = rng.random_bool(self.flip_probability);
        let (top, left, height, width) = self.sample_crop(rng);
        let flag = |applied: bool, bit: u32| if applied { bit } else { 0 };
        Augmentation {
            order,
            flags: flag(jitter, Augmentation::JITTER) | flag(grayscale, Augmentation::GRAYSCALE) | flag(flip, Augmentation::FLIP),
            brightness,
            contrast,
            saturation,
            hue,
            top,
            left,
            height,
            width,
            padding: [0; 2],
        }
    }

    /// `RandomResizedCrop.get_params`: (top, left, height, width) of a crop of random area and ratio, after ten misfits the largest
    /// central crop of an allowed ratio.
    fn sample_crop(&self, rng: &mut impl Rng) -> (i32, i32, i32, i32) {
        let side = IMAGE_SIDE as i32;
        let (log_low, log_high) = (self.crop_ratio[0].ln(), self.crop_ratio[1].ln());
        for _ in 0..10 {
            let area = f64::from(side * side) * rng.random_range(self.crop_scale[0]..=self.crop_scale[1]);
            let ratio = rng.random_range(log_low..=log_high).exp();
            let width = (area * ratio).sqrt().round_ties_even() as i32;
            let height = (area / ratio).sqrt().round_ties_even() as i32;
            if (1..=side).contains(&width) && (1..=side).contains(&height) {
                let top = rng.random_range(0..=side - height);
                let left = rng.random_range(0..=side - width);
                return (top, left, height, width);
            }
        }
        let ratio = 1_f64.clamp(self.crop_ratio[0], self.crop_ratio[1]);
        let shorter = |part: f64| (f64::from(side) * part.min(1.0)).round_ties_even().max(1.0) as i32;
        let (height, width) = (shorter(1.0 / ratio), shorter(ratio));
        ((side - height) / 2, (side - width) / 2, height, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stream::stream;

    const DRAWS: u32 = 20_000;

    fn draws(settings: &AugmentationSettings) -> Vec<Augmentation> {
        let mut rng = stream(1, b"sampler\0", [0; 4]);
        (0..DRAWS).map(|_| settings.sample(&mut rng)).collect()
    }

    /// Fails unless a frequency lies within five standard deviations of the binomial distribution: once in two million seeds.
    fn assert_frequency(what: &str, hits: usize, probability: f64) {
        let n = f64::from(DRAWS);
        let deviations = (hits as f64 - n * probability) / (n * probability * (1.0 - probability)).sqrt();
        assert!(deviations.abs() < 5.0, "{what}: {hits} of {DRAWS} is {deviations:.1} deviations from {probability}");
    }

    #[test]
    fn a_record_is_twelve_words() {
        assert_eq!(Augmentation::WORDS, 12);
        let words: [i32; 12] = bytemuck::cast(Augmentation::identity());
        let one = 1_f32.to_bits() as i32;
        assert_eq!(words, [0x0302_0100, 0, one, one, one, 0, 0, 0, 32, 32, 0, 0]);
    }

    #[test]
    fn operations_come_as_often_as_they_should() {
        let drawn = draws(&AugmentationSettings::default());
        let count = |test: &dyn Fn(&Augmentation) -> bool| drawn.iter().filter(|a| test(a)).count();
        assert_frequency("jitter", count(&|a| a.flags & Augmentation::JITTER != 0), 0.8);
        assert_frequency("grayscale", count(&|a| a.flags & Augmentation::GRAYSCALE != 0), 0.2);
        assert_frequency("flip", count(&|a| a.flags & Augmentation::FLIP != 0), 0.5);
        assert_frequency("all three", count(&|a| a.flags == 7), 0.8 * 0.2 * 0.5);
        for operation in 0..4 {
            for place in 0..4 {
                assert_frequency("order", count(&|a| a.order[place] == operation), 0.25);
            }
        }
        assert_frequency("one of 24 orders", count(&|a| a.order == [3, 1, 0, 2]), 1.0 / 24.0);
    }

    #[test]
    fn factors_are_uniform_in_their_ranges() {
        let drawn = draws(&AugmentationSettings::default());
        for factor in [|a: &Augmentation| a.brightness, |a: &Augmentation| a.contrast, |a: &Augmentation| a.saturation] {
            assert!(drawn.iter().all(|a| (0.6..=1.4).contains(&factor(a))));
            assert_frequency("lower quarter", drawn.iter().filter(|a| factor(a) < 0.8).count(), 0.25);
            assert_frequency("upper half", drawn.iter().filter(|a| factor(a) > 1.0).count(), 0.5);
        }
        // h · 255 is uniform in ±25.5 and cut towards zero: 0 is twice as frequent as the others, ±25 half as frequent.
        assert!(drawn.iter().all(|a| (-25..=25).contains(&a.hue)));
        for (hue, probability) in [(0, 2.0 / 51.0), (1, 1.0 / 51.0), (-24, 1.0 / 51.0), (25, 0.5 / 51.0), (-25, 0.5 / 51.0)] {
            assert_frequency("hue", drawn.iter().filter(|a| a.hue == hue).count(), probability);
        }
    }

    #[test]
    fn crops_have_the_moments_of_torchvision() {
        let drawn = draws(&AugmentationSettings::default());
        for a in &drawn {
            assert!((8..=32).contains(&a.height) && (8..=32).contains(&a.width), "{a:?}");
            assert!(a.top >= 0 && a.left >= 0 && a.top + a.height <= 32 && a.left + a.width <= 32, "{a:?}");
        }
        // The mean of torchvision's own sampler; areas deviate by 0.24, so their mean by 0.0017: the bound is three of these.
        let area = drawn.iter().map(|a| f64::from(a.height * a.width) / 1024.0).sum::<f64>() / f64::from(DRAWS);
        assert!((area - 0.488).abs() < 0.005, "{area}");
        assert_frequency("whole image", drawn.iter().filter(|a| a.height == 32 && a.width == 32).count(), 0.003);
        // Top is uniform given the height.
        let halved: Vec<_> = drawn.iter().filter(|a| a.height % 2 == 1).collect();
        let upper = halved.iter().filter(|a| a.top < (33 - a.height) / 2).count() as f64 / halved.len() as f64;
        assert!((upper - 0.5).abs() < 0.03, "{upper}");
        let taller = drawn.iter().filter(|a| a.height > a.width).count() as f64;
        let wider = drawn.iter().filter(|a| a.height < a.width).count() as f64;
        assert!((taller / wider - 1.0).abs() < 0.08, "{taller} tall, {wider} wide");
    }

    #[test]
    fn a_crop_that_cannot_fit_falls_back_to_the_largest_central_one() {
        let impossible = AugmentationSettings { crop_scale: [1.0, 1.0], crop_ratio: [2.0, 4.0], ..Default::default() };
        assert!(draws(&impossible).iter().all(|a| (a.top, a.left, a.height, a.width) == (8, 0, 16, 32)));
        let whole = AugmentationSettings { crop_scale: [1.0, 1.0], crop_ratio: [1.0, 1.0], ..Default::default() };
        assert!(draws(&whole).iter().all(|a| (a.top, a.left, a.height, a.width) == (0, 0, 32, 32)));
    }

    #[test]
    fn settings_without_spread_draw_the_identity() {
        let still = AugmentationSettings {
            jitter_probability: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            grayscale_probability: 0.0,
            flip_probability: 0.0,
            crop_scale: [1.0, 1.0],
            crop_ratio: [1.0, 1.0],
        };
        still.validate().unwrap();
        let drawn = Augmentation { order: [0, 1, 2, 3], ..draws(&still)[0] };
        assert_eq!(drawn, Augmentation::identity());
    }

    #[test]
    fn settings_that_are_no_distribution_are_refused() {
        let refusal = |settings: AugmentationSettings| settings.validate().unwrap_err().to_string();
        let default = AugmentationSettings::default();
        default.validate().unwrap();
        assert!(refusal(AugmentationSettings { flip_probability: 1.5, ..default }).starts_with("flip_probability is 1.5;"));
        assert!(refusal(AugmentationSettings { hue: f64::NAN, ..default }).starts_with("hue is NaN;"));
        assert!(refusal(AugmentationSettings { crop_scale: [0.0, 1.0], ..default }).starts_with("crop_scale is [0, 1];"));
        assert!(refusal(AugmentationSettings { crop_ratio: [2.0, 1.0], ..default }).starts_with("crop_ratio is [2, 1];"));
    }
}
