//! From a pattern to pixels: contrast, polarity, shading, tint and noise, which carry no information about the class.

use crate::data::IMAGE_SIDE;
use rand::Rng;

/// How the pattern of one image is turned to colour.
pub struct Finish {
    /// Intensity between the pattern's extremes, in [0, 1].
    middle: f32,
    /// Half the contrast; negative where light and dark are exchanged.
    swing: f32,
    /// Change of intensity per pixel to the right and downwards.
    slope: (f32, f32),
    /// Gain of each channel, near 1.
    tint: [f32; 3],
    /// Largest noise, in units of intensity.
    noise: f32,
}

impl Finish {
    /// Draws the finish of one image.
    pub fn sample(rng: &mut impl Rng) -> Self {
        let polarity = if rng.random() { 1.0 } else { -1.0 };
        let mut slope = || rng.random_range(-0.08..0.08) / IMAGE_SIDE as f32;
        let slope = (slope(), slope());
        Self {
            middle: rng.random_range(0.40..0.60),
            swing: polarity * rng.random_range(0.22..0.36),
            slope,
            tint: std::array::from_fn(|_| 1.0 + rng.random_range(-0.02..0.02)),
            noise: rng.random_range(0.01..0.03),
        }
    }

    /// The colour of the pixel at (`x`, `y`), whose pattern is `value`, in [-1, 1].
    pub fn pixel(&self, value: f32, x: f32, y: f32, rng: &mut impl Rng) -> [u8; 3] {
        let centre = IMAGE_SIDE as f32 / 2.0;
        let shading = self.slope.0 * (x - centre) + self.slope.1 * (y - centre);
        // The difference of two uniform numbers: triangular, in ±1.
        let grain = self.noise * (rng.random::<f32>() - rng.random::<f32>());
        let intensity = self.middle + self.swing * value + shading + grain;
        self.tint.map(|gain| (255.0 * gain * intensity).round() as u8)
    }
}
