//! The ladder of `pgd_linf_step`.

use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::ops::check::same_shape;
use crate::ops::pgd_linf_step;
use crate::{Result, Tensor};

/// A version of [`pgd_linf_step`]. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PgdRung {
    /// A kernel for every operation of the formula, as a framework without fusion runs it.
    Operations,
    /// One kernel; each thread walks a range of its own.
    Ranges,
    /// Neighbouring threads take neighbouring elements.
    Elements,
    /// [`pgd_linf_step`]: neighbouring threads take neighbouring vectors of 16 bytes.
    Engine,
}

/// Elements in the range of a thread.
const RANGE: usize = 64;

impl PgdRung {
    /// From the plainest to the engine's.
    pub const ALL: [Self; 4] = [Self::Operations, Self::Ranges, Self::Elements, Self::Engine];

    /// [`pgd_linf_step`]; `scratch` has the shape of `x` and is left with anything.
    ///
    /// # Errors
    /// Those of [`pgd_linf_step`].
    pub fn step<R: Real>(
        self,
        x: &Tensor<R>,
        gradient: &Tensor<R>,
        clean: &Tensor<R>,
        step_size: R,
        epsilon: R,
        scratch: &Tensor<R>,
    ) -> Result<()> {
        same_shape("PgdRung::step", &[("x", x), ("gradient", gradient), ("clean", clean), ("scratch", scratch)])?;
        let n = x.len() as i64;
        match self {
            Self::Operations => operations(x, gradient, clean, step_size, epsilon, scratch),
            Self::Ranges => {
                let work = Work::Items(x.len().div_ceil(RANGE), RANGE);
                launch::ladder_pgd_ranges(work, x, gradient, clean, step_size, epsilon, n)
            }
            Self::Elements => launch::ladder_pgd_elements(Work::Items(x.len(), 1), x, gradient, clean, step_size, epsilon, n),
            Self::Engine => pgd_linf_step(x, gradient, clean, step_size, epsilon),
        }
    }
}

fn operations<R: Real>(
    x: &Tensor<R>,
    gradient: &Tensor<R>,
    clean: &Tensor<R>,
    step_size: R,
    epsilon: R,
    scratch: &Tensor<R>,
) -> Result<()> {
    let (work, n) = (Work::Elements(x.len()), x.len() as i64);
    launch::ladder_sign(work, gradient, scratch, n)?;
    launch::ladder_add_scaled(work, x, scratch, step_size, n)?;
    launch::ladder_clamp(work, x, R::from_f64(0.0), R::from_f64(1.0), n)?;
    launch::ladder_shift(work, clean, R::from_f64(-epsilon.to_f64()), scratch, n)?;
    launch::ladder_larger(work, x, scratch, n)?;
    launch::ladder_shift(work, clean, epsilon, scratch, n)?;
    launch::ladder_smaller(work, x, scratch, n)
}
