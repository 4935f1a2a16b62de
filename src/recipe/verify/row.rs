//! What is compared, how far off it may be, and how far off it was.

use serde::Serialize;

/// How a found quantity is held against the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// |found − recorded|₂ / |recorded|₂, against the nearer of the f32 and the f64 recording.
    RelativeL2,
    /// The median of relative errors over tensors or steps.
    Median,
    /// The largest of relative errors over tensors or steps.
    Worst,
    /// The fraction of pixels that differ by more than half a step of the attack, in the median image: where a ReLU of one image falls on
    /// its other side, that image's adversary goes its own way and the others' do not.
    MedianImage,
    /// The same in the image where it is largest.
    WorstImage,
    /// The largest fraction of pixels that differ by more than half a step, over the steps of an attack each begun at the recorded image.
    WorstStep,
    /// The same of an attack that is given the recorded gradients, so that it has to take the recorded way.
    RecordedGradients,
}

impl Measure {
    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::RelativeL2 => "relative L2",
            Self::Median => "median relative L2",
            Self::Worst => "worst relative L2",
            Self::MedianImage => "pixels, median image",
            Self::WorstImage => "pixels, worst image",
            Self::WorstStep => "pixels, worst step",
            Self::RecordedGradients => "pixels, recorded gradients",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The quantity: mostly the key it was recorded under. With the measure it tells a row from all others.
    pub name: String,
    /// How it is compared.
    pub measure: Measure,
    /// Which of several tensors the error is that of, where the worst is taken over tensors with names.
    pub tensor: Option<String>,
    /// The error found; infinite where numbers are not finite or a shape is another. JSON has `null` for infinity.
    pub found: f64,
    /// The error allowed.
    pub allowed: f64,
    /// Whether it is within.
    pub passed: bool,
}

impl Row {
    /// Judges an error; NaN is never within.
    pub fn new(name: impl Into<String>, measure: Measure, found: f64, allowed: f64) -> Self {
        Self { name: name.into(), measure, tensor: None, found, allowed, passed: found <= allowed }
    }

    /// The worst of many errors, each with the name of its tensor.
    pub fn worst<'a>(name: &str, errors: impl IntoIterator<Item = (f64, &'a str)>, allowed: f64) -> Option<Self> {
        let (worst, tensor) = errors.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(Self { tensor: Some(tensor.to_owned()), ..Self::new(name, Measure::Worst, worst, allowed) })
    }

    /// Two rows for many errors: their median and the worst.
    pub fn spread(name: &str, errors: &[f64], [median_allowed, worst_allowed]: [f64; 2]) -> Vec<Self> {
        let worst = errors.iter().copied().fold(0.0, f64::max);
        match errors {
            [] => Vec::new(),
            _ => vec![
                Self::new(name, Measure::Median, median(errors), median_allowed),
                Self::new(name, Measure::Worst, worst, worst_allowed),
            ],
        }
    }
}

/// The errors allowed.
///
/// Those of f32 come from PyTorch's own distance between f32 and f64 on these recordings: 1e-7 to 5e-7 forward and for the attack's
/// gradient, up to 1.2e-5 for a parameter's. A ReLU whose input is within rounding of zero may fall on either side, and one flipped mask
/// bit moves a gradient by 1e-4 to 6e-3; so medians are held tightly and single tensors only to where they still tell a wrong ingredient
/// (leaving out the regulariser moves all by 2e-3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Features, embeddings, losses, running statistics; medians.
    pub forward: f64,
    /// The attack's gradient at any one step.
    pub step: f64,
    /// Any one parameter's gradient.
    pub parameter: f64,
    /// A parameter's update, what it is after the step minus what it was before: 2e-4 of the parameter under LARS, so that storing the
    /// result in f32 is an error of 1.5e-4 already.
    pub update: f64,
    /// Pixels of an image's free-running adversary: a sign flips where the gradient is within rounding of zero.
    pub pixels: f64,
    /// Pixels of the image whose adversary is furthest off: flips alone have been seen to move a quarter of one.
    pub image: f64,
}

impl Tolerances {
    /// For arithmetic and storage in f32.
    pub const F32: Self = Self { forward: 1e-5, step: 1e-2, parameter: 1e-3, update: 1e-3, pixels: 1e-3, image: 0.5 };
}

/// |found − truth|₂ / |truth|₂; what was recorded as zero must be zero. Infinite where a NaN was found.
pub fn relative_l2(found: &[f64], truth: &[f64]) -> f64 {
    let difference: f64 = found.iter().zip(truth).map(|(f, t)| (f - t) * (f - t)).sum();
    let norm: f64 = truth.iter().map(|t| t * t).sum();
    let error = if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() };
    // Infinite rather than NaN, so that no sort and no maximum loses it.
    if found.len() != truth.len() || error.is_nan() { f64::INFINITY } else { error }
}

/// The middle of the errors, the upper one of two.
pub fn median(errors: &[f64]) -> f64 {
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
