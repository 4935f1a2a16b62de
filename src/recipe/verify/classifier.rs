//! PGD-20 on the cross-entropy of the linear head: `pgd20/…`, and `pgd20rs/…` from a random start.

use super::attacks::{Points, by_image, single_steps, teacher_forced};
use super::recording::upload;
use super::row::{Class, Row};
use super::{Session, adversary, widened};
use crate::attack::{Attack, ClassifierBuffers, ClassifierObjective, Objective, Pgd};
use crate::element::{Element, Real};
use crate::ops::{Norm, PgdStep};
use crate::{Result, Tensor, ops};

const STEPS: usize = 20;

pub(super) fn rows<T: Element>(session: &Session<T>) -> Result<Vec<Row>> {
    let Session { device, recording, .. } = *session;
    if !recording.has_any("pgd20/") && !recording.has_any("pgd20rs/") {
        return Ok(Vec::new());
    }
    let batch = session.batch();
    let buffers = ClassifierBuffers::new(device, batch, &session.head)?;
    let labels = recording.labels(device, batch, session.head.classes())?;
    let epsilon = session.recipe.attack.epsilon.value();
    let step_size = epsilon / 10.0;
    let mut attacked = Attacked {
        session,
        objective: ClassifierObjective::new(session.model.encoder(), &session.head, &buffers, &labels, batch),
        attack: Pgd::new(device, batch, PgdStep::new(Norm::Linf, step_size, epsilon), STEPS, None)?,
        clean: recording.images(device, "in/x1", batch)?,
        step_size,
        mean: 1.0 / batch as f64,
    };
    let mut rows = attacked.gradients()?;
    rows.extend(attacked.free_running()?);
    rows.extend(attacked.random_start()?);
    Ok(rows)
}

/// The linear head under attack.
struct Attacked<'a, T: Element> {
    session: &'a Session<'a, T>,
    objective: ClassifierObjective<'a, T>,
    attack: Pgd<T::Real>,
    clean: Tensor<T::Real>,
    step_size: f64,
    /// The recording has the mean over the batch, the objective the sum.
    mean: f64,
}

impl<T: Element> Attacked<'_, T> {
    /// Losses and gradients at the recorded images; without those, at the clean ones.
    fn gradients(&mut self) -> Result<Vec<Row>> {
        let Session { device, recording, .. } = *self.session;
        let mut rows = Vec::new();
        if recording.has("pgd20/grad0") {
            let gradient = Tensor::zeros(device, self.clean.shape())?;
            self.objective.gradient(&self.clean, &gradient)?;
            let found: Vec<f64> = widened(&gradient)?.iter().map(|g| g * self.mean).collect();
            rows.extend(by_image(self.session, "pgd20/grad0", &found)?);
        }
        let trajectory = "pgd20/x_traj";
        let whole = recording.has(trajectory);
        let points = if whole { Points::Trajectory } else { Points::First("in/x1") };
        if whole {
            recording.expect(trajectory, &[STEPS + 1, self.session.batch(), 3, 32, 32])?;
        }
        rows.extend(teacher_forced(self.session, "pgd20", &mut self.objective, &points, (STEPS, self.mean))?);
        if whole {
            rows.push(single_steps(self.session, trajectory, &self.attack, &mut self.objective, self.step_size)?);
        }
        Ok(rows)
    }

    /// The adversary from the clean images, and the class scores of the recorded one.
    fn free_running(&mut self) -> Result<Vec<Row>> {
        let Session { device, recording, .. } = *self.session;
        let (name, batch) = ("pgd20/x_final", self.session.batch());
        if !recording.has(name) {
            return Ok(Vec::new());
        }
        let expected = recording.batch(name, batch)?;
        let x = Tensor::zeros(device, self.clean.shape())?;
        self.attack.perturb(&self.clean, &mut self.objective, &x)?;
        let mut rows = adversary::rows(self.session, name, &mut self.objective, &x, &expected, self.step_size)?;
        let features = self.session.model.encoder().forward(&upload(device, batch, &expected)?)?;
        rows.extend(self.session.row("pgd20/logits_adv", Class::Forward, &widened(&self.session.head.forward(&features)?)?)?);
        Ok(rows)
    }

    /// The image that the recorded noise makes, the loss there, and the adversary begun at the recorded image.
    fn random_start(&mut self) -> Result<Vec<Row>> {
        let Session { device, recording, .. } = *self.session;
        let (start, last, batch) = ("pgd20rs/x0", "pgd20rs/x_final", self.session.batch());
        if !recording.has(start) {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        if recording.has("pgd20rs/noise") {
            rows.extend(self.session.row(
                start,
                Class::Exact,
                &widened(&self.noisy(&recording.batch("pgd20rs/noise", batch)?)?)?,
            )?);
        }
        rows.extend(teacher_forced(self.session, "pgd20rs", &mut self.objective, &Points::First(start), (STEPS, self.mean))?);
        if recording.has(last) {
            let x = recording.images::<T::Real>(device, start, batch)?;
            for _ in 0..STEPS {
                self.attack.step(&self.clean, &mut self.objective, &x)?;
            }
            let expected = recording.batch(last, batch)?;
            rows.extend(adversary::rows(self.session, last, &mut self.objective, &x, &expected, self.step_size)?);
        }
        Ok(rows)
    }

    /// x₀ of given noise: its clamps are those of a step that stays where it is.
    fn noisy(&self, noise: &[f64]) -> Result<Tensor<T::Real>> {
        let device = self.session.device;
        let moved: Vec<f64> = widened(&self.clean)?.iter().zip(noise).map(|(x, n)| x + n).collect();
        let x = upload::<T::Real>(device, self.session.batch(), &moved)?;
        let (still, epsilon) = (Tensor::zeros(device, x.shape())?, T::Real::from_f64(self.session.recipe.attack.epsilon.value()));
        ops::pgd_linf_step(&x, &still, &self.clean, T::Real::ZERO, epsilon)?;
        Ok(x)
    }
}
