//! Whole training steps with the recorded views and adversaries.

use super::row::{Class, Measure, Row, median};
use super::{Session, nearest, widened};
use crate::element::{Element, Real};
use crate::nn::MODEL;
use crate::recipe::pretrain::Pretraining;
use crate::{Result, Tensor};

/// Where in a step the state is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// After the regulariser's pass, the first of two updates of the running statistics.
    Regularized,
    /// After both passes: gradients are complete.
    Differentiated,
    /// After the update.
    Updated,
}

/// Carries out a step on the images that are there, calling back at each [`Stage`].
pub type StepBy<'a, T> = &'a dyn Fn(&Pretraining<T>, &mut dyn FnMut(Stage) -> Result<()>) -> Result<()>;

/// A step as [`Pretraining::step`] does it, from views and adversary on.
pub(super) fn by_the_engine<T: Element>(run: &Pretraining<T>, at: &mut dyn FnMut(Stage) -> Result<()>) -> Result<()> {
    run.network().begin_step()?;
    run.regularize()?;
    at(Stage::Regularized)?;
    run.contrast()?;
    at(Stage::Differentiated)?;
    run.update()?;
    at(Stage::Updated)
}

pub(super) fn rows<T: Element>(session: &Session<T>, step: StepBy<T>) -> Result<Vec<Row>> {
    let recording = session.recording;
    if !recording.has_any("step1/") && !recording.has_any("step2/") {
        return Ok(Vec::new());
    }
    let (steps, batch) = (session.recipe.attack.steps as usize, session.batch());
    recording.expect("attack/x_traj", &[steps + 1, batch, 3, 32, 32])?;
    let adversary = recording.image_at(session.device, "attack/x_traj", steps, batch)?;
    let first = Step { prefix: "step1", before: "init", views: ["in/x1", "in/x2"], adversary };
    let mut rows = first.rows(session, step)?;
    if recording.has_any("step2/") {
        let adversary = recording.images(session.device, "step2/adv_given", batch)?;
        let second = Step { prefix: "step2", before: "step1/after", views: ["in/x2", "in/x1"], adversary };
        rows.extend(second.rows(session, step)?);
    }
    Ok(rows)
}

/// A recorded step.
struct Step<R: Real> {
    /// Of its keys.
    prefix: &'static str,
    /// Prefix of the state it began with.
    before: &'static str,
    /// The keys of x₁ and x₂.
    views: [&'static str; 2],
    adversary: Tensor<R>,
}

impl<R: Real> Step<R> {
    fn rows<T: Element<Real = R>>(&self, session: &Session<T>, step: StepBy<T>) -> Result<Vec<Row>> {
        let Session { device, recording, .. } = *session;
        let (run, batch) = (&session.run, session.batch());
        let slot = |index: usize| run.images().rows(index * batch..(index + 1) * batch);
        for (index, name) in self.views.into_iter().enumerate() {
            slot(index)?.copy_from(&recording.images(device, name, batch)?)?;
        }
        slot(2)?.copy_from(&self.adversary)?;

        let mut rows = loop {
            let rows = self.stages(session, step)?;
            match run.network().parameters().loss_scale() {
                // It left everything as it was, and the scale is half as large now.
                Some(scale) if scale.has_skipped()? && scale.state()?.scale > 1.0 => {}
                _ => break rows,
            }
        };
        let losses = run.losses(1)?;
        let whole = losses.main + losses.regularizer;
        for (what, found) in [("adv_loss", losses.regularizer), ("simloss", losses.main), ("loss", whole)] {
            rows.extend(session.row(&format!("{}/{what}", self.prefix), Class::Loss, &[found])?);
        }
        Ok(rows)
    }

