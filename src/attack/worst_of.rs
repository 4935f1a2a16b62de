//! Several attacks on the same images, and for each image the one that does most harm.

use super::{Attack, Objective};
use crate::element::Real;
use crate::ops::{self, Outcome};
use crate::{Device, Result, Tensor};

/// An objective that says how each image fares.
pub trait Judge<R: Real>: Objective<R> {
    /// Writes the loss of each image of `x` (`[n, 32, 32, 3]`), and whether its class is right.
    fn judge(&mut self, x: &Tensor<R>, outcome: &Outcome<R>) -> Result<()>;
}

/// Attacks of which each image keeps the adversary that fools the classifier, or else the one of the highest loss; of equal ones the first.
pub struct WorstOf<R: Real> {
    attacks: Vec<Box<dyn Attack<R>>>,
    rivalry: Option<Rivalry<R>>,
}

/// What a second attack needs to compete with the first.
struct Rivalry<R> {
    candidate: Tensor<R>,
    outcome: Outcome<R>,
    worst: Outcome<R>,
}

impl<R: Real> WorstOf<R> {
    /// For batches of up to `max_batch` images of 32×32. A single attack is carried out and not judged; none leave images as they are.
    pub fn new(device: &Device, max_batch: usize, attacks: Vec<Box<dyn Attack<R>>>) -> Result<Self> {
        let outcome = || {
            Ok::<_, crate::Error>(Outcome {
                loss: Tensor::zeros(device, [max_batch])?,
                correct: Tensor::zeros(device, [max_batch])?,
            })
        };
        let rivalry = || {
            let candidate = Tensor::zeros(device, [max_batch, 32, 32, 3])?;
            Ok::<_, crate::Error>(Rivalry { candidate, outcome: outcome()?, worst: outcome()? })
        };
        Ok(Self { rivalry: (attacks.len() > 1).then(rivalry).transpose()?, attacks })
    }

    /// Writes adversarial versions of `clean` (`[n, 32, 32, 3]`, in [0, 1]) to `x`, which does not overlap it.
    pub fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Judge<R>, x: &Tensor<R>) -> Result<()> {
        let Some((first, others)) = self.attacks.split_first() else { return x.copy_from(clean) };
        first.perturb(clean, objective, x)?;
        let Some(Rivalry { candidate, outcome, worst }) = &self.rivalry else { return Ok(()) };
        let n = x.rows_len();
        let (candidate, outcome, worst) = (candidate.rows(0..n)?, outcome.rows(n)?, worst.rows(n)?);
        objective.judge(x, &worst)?;
        others.iter().try_for_each(|attack| {
            attack.perturb(clean, objective, &candidate)?;
            objective.judge(&candidate, &outcome)?;
            ops::keep_worse(&candidate, &outcome, x, &worst)
        })
    }
}
