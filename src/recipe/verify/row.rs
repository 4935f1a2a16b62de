//! What is compared, how far off it may be, and how far off it was.

use super::Architecture;
use crate::element::Element;
use serde::Serialize;

/// How a found quantity is held against the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// |found − recorded|₂ / |recorded|₂, against the nearer of the f32 and the f64 recording.
    RelativeL2,
    /// The median of relative errors over tensors, steps or images.
    Median,
    /// The largest of relative errors over tensors, steps or images.
    Worst,
    /// The fraction of pixels that differ by more than half a step of the attack, in the median image: where a ReLU of one image
    /// falls on its other side, that image's adversary goes its own way and the others' do not.
    MedianImage,
    /// The same in the image where it is largest.
    WorstImage,
    /// The largest relative error, over the images, of the loss that an image's adversary gains over the clean image. An
    /// adversary that went its own way is as strong all the same.
    Gain,
    /// The largest fraction of pixels that differ by more than half a step, over the steps of an attack each begun at the
    /// recorded image.
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
            Self::Gain => "loss gained, worst image",
            Self::WorstStep => "pixels, worst step",
            Self::RecordedGradients => "pixels, recorded gradients",
        }
    }
}

/// Quantities that are alike in how far they may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Computed in the arithmetic type in any precision, from recorded values.
    Exact,
    /// Activations, features, embeddings, class scores.
    Forward,
    /// Contrastive losses of a network's outputs.
    Loss,
    /// Cross-entropies of class scores.
    CrossEntropy,
    /// Running statistics.
    Statistics,
    /// The attack's gradient, in the median over its steps or images.
    AttackGradient,
    /// The attack's gradient at any one step or image.
    AttackStep,
    /// Pixels of an attack along recorded gradients, in which no network has a part.
    RecordedPixels,
    /// Pixels of a single step from a recorded image.
    StepPixels,
    /// Pixels of a free-running adversary, in the median image.
    Pixels,
    /// Pixels of a free-running adversary, in the worst image.
    WorstPixels,
    /// The loss that a free-running adversary gains, in the worst image.
    Gain,
    /// What follows from the parameters' gradients (they themselves, LARS's scales, momentum), in the median over parameters.
    Gradient,
    /// The same of any one parameter.
    Parameter,
    /// By how much a step changes the parameters, in the median over them.
    Update,
    /// The same of any one parameter.
    ParameterUpdate,
}

/// How much of a quantity a row goes over: a recording may leave tensors out, or steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// How many were recorded, and so compared.
    pub compared: usize,
    /// How many there are.
    pub of: usize,
    /// What is counted, in the plural.
    pub unit: &'static str,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The quantity: mostly the key it was recorded under. With the measure it tells a row from all others.
    pub name: String,
    /// How it is compared.
    pub measure: Measure,
    /// Which tolerance applies.
    pub class: Class,
    /// Which of several tensors the error is that of, where the worst is taken over tensors with names.
    pub tensor: Option<String>,
    /// Over how many tensors or steps the median or the worst is taken.
    pub coverage: Option<Coverage>,
    /// The error found; infinite where numbers are not finite or a shape is another. JSON has `null` for infinity.
    pub found: f64,
    /// The error allowed.
    pub allowed: f64,
    /// Whether it is within.
    pub passed: bool,
}

impl Row {
    /// With what it goes over.
    pub fn over(self, compared: usize, of: usize, unit: &'static str) -> Self {
        Self { coverage: Some(Coverage { compared, of, unit }), ..self }
    }
}

/// The errors allowed, by [`Class`].
///
/// Those of f32 come from PyTorch's own distance between f32 and f64 on these recordings: 1e-7 to 5e-7 forward and for the
/// attack's gradient, up to 1.2e-5 for a parameter's. A ReLU whose input is within rounding of zero may fall on either side, and
/// one flipped mask bit moves a gradient by 1e-4 to 6e-3; so medians are held tightly and single tensors only to where they still
/// tell a wrong ingredient (leaving out the regulariser moves all by 2e-3). An update is 2e-4 of the parameter under LARS, so
/// that storing the result in f32 is an error of 1.5e-4 of it already.
///
/// Those of 16 bits are at most twice the error that PyTorch's autocast has on recordings of width 8 and, of ResNet-50, 4
/// (`tools/plain_precision.py`; its figures are in `tests/golden`): the rule by which FlashAttention (Dao et al. 2022) is tested.
/// An error grows with depth, so ResNet-18 and ResNet-50 have their own. Errors of gradients stay below 1, which a gradient of
/// zero has, though the rule would allow more in places. What no 16-bit number enters has the tolerance of f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    exact: f64,
    forward: f64,
    loss: f64,
    cross_entropy: f64,
    statistics: f64,
    attack_gradient: f64,
    attack_step: f64,
    step_pixels: f64,
    pixels: f64,
    worst_pixels: f64,
    gain: f64,
    gradient: f64,
    parameter: f64,
    update: f64,
    parameter_update: f64,
}

