//! Which engines may compute.
//!
//! `f32` promises equal bits from run to run and full precision, so no engine that uses tensor cores (TF32) serves it. No arithmetic admits
//! engines that are not deterministic, convert operands to fewer bits than they are stored in, add up in fewer bits than `f32`, or transform
//! their operands (FFT, Winograd), which costs digits.

use super::descriptor::{BehaviorNote, NumericalNote};
use crate::device::Arithmetic;
use cudarc::cudnn::sys::cudnnBackendBehaviorNote_t::CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION as RUNTIME_COMPILATION;
use cudarc::cudnn::sys::cudnnBackendNumericalNote_t as Note;

const TENSOR_CORE: i32 = Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE as i32;
const STRICT_NAN_PROPAGATION: i32 = Note::CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP as i32;

/// Which engines are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineSet {
    /// Those whose kernels came with the library.
    Prebuilt,
    /// Also those that compile their kernel when a plan is made: they fuse more, and take a second or so each.
    All,
}

/// What is asked of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub arithmetic: Arithmetic,
    pub engines: EngineSet,
}

impl Policy {
    /// Whether an engine with these notes may compute. Notes that are not known here exclude it: what they warn of is not known either.
    pub fn admits(self, numerical: &[NumericalNote], behavior: &[BehaviorNote]) -> bool {
        let numerically = numerical.iter().all(|note| match note.0 {
            TENSOR_CORE => self.arithmetic != Arithmetic::F32,
            STRICT_NAN_PROPAGATION => true,
            _ => false,
        });
        let compiles = behavior.contains(&BehaviorNote(RUNTIME_COMPILATION as i32));
        numerically && (self.engines == EngineSet::All || !compiles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(arithmetic: Arithmetic, notes: &[Note]) -> bool {
        let notes: Vec<_> = notes.iter().map(|&note| NumericalNote(note as i32)).collect();
        Policy { arithmetic, engines: EngineSet::Prebuilt }.admits(&notes, &[])
    }

    #[test]
    fn only_full_precision_keeps_away_from_tensor_cores() {
        use Note::*;
        for arithmetic in Arithmetic::ALL {
            assert!(admits(arithmetic, &[]) && admits(arithmetic, &[CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP]));
            assert_eq!(admits(arithmetic, &[CUDNN_NUMERICAL_NOTE_TENSOR_CORE]), arithmetic != Arithmetic::F32);
        }
    }

    #[test]
    fn what_costs_digits_or_equal_bits_serves_no_arithmetic() {
        use Note::*;
        let refused = [
            CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
            CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
            CUDNN_NUMERICAL_NOTE_FFT,
            CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC,
            CUDNN_NUMERICAL_NOTE_WINOGRAD,
            CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
            CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
            CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13,
            CUDNN_NUMERICAL_NOTE_TYPE_COUNT,
        ];
        for (arithmetic, note) in Arithmetic::ALL.into_iter().flat_map(|a| refused.map(|note| (a, note))) {
            assert!(!admits(arithmetic, &[note]), "{arithmetic:?} {note:?}");
            assert!(!admits(arithmetic, &[CUDNN_NUMERICAL_NOTE_TENSOR_CORE, note]), "{arithmetic:?} {note:?}");
        }
    }

    #[test]
    fn compiling_engines_have_to_be_asked_for() {
        let compiles = [BehaviorNote(RUNTIME_COMPILATION as i32)];
        for (engines, admitted) in [(EngineSet::Prebuilt, false), (EngineSet::All, true)] {
            let policy = Policy { arithmetic: Arithmetic::F16, engines };
            assert_eq!(policy.admits(&[], &compiles), admitted);
            assert!(policy.admits(&[], &[BehaviorNote(RUNTIME_COMPILATION as i32 + 1)]));
        }
    }
}
