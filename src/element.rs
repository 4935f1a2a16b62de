//! The number types a tensor can be stored in, and the types they are computed in.

use std::ops::Add;

use half::{bf16, f16};

use crate::device::host::Kernels;

/// A number type that tensors are stored in.
///
/// 16-bit types are storage only: they are widened to [`Element::Real`], computed with there, and rounded once when stored.
pub trait Element: bytemuck::Pod + Send + Sync + 'static {
    /// The type this one is computed in.
    type Real: Real;

    /// The name of the type in messages and kernel names.
    const NAME: &'static str;

    /// The exact value in the computing type.
    fn to_real(self) -> Self::Real;

    /// The nearest value of the storage type, ties to even.
    fn from_real(real: Self::Real) -> Self;
}

/// A number type that is computed in: `f32`, or `f64` for oracles and gradient checks.
pub trait Real: Element<Real = Self> + Kernels + PartialOrd + Add<Output = Self> + std::fmt::Debug {
    /// Nought.
    const ZERO: Self;
}

macro_rules! real {
    ($type:ident) => {
        impl Element for $type {
            type Real = $type;
            const NAME: &'static str = stringify!($type);

            #[inline(always)]
            fn to_real(self) -> $type {
                self
            }

            #[inline(always)]
            fn from_real(real: $type) -> $type {
                real
            }
        }

        impl Real for $type {
            const ZERO: $type = 0.0;
        }
    };
}

macro_rules! half {
    ($type:ident) => {
        impl Element for $type {
            type Real = f32;
            const NAME: &'static str = stringify!($type);

            #[inline(always)]
            fn to_real(self) -> f32 {
                self.to_f32()
            }

            #[inline(always)]
            fn from_real(real: f32) -> $type {
                $type::from_f32(real)
            }
        }
    };
}

real!(f32);
real!(f64);
half!(f16);
half!(bf16);
