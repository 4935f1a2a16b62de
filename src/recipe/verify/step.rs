//! Whole training steps with the recorded views and adversaries.

use super::recording::{native, reals};
use super::row::{Class, Measure, Row, median};
use super::{Session, widened};
use crate::element::Element;
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
    if !recording.has("step1/simloss") {
        return Ok(Vec::new());
    }
    let adversary = recording.entry("attack/x_traj", session.recipe.attack.steps as usize)?;
    let mut rows = one(session, step, "step1", ["in/x1", "in/x2"], &native(&adversary))?;
    if recording.has("step2/adv_given") {
        let adversary = recording.native("step2/adv_given")?;
        rows.extend(one(session, step, "step2", ["in/x2", "in/x1"], &adversary)?);
    }
    Ok(rows)
}

fn one<T: Element>(session: &Session<T>, step: StepBy<T>, prefix: &str, views: [&str; 2], adversary: &[f64]) -> Result<Vec<Row>> {
    let Session { device, recording, .. } = *session;
    let (run, batch) = (&session.run, session.batch());
    let slot = |index: usize| run.images().rows(index * batch..(index + 1) * batch);
    for (index, name) in views.into_iter().enumerate() {
        slot(index)?.copy_from(&recording.images(device, name)?)?;
    }
    slot(2)?.write(&reals::<T::Real>(adversary))?;

    let mut rows = loop {
        let rows = stages(session, step, prefix)?;
        match run.network().parameters().loss_scale() {
            // It left everything as it was, and the scale is half as large now.
            Some(scale) if scale.has_skipped()? && scale.state()?.scale > 1.0 => {}
            _ => break rows,
        }
    };
    let losses = run.losses(1)?;
    for (what, found) in [("adv_loss", losses.regularizer), ("simloss", losses.main), ("loss", losses.main + losses.regularizer)]
    {
        rows.extend(session.row(&format!("{prefix}/{what}"), Class::Loss, &[found])?);
    }
    Ok(rows)
}

/// A step, and what is compared on its way.
fn stages<T: Element>(session: &Session<T>, step: StepBy<T>, prefix: &str) -> Result<Vec<Row>> {
    let (run, mut rows) = (&session.run, Vec::new());
    run.begin_epoch(0, 0)?;
    step(run, &mut |stage| {
        match stage {
            Stage::Regularized => {
                rows.extend(statistics(session, prefix, &format!("{prefix}/bn_after_adv/"), "after the regulariser")?);
            }
            Stage::Differentiated => {
                rows.extend(statistics(session, prefix, &format!("{prefix}/after/{MODEL}"), "after the step")?);
                let parameters = run.network().parameters();
                let scale = match parameters.loss_scale() {
                    Some(scale) => scale.state()?.scale,
                    None => 1.0,
                };
                rows.extend(arena(session, prefix, "grad", parameters.gradients(), 1.0 / scale)?);
            }
            Stage::Updated => {
                let (_, momentum) = &run.optimizer().state()[0];
                rows.extend(arena(session, prefix, "momentum", momentum, 1.0)?);
                rows.extend(arena(session, prefix, "after", run.network().parameters().values(), 1.0)?);
                rows.extend(scales(session, prefix)?);
            }
        }
        Ok(())
    })?;
    Ok(rows)
}

/// The running statistics after one of their two updates, in one row.
fn statistics<T: Element>(session: &Session<T>, prefix: &str, path: &str, when: &str) -> Result<Option<Row>> {
    let mut worst = None::<f64>;
    for (name, tensor) in session.run.network().encoder().running_statistics() {
        let name = format!("{path}{name}");
        if session.recording.has(&name) {
            let error = session.error(&name, &widened(&tensor)?)?;
            worst = Some(worst.map_or(error, |worst| worst.max(error)));
        }
    }
    let name = format!("{prefix}, running statistics {when}");
    Ok(worst.map(|worst| session.tolerances.judge(name, Measure::Worst, Class::Statistics, worst)))
}

/// A flat tensor in the layout of the parameters, times `factor`, held against `prefix/what/…`: the median over parameters, and the worst.
fn arena<T: Element>(session: &Session<T>, prefix: &str, what: &str, flat: &Tensor<T::Real>, factor: f64) -> Result<Vec<Row>> {
    let parameters = session.run.network().parameters();
    let mut errors = Vec::new();
    for spec in parameters.specs() {
        let name = format!("{prefix}/{what}/{}", spec.name);
        if session.recording.has(&name) {
            let found: Vec<f64> = widened(&parameters.view(flat, &spec.name)?)?.iter().map(|value| value * factor).collect();
            errors.push((session.error(&name, &found)?, &spec.name));
        }
    }
    let class = if what == "after" { Class::Updated } else { Class::Gradient };
    Ok(spread(format!("{prefix}/{what}"), class, errors, session))
}

fn scales<T: Element>(session: &Session<T>, prefix: &str) -> Result<Vec<Row>> {
    let Some(scales) = session.run.optimizer().lars_scales() else { return Ok(Vec::new()) };
    let mut errors = Vec::new();
    for (spec, scale) in session.run.network().parameters().specs().iter().zip(widened(scales)?) {
        let name = format!("{prefix}/adaptive_lr/{}", spec.name);
        if session.recording.has(&name) {
            errors.push((session.error(&name, &[scale])?, &spec.name));
        }
    }
    Ok(spread(format!("{prefix}/adaptive_lr"), Class::Gradient, errors, session))
}

/// Two rows for many errors: their median, and the worst with its name.
fn spread<T: Element>(name: String, class: Class, mut errors: Vec<(f64, &String)>, session: &Session<T>) -> Vec<Row> {
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((worst, which)) = errors.last() else { return Vec::new() };
    let all: Vec<f64> = errors.iter().map(|(error, _)| *error).collect();
    vec![
        session.tolerances.judge(&name, Measure::Median, class, median(&all)),
        session.tolerances.judge(format!("{name} ({which})"), Measure::Worst, Class::Parameter, *worst),
    ]
}