impl Tolerances {
    /// For arithmetic and storage in f32.
    pub const F32: Self = Self {
        exact: 1e-5,
        forward: 1e-5,
        loss: 1e-5,
        cross_entropy: 1e-5,
        statistics: 1e-5,
        attack_gradient: 1e-5,
        attack_step: 1e-2,
        step_pixels: 1e-2,
        pixels: 1e-3,
        worst_pixels: 0.9,
        gain: 2e-2,
        gradient: 1e-5,
        parameter: 1e-3,
        update: 1e-3,
        parameter_update: 1e-3,
    };

    /// For f16, ResNet-18.
    pub const F16_RESNET18: Self = Self {
        forward: 2.05e-3,
        loss: 4e-4,
        cross_entropy: 1.2e-3,
        statistics: 1.2e-4,
        attack_gradient: 7.5e-2,
        attack_step: 1e-1,
        step_pixels: 3e-2,
        pixels: 2e-1,
        worst_pixels: 4e-1,
        gain: 1e-2,
        gradient: 3e-2,
        parameter: 7e-2,
        update: 3e-2,
        parameter_update: 7e-2,
        ..Self::F32
    };

    /// For f16, ResNet-50.
    pub const F16_RESNET50: Self = Self {
        forward: 5e-3,
        loss: 7e-4,
        cross_entropy: 9e-4,
        statistics: 3e-4,
        attack_gradient: 4e-1,
        attack_step: 5e-1,
        step_pixels: 1e-1,
        pixels: 9e-1,
        gain: 2e-1,
        gradient: 1.2e-1,
        parameter: 6e-1,
        update: 1.2e-1,
        parameter_update: 6e-1,
        ..Self::F32
    };

    /// For bf16, ResNet-18.
    pub const BF16_RESNET18: Self = Self {
        forward: 2e-2,
        loss: 9e-3,
        cross_entropy: 1.5e-2,
        statistics: 1.1e-3,
        attack_gradient: 2.5e-1,
        attack_step: 3e-1,
        step_pixels: 1e-1,
        pixels: 3e-1,
        worst_pixels: 4e-1,
        gain: 8e-2,
        gradient: 1e-1,
        parameter: 2e-1,
        update: 1e-1,
        parameter_update: 2e-1,
        ..Self::F32
    };

    /// For bf16, ResNet-50.
    pub const BF16_RESNET50: Self = Self {
        forward: 4e-2,
        loss: 5.65e-3,
        cross_entropy: 1e-2,
        statistics: 7e-3,
        attack_gradient: 9e-1,
        attack_step: 9.5e-1,
        step_pixels: 3e-1,
        pixels: 9e-1,
        gain: 2e-1,
        gradient: 4e-1,
        parameter: 9.5e-1,
        update: 3.5e-1,
        parameter_update: 9.5e-1,
        ..Self::F32
    };

    /// Those of storage type `T`, for a network of this depth.
    pub fn of<T: Element>(architecture: Architecture) -> Self {
        match (T::PRECISION, architecture) {
            ("fp16", Architecture::ResNet18) => Self::F16_RESNET18,
            ("fp16", Architecture::ResNet50) => Self::F16_RESNET50,
            ("bf16", Architecture::ResNet18) => Self::BF16_RESNET18,
            ("bf16", Architecture::ResNet50) => Self::BF16_RESNET50,
            _ => Self::F32,
        }
    }

    /// The width from which on those of storage type `T` hold: that of the recordings by which they were chosen. In narrower networks
    /// 16 bits round worse, plain PyTorch's among them.
    pub fn least_width<T: Element>(architecture: Architecture) -> u32 {
        match (T::PRECISION, architecture) {
            ("fp16" | "bf16", Architecture::ResNet18) => 8,
            ("fp16" | "bf16", Architecture::ResNet50) => 4,
            _ => 1,
        }
    }

    /// The error allowed in `class`.
    pub fn allowed(&self, class: Class) -> f64 {
        match class {
            Class::Exact => self.exact,
            Class::Forward => self.forward,
            Class::Loss => self.loss,
            Class::CrossEntropy => self.cross_entropy,
            Class::Statistics => self.statistics,
            Class::AttackGradient => self.attack_gradient,
            Class::AttackStep => self.attack_step,
            // Images are in the arithmetic type in every precision.
            Class::RecordedPixels => 0.0,
            Class::StepPixels => self.step_pixels,
            Class::Pixels => self.pixels,
            Class::WorstPixels => self.worst_pixels,
            Class::Gain => self.gain,
            Class::Gradient => self.gradient,
            Class::Parameter => self.parameter,
            Class::Update => self.update,
            Class::ParameterUpdate => self.parameter_update,
        }
    }

    /// Judges an error; NaN is never within.
    pub fn judge(&self, name: impl Into<String>, measure: Measure, class: Class, found: f64) -> Row {
        let allowed = self.allowed(class);
        Row { name: name.into(), measure, class, tensor: None, coverage: None, found, allowed, passed: found <= allowed }
    }

    /// The worst of many errors, each with the name of its tensor; none if there are none.
    pub fn worst<'a>(&self, name: &str, class: Class, errors: impl IntoIterator<Item = (f64, &'a str)>) -> Option<Row> {
        let (worst, tensor) = errors.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(Row { tensor: Some(tensor.to_owned()), ..self.judge(name, Measure::Worst, class, worst) })
    }
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