    /// The step, and what is compared on its way.
    fn stages<T: Element<Real = R>>(&self, session: &Session<T>, step: StepBy<T>) -> Result<Vec<Row>> {
        let (run, mut rows) = (&session.run, Vec::new());
        run.begin_epoch(0, 0)?;
        let parameters = run.network().parameters();
        let scale = match parameters.loss_scale() {
            Some(scale) => scale.state()?.scale,
            None => 1.0,
        };
        let before = self.each(session, parameters.values())?;
        step(run, &mut |stage| {
            match stage {
                Stage::Regularized => rows.extend(self.statistics(session, "bn_after_adv", "bn_after_adv/")?),
                Stage::Differentiated => {
                    rows.extend(self.statistics(session, "bn_after", &format!("after/{MODEL}"))?);
                    let mut unscaled = self.each(session, parameters.gradients())?;
                    unscaled.iter_mut().flatten().for_each(|gradient| *gradient /= scale);
                    rows.extend(self.compared(session, "grad", &unscaled)?);
                }
                Stage::Updated => {
                    let (_, momentum) = &run.optimizer().state()[0];
                    rows.extend(self.compared(session, "momentum", &self.each(session, momentum)?)?);
                    if let Some(scales) = run.optimizer().lars_scales() {
                        let scales: Vec<Vec<f64>> = widened(scales)?.into_iter().map(|scale| vec![scale]).collect();
                        rows.extend(self.compared(session, "adaptive_lr", &scales)?);
                    }
                    rows.extend(self.updates(session, &before, &self.each(session, parameters.values())?)?);
                }
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// The parameters' parts of a flat tensor in their layout.
    fn each<T: Element<Real = R>>(&self, session: &Session<T>, flat: &Tensor<R>) -> Result<Vec<Vec<f64>>> {
        let parameters = session.run.network().parameters();
        parameters.specs().iter().map(|spec| widened(&parameters.view(flat, &spec.name)?)).collect()
    }

    /// The running statistics after one of their two updates, in one row.
    fn statistics<T: Element<Real = R>>(&self, session: &Session<T>, what: &str, path: &str) -> Result<Option<Row>> {
        let statistics = session.run.network().encoder().running_statistics();
        let mut errors = Vec::new();
        for (name, tensor) in &statistics {
            let key = format!("{}/{path}{name}", self.prefix);
            if session.recording.has(&key) {
                errors.push((session.error(&key, &widened(tensor)?)?, name.as_str()));
            }
        }
        let (compared, name) = (errors.len(), format!("{}/{what}", self.prefix));
        Ok(session.tolerances.worst(&name, Class::Statistics, errors).map(|row| row.over(compared, statistics.len(), "tensors")))
    }

    /// What was found for each parameter, held against `prefix/what/…`.
    fn compared<T: Element<Real = R>>(&self, session: &Session<T>, what: &str, found: &[Vec<f64>]) -> Result<Vec<Row>> {
        let name = format!("{}/{what}", self.prefix);
        let mut errors = Vec::new();
        for (spec, found) in session.run.network().parameters().specs().iter().zip(found) {
            let key = format!("{name}/{}", spec.name);
            if session.recording.has(&key) {
                errors.push((session.error(&key, found)?, spec.name.as_str()));
            }
        }
        Ok(spread(session, &name, &errors, [Class::Gradient, Class::Parameter]))
    }

    /// After minus before: the parameters themselves hardly move in a step, and would be near the recorded ones without any.
    fn updates<T: Element<Real = R>>(&self, session: &Session<T>, before: &[Vec<f64>], after: &[Vec<f64>]) -> Result<Vec<Row>> {
        let mut errors = Vec::new();
        for ((spec, before), after) in session.run.network().parameters().specs().iter().zip(before).zip(after) {
            let keys = [self.before, &format!("{}/after", self.prefix)].map(|prefix| format!("{prefix}/{}", spec.name));
            if keys.iter().all(|key| session.recording.has(key)) {
                let found: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
                let [before, after] = &keys;
                errors.push((nearest(&found, session.recording.changes(before, after)?.into_iter()), spec.name.as_str()));
            }
        }
        Ok(spread(session, &format!("{}/update", self.prefix), &errors, [Class::Update, Class::ParameterUpdate]))
    }
}

/// The median over parameters, and the worst.
fn spread<T: Element>(session: &Session<T>, name: &str, errors: &[(f64, &str)], [middle, any]: [Class; 2]) -> Vec<Row> {
    let Some(worst) = session.tolerances.worst(name, any, errors.iter().copied()) else { return Vec::new() };
    let all: Vec<f64> = errors.iter().map(|(error, _)| *error).collect();
    let rows = [session.tolerances.judge(name, Measure::Median, middle, median(&all)), worst];
    let parameters = session.run.network().parameters().specs().len();
    rows.map(|row| row.over(errors.len(), parameters, "tensors")).into()
}
