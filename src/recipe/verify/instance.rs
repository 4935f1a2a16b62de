//! The instance-wise attack of pretraining: `attack/…`.

use super::attacks::{Points, differing, single_steps, teacher_forced};
use super::recording::{native, upload};
use super::row::{Class, Measure, Row};
use super::{Session, adversary, widened};
use crate::attack::{Objective, Pgd};
use crate::element::{Element, Real};
use crate::ops::{Norm, PgdStep};
use crate::{Device, Result, Tensor};

const TRAJECTORY: &str = "attack/x_traj";
const GRADIENT: &str = "attack/grad";

pub(super) fn rows<T: Element>(session: &Session<T>) -> Result<Vec<Row>> {
    let Session { device, recording, .. } = *session;
    if !recording.has_any("attack/") {
        return Ok(Vec::new());
    }
    let (batch, settings) = (session.batch(), &session.recipe.attack);
    let (steps, step_size) = (settings.steps as usize, settings.step_size.value());
    recording.expect(TRAJECTORY, &[steps + 1, batch, 3, 32, 32])?;
    let target = recording.images(device, "in/x2", batch)?;
    let mut objective = session.model.objective(&*session.losses.attack_loss, &target)?;
    let mut rows = teacher_forced(session, "attack", &mut objective, &Points::Trajectory, (steps, 1.0))?;
    let step = PgdStep::<T::Real>::new(Norm::Linf, step_size, settings.epsilon.value());
    let pgd = Pgd::new(device, batch, step, 1, None)?;
    rows.push(single_steps(session, TRAJECTORY, &pgd, &mut objective, step_size)?);
    if recording.has(GRADIENT) {
        rows.push(along_recorded_gradients(session, steps, step_size)?);
    }
    let clean = recording.images::<T::Real>(device, "in/x1", batch)?;
    let x = Tensor::zeros(device, clean.shape())?;
    session.losses.attack.perturb(&clean, &mut objective, &x)?;
    let expected = native(&recording.entry(TRAJECTORY, steps)?);
    rows.extend(adversary::rows(session, TRAJECTORY, &mut objective, &x, &expected, step_size)?);
    Ok(rows)
}

/// The whole attack with the recorded gradients in place of ours, so that nothing excuses a single pixel that went another way.
fn along_recorded_gradients<T: Element>(session: &Session<T>, steps: usize, step_size: f64) -> Result<Row> {
    let Session { device, recording, .. } = *session;
    let batch = session.batch();
    let stack = |name: &str, steps: usize| -> Result<Vec<Vec<f64>>> {
        (0..steps).map(|step| Ok(native(&recording.entry(name, step)?))).collect()
    };
    let (gradients, expected) = (stack(GRADIENT, steps)?, stack(TRAJECTORY, steps + 1)?);
    let mut objective = Replay { device, gradients, visited: Vec::new(), loss: Tensor::zeros(device, [1])? };
    let clean = recording.images::<T::Real>(device, "in/x1", batch)?;
    let x = Tensor::zeros(device, clean.shape())?;
    session.losses.attack.perturb(&clean, &mut objective, &x)?;
    let mut visited = objective.visited;
    visited.push(widened(&x)?);
    // An attack of another number of steps took another way.
    let missed = if visited.len() == expected.len() { 0.0 } else { 1.0 };
    let fractions = visited.iter().zip(&expected).map(|(found, expected)| differing(found, expected, step_size));
    let worst = fractions.fold(missed, f64::max);
    Ok(session.tolerances.judge(TRAJECTORY, Measure::RecordedGradients, Class::RecordedPixels, worst))
}

/// Gives recorded gradients, whatever the image, and remembers the images.
struct Replay<'a, R: Real> {
    device: &'a Device,
    gradients: Vec<Vec<f64>>,
    visited: Vec<Vec<f64>>,
    loss: Tensor<R>,
}

impl<R: Real> Objective<R> for Replay<'_, R> {
    fn gradient(&mut self, x: &Tensor<R>, gradient: &Tensor<R>) -> Result<()> {
        let recorded = self.gradients.get(self.visited.len());
        self.visited.push(x.to_vec()?.into_iter().map(Real::to_f64).collect());
        match recorded {
            Some(recorded) => gradient.copy_from(&upload(self.device, x.rows_len(), recorded)?),
            None => gradient.clear(),
        }
    }

    fn loss(&self) -> &Tensor<R> {
        &self.loss
    }
}
