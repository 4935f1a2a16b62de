//! Element types: how numbers are stored, and in which type the arithmetic on them is done.

use half::{bf16, f16};

/// A storage type of activations and working weights. 16-bit types are storage only: arithmetic on them is done in `f32`.
pub trait Element: bytemuck::Pod + Send + Sync + 'static {
    /// The type kernels compute in, and in which images, statistics, losses and master weights are kept.
    type Real: Real;
    /// The name in kernel symbols and files: `f32`, `f16`, `bf16`, `f64`.
    const NAME: &'static str;
    /// Its name on the command line and in checkpoints: `fp32`, `fp16`, `bf16`, `fp64`.
    const PRECISION: &'static str;
    /// Whether storage holds fewer bits than arithmetic.
    const NARROW: bool = size_of::<Self>() < size_of::<Self::Real>();
    /// What gradients are multiplied by in training, at its beginning; none where they are stored as they are computed. The range of `bf16` is that of `f32`:
    /// nothing vanishes in it.
    const LOSS_SCALE: Option<f64>;
    /// The position of this type's variant in a kernel's table.
    const SLOT: usize;
    /// Widens exactly.
    fn to_real(self) -> Self::Real;
    /// Rounds to nearest even.
    fn from_real(value: Self::Real) -> Self;
}

// The host convolution's loops are compiled for each of these types; as a supertrait they follow from `T::Real` wherever it is written.
/// A type arithmetic is done in: `f32`, and `f64` for oracles and gradient checks on the host.
pub trait Real:
    Element<Real = Self>
    + crate::device::host::Kernels
    + PartialOrd
    + std::fmt::Debug
    + std::fmt::Display
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + Default
{
    /// Nought.
    const ZERO: Self;
    /// Rounds an `f64` to this type.
    fn from_f64(value: f64) -> Self;
    /// Widens exactly.
    fn to_f64(self) -> f64;
}

/// [`Element::NAME`] by [`Element::SLOT`].
pub const NAMES: [&str; 4] = [f32::NAME, f16::NAME, bf16::NAME, f64::NAME];

macro_rules! element {
    ($type:ty, $real:ty, $name:literal, $precision:literal, $loss_scale:expr, $slot:literal, $to:expr, $from:expr) => {
        impl Element for $type {
            type Real = $real;
            const NAME: &'static str = $name;
            const PRECISION: &'static str = $precision;
            const LOSS_SCALE: Option<f64> = $loss_scale;
            const SLOT: usize = $slot;
            #[inline(always)]
            fn to_real(self) -> $real {
                ($to)(self)
            }
            #[inline(always)]
            fn from_real(value: $real) -> Self {
                ($from)(value)
            }
        }
    };
}

element!(f32, f32, "f32", "fp32", None, 0, |x| x, |x| x);
element!(f16, f32, "f16", "fp16", Some(65536.0), 1, f16::to_f32, f16::from_f32);
element!(bf16, f32, "bf16", "bf16", Some(1.0), 2, bf16::to_f32, bf16::from_f32);
element!(f64, f64, "f64", "fp64", None, 3, |x| x, |x| x);

impl Real for f32 {
    const ZERO: Self = 0.0;
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
}
