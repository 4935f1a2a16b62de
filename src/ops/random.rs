//! Random starts.

use super::check::same_shape;
use super::clock::is_clock;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Result, Tensor};

/// `x` ← clamp(`clean` + U(−`epsilon`, `epsilon`), 0, 1), element by element: the random start of an attack (RoCL, Section 3.2).
///
/// The numbers are Philox 4×32-10 of (`seed`, `stream`, `clock[1]`, element): the same in every run, on every device and for any
/// batch layout; different for every step. Each use of randomness in a step takes a `stream` of its own.
pub fn random_start<R: Real>(
    clean: &Tensor<R>,
    epsilon: R,
    seed: u64,
    stream: u32,
    clock: &Tensor<i64>,
    x: &Tensor<R>,
) -> Result<()> {
    const OP: &str = "random_start";
    same_shape(OP, &[("clean", clean), ("x", x)])?;
    is_clock(OP, clock)?;
    launch::random_start(Work::Elements(x.len()), clean, epsilon, seed, stream.into(), clock, x.len() as i64, x)
}
