//! `--precision`, and the one place where it becomes an element type.

use clap::ValueEnum;

/// Arithmetic of convolutions and matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 32-bit floating point, equal bits from run to run.
    #[default]
    Fp32,
    /// Tensor cores with 10-bit mantissas; the same as fp32 on a CPU.
    Tf32,
    /// 16-bit storage with a loss scale.
    Fp16,
    /// 16-bit storage with the range of f32.
    Bf16,
}

impl Precision {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        }
    }

    /// The precision that a checkpoint states.
    pub fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }
}

/// The value of an expression in which `$element` is the element type of `$precision`.
macro_rules! in_precision {
    ($precision:expr, $element:ident => $value:expr) => {
        match $precision {
            $crate::cli::precision::Precision::Fp32 | $crate::cli::precision::Precision::Tf32 => {
                type $element = f32;
                $value
            }
            $crate::cli::precision::Precision::Fp16 => {
                type $element = half::f16;
                $value
            }
            $crate::cli::precision::Precision::Bf16 => {
                type $element = half::bf16;
                $value
            }
        }
    };
}
pub(in crate::cli) use in_precision;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::device::HostOptions;

    /// What a checkpoint notes about its run is what the command line calls it.
    #[test]
    fn names_are_those_of_runs() {
        for precision in [Precision::Fp32, Precision::Tf32, Precision::Fp16, Precision::Bf16] {
            let options = HostOptions { tf32: precision == Precision::Tf32, ..HostOptions::default() };
            let device = Device::host_with(options).unwrap();
            let name = in_precision!(precision, T => device.precision::<T>());
            assert_eq!((name, Precision::named(name)), (precision.name(), Some(precision)));
        }
    }
}
