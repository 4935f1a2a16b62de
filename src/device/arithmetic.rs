//! What a library may do to numbers.

use crate::element::Element;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How operands are stored, and how a library multiplies them. Sums are in `f32` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// `f32` throughout, equal bits from run to run.
    F32,
    /// `f32` operands, whose mantissas tensor cores shorten to 10 bits.
    Tf32,
    /// `f16` operands.
    F16,
    /// `bf16` operands.
    Bf16,
}

impl Arithmetic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32, Self::F16, Self::Bf16];

    /// That of numbers stored as `T`, whose 32-bit ones may be shortened where `tf32` says so.
    ///
    /// # Errors
    /// [`Error::Shape`] for a type that no library multiplies.
    pub(super) fn of<T: Element>(tf32: bool) -> Result<Self> {
        match T::NAME {
            "f32" if tf32 => Ok(Self::Tf32),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            other => Err(Error::shape("device", format!("a GPU's libraries do not multiply {other}; choose another precision"))),
        }
    }

    /// The size of a stored number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::Tf32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// As in `serde`: `f32`, `tf32`, `f16`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}
