//! The ten families: each draws the parameters of one image and returns its pattern.
//!
//! A pattern is a function of the position in pixels, with values in [-1, 1]. Edges are soft over about a pixel, and periods are long
//! enough that nothing aliases. Angles are uniform over the circle and positions over at least a period, so that the mean image of every
//! family is flat.

use rand::{Rng, RngCore};
use std::array;
use std::f32::consts::{PI, TAU};

/// A grey pattern in [-1, 1] over a position (x, y) in pixels.
pub type Pattern = Box<dyn Fn(f32, f32) -> f32>;

/// Draws the pattern of one image.
type Family = fn(&mut dyn RngCore) -> Pattern;

/// The classes, in the order of their labels.
pub const FAMILIES: [(&str, Family); 10] = [
    ("stripes", stripes),
    ("squares", squares),
    ("checkerboard", checkerboard),
    ("rings", rings),
    ("spokes", spokes),
    ("zigzag", zigzag),
    ("noise", noise),
    ("discs", discs),
    ("crossing lines", crossing_lines),
    ("grid", grid),
];

/// Side of the image in pixels.
const SIDE: f32 = crate::data::IMAGE_SIDE as f32;

/// 1 inside a shape and -1 outside, given the signed distance from its edge in pixels (negative inside).
fn filled(distance: f32) -> f32 {
    (-1.6 * distance).clamp(-1.0, 1.0)
}

/// The signed distance from `x` to the nearest multiple of `period`.
fn wrapped(x: f32, period: f32) -> f32 {
    x - period * (x / period).round()
}

/// A wave of slope up to `sharpness` per radian, cut at ±1: from a sine (1) to a square wave.
fn wave(radians: f32, sharpness: f32) -> f32 {
    (sharpness * radians.sin()).clamp(-1.0, 1.0)
}

/// Coordinates rotated by a random angle about a random point.
fn frame(rng: &mut dyn RngCore) -> impl Fn(f32, f32) -> (f32, f32) + use<> {
    let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
    let (x0, y0) = (rng.random_range(0.0..SIDE), rng.random_range(0.0..SIDE));
    move |x, y| (cos * (x - x0) + sin * (y - y0), cos * (y - y0) - sin * (x - x0))
}

/// The distance of a point from a random centre in the middle half of the image, and its direction in radians.
fn polar(rng: &mut dyn RngCore) -> impl Fn(f32, f32) -> (f32, f32) + use<> {
    let mut middle = || rng.random_range(0.25 * SIDE..0.75 * SIDE);
    let (x0, y0) = (middle(), middle());
    move |x, y| ((x - x0).hypot(y - y0), (y - y0).atan2(x - x0))
}

/// Plane waves.
fn stripes(rng: &mut dyn RngCore) -> Pattern {
    let (frame, period, sharpness) = (frame(rng), rng.random_range(4.5..7.5), rng.random_range(1.0..2.0));
    Box::new(move |x, y| wave(TAU * frame(x, y).0 / period, sharpness))
}

/// Small squares on a square lattice.
fn squares(rng: &mut dyn RngCore) -> Pattern {
    let (frame, period) = (frame(rng), rng.random_range(6.5..9.5));
    let half = period * rng.random_range(0.20..0.25);
    Box::new(move |x, y| {
        let (u, v) = frame(x, y);
        filled(wrapped(u, period).abs().max(wrapped(v, period).abs()) - half)
    })
}

/// Squares that alternate in both directions.
fn checkerboard(rng: &mut dyn RngCore) -> Pattern {
    let (frame, cell) = (frame(rng), rng.random_range(3.5..6.5));
    Box::new(move |x, y| {
        let (u, v) = frame(x, y);
        let sign = (PI * u / cell).sin() * (PI * v / cell).sin();
        let inside = wrapped(u, cell).abs().min(wrapped(v, cell).abs());
        filled(-inside).copysign(sign)
    })
}

/// Waves around a centre.
fn rings(rng: &mut dyn RngCore) -> Pattern {
    let (polar, period, sharpness) = (polar(rng), rng.random_range(4.5..8.0), rng.random_range(1.0..2.5));
    let phase = rng.random_range(0.0..TAU);
    Box::new(move |x, y| wave(TAU * polar(x, y).0 / period + phase, sharpness))
}

