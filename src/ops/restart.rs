//! The worst of several attacks on the same images.

use super::check::{has_shape, same_shape};
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Error, Result, Tensor};

/// How images fare under an attack, one by one.
pub struct Outcome<R> {
    /// What the attack increases, `[n]`.
    pub loss: Tensor<R>,
    /// 1 where the class is right, else 0, `[n]`.
    pub correct: Tensor<R>,
}

impl<R: Real> Outcome<R> {
    /// That of the first `n` images.
    pub fn rows(&self, n: usize) -> Result<Self> {
        Ok(Self { loss: self.loss.rows(0..n)?, correct: self.correct.rows(0..n)? })
    }

    /// Which of the first `valid` images are right, after everything launched has finished.
    pub fn right(&self, valid: usize) -> Result<Vec<bool>> {
        Ok(self.correct.rows(0..valid)?.to_vec()?.into_iter().map(|correct| correct > R::ZERO).collect())
    }
}

/// Replaces images of `worst` by those of `x` that do more harm, and their outcome with them: that fool the classifier where `worst` does
/// not, or have the higher loss where both do or neither does. A loss of NaN replaces nothing. `x` and `worst` have one shape, `[n, …]`.
pub fn keep_worse<R: Real>(x: &Tensor<R>, outcome: &Outcome<R>, worst: &Tensor<R>, worst_outcome: &Outcome<R>) -> Result<()> {
    const OP: &str = "keep_worse";
    // Enough to copy an image of 3072 numbers in turns; the host pays for every thread.
    const THREADS: usize = 32;
    same_shape(OP, &[("x", x), ("worst", worst)])?;
    let n = x.rows_len();
    for Outcome { loss, correct } in [outcome, worst_outcome] {
        has_shape(OP, "loss", loss, &[n])?;
        has_shape(OP, "correct", correct, &[n])?;
    }
    let columns = i32::try_from(x.len() / n.max(1)).ok().filter(|_| u32::try_from(n).is_ok());
    let too_much = || Error::shape(OP, format!("{:?} is too much for one launch; use a smaller batch", x.shape()));
    let columns = columns.ok_or_else(too_much)?;
    let Outcome { loss, correct } = worst_outcome;
    launch::keep_worse(Work::Blocks(n, THREADS), x, &outcome.loss, &outcome.correct, worst, loss, correct, columns)
}
