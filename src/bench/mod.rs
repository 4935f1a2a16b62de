//! What a step costs, and why: measured, counted, predicted.
//!
//! | module | what |
//! |---|---|
//! | [`step`] | one training step by phase, against its floor |
//! | [`attack`] | one attack: a ladder from the released code's algorithm to this engine's, and what its settings cost |
//! | [`calls`] | every kernel and library call of a step, one by one |
//! | `access` | how its kernels access memory, as a GPU would see it; with the feature `access` |
//! | [`model`] | the same, predicted for a card from shapes alone |
//! | [`gauge`] | a GPU's clocks, power and energy meanwhile |
//! | [`mod@compare`], [`rank`] | two reports, before and after a change |
//!
//! Counting needs no hand-kept table: a step is [recorded](crate::device::record) call by call, each with the bytes it cannot do without moving
//! and the arithmetic it cannot do without. A call's floor is the longer of its two times at the device's measured [`ceilings`]; a step's floor is
//! the sum over its calls.

#[cfg(feature = "access")]
pub mod access;
pub mod attack;
pub mod calls;
pub mod cards;
pub mod ceilings;
pub mod compare;
pub mod gauge;
pub mod machine;
pub mod measure;
pub mod model;
pub mod rank;
pub mod step;
pub mod subject;
pub mod summary;
pub mod unfused_pgd;

/// The format of all reports.
pub const SCHEMA: u32 = 1;