/// Sectors that meet in a centre, where they blend.
fn spokes(rng: &mut dyn RngCore) -> Pattern {
    let (polar, count) = (polar(rng), rng.random_range(6..=12) as f32);
    let phase = rng.random_range(0.0..TAU);
    Box::new(move |x, y| {
        let (radius, direction) = polar(x, y);
        wave(count * direction + phase, 1.5 * radius / count)
    })
}

/// Waves whose crests run in a zigzag.
fn zigzag(rng: &mut dyn RngCore) -> Pattern {
    let (frame, period, sharpness) = (frame(rng), rng.random_range(7.0..10.5), rng.random_range(1.0..2.5));
    let (length, slope) = (rng.random_range(9.0..14.0), rng.random_range(0.8..1.3));
    Box::new(move |x, y| {
        let (u, v) = frame(x, y);
        wave(TAU * (v + slope * wrapped(u, length).abs()) / period, sharpness)
    })
}

/// Smooth noise: waves of many directions and lengths, added.
fn noise(rng: &mut dyn RngCore) -> Pattern {
    let waves: [_; 16] = array::from_fn(|_| {
        let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
        let (frequency, phase) = (TAU / rng.random_range(6.0..14.0), rng.random_range(0.0..TAU));
        (frequency * cos, frequency * sin, phase)
    });
    // Sixteen sines have a standard deviation of √8; this makes it 0.7.
    Box::new(move |x, y| (0.25 * waves.iter().map(|(a, b, phase)| (a * x + b * y + phase).sin()).sum::<f32>()).clamp(-1.0, 1.0))
}

/// Discs of several sizes, scattered without touching.
fn discs(rng: &mut dyn RngCore) -> Pattern {
    let mut placed: Vec<(f32, f32, f32)> = Vec::new();
    for _ in 0..150 {
        let mut place = || rng.random_range(-2.0..SIDE + 2.0);
        let (x, y, radius) = (place(), place(), rng.random_range(2.0..4.2));
        if placed.iter().all(|&(x0, y0, radius0)| (x - x0).hypot(y - y0) > radius + radius0 + 1.2) {
            placed.push((x, y, radius));
        }
    }
    Box::new(move |x, y| {
        filled(placed.iter().map(|&(x0, y0, radius)| (x - x0).hypot(y - y0) - radius).fold(f32::INFINITY, f32::min))
    })
}

/// Thin straight lines at any angle.
fn crossing_lines(rng: &mut dyn RngCore) -> Pattern {
    let half = rng.random_range(0.5..0.8);
    let lines: Vec<_> = (0..rng.random_range(5..=8)).map(|_| frame(rng)).collect();
    Box::new(move |x, y| filled(lines.iter().map(|line| line(x, y).0.abs()).fold(f32::INFINITY, f32::min) - half))
}

/// Thin lines, evenly spaced, in two perpendicular directions.
fn grid(rng: &mut dyn RngCore) -> Pattern {
    let (frame, period) = (frame(rng), rng.random_range(7.0..10.0));
    let half = rng.random_range(0.5..0.8);
    Box::new(move |x, y| {
        let (u, v) = frame(x, y);
        filled(wrapped(u, period).abs().min(wrapped(v, period).abs()) - half)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stream::stream;

    #[test]
    fn patterns_stay_in_range_and_use_it() {
        for (name, family) in FAMILIES {
            for image in 0..50 {
                let pattern = family(&mut stream(0, b"pattern\0", [image, 0, 0, 0]));
                let values: Vec<_> = (0..1024).map(|place| pattern((place % 32) as f32, (place / 32) as f32)).collect();
                let (low, high) = values.iter().fold((1_f32, -1_f32), |(low, high), &value| (low.min(value), high.max(value)));
                assert!((-1.0..-0.7).contains(&low) || low == -1.0, "{name}: lowest value {low}");
                assert!(high > 0.7 && high <= 1.0, "{name}: highest value {high}");
            }
        }
    }
}
