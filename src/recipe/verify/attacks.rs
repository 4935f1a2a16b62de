//! What the comparisons of both attacks have in common: gradients at recorded images, and single steps from them.

use super::recording::native;
use super::row::{Class, Measure, Row, median};
use super::{Session, nearest, widened};
use crate::attack::{Objective, Pgd};
use crate::element::Element;
use crate::{Result, Tensor};

/// At which recorded images an objective is evaluated.
pub(super) enum Points<'a> {
    /// All those that a step began at: all but the last of `prefix/x_traj`.
    Trajectory,
    /// The first alone, recorded under this name.
    First(&'a str),
}

/// Loss and gradient at recorded images, so that one step's deviation does not carry over to the next: the loss in a row, the
/// gradient in two. The recorded loss is `weight` times that of the objective; `steps` of them were recorded.
pub(super) fn teacher_forced<T: Element>(
    session: &Session<T>,
    prefix: &str,
    objective: &mut dyn Objective<T::Real>,
    points: &Points,
    (steps, weight): (usize, f64),
) -> Result<Vec<Row>> {
    let Session { device, recording, tolerances, .. } = *session;
    let batch = session.batch();
    let (loss, gradient, trajectory) = (format!("{prefix}/loss"), format!("{prefix}/grad"), format!("{prefix}/x_traj"));
    for (name, dims) in [(&loss, vec![steps]), (&gradient, vec![steps, batch, 3, 32, 32])] {
        if recording.has(name) {
            recording.expect(name, &dims)?;
        }
    }
    let compared = if let Points::Trajectory = points { steps } else { 1 };
    let (mut loss_errors, mut gradient_errors) = (Vec::new(), Vec::new());
    for step in 0..compared {
        let x = match points {
            Points::Trajectory => recording.image_at::<T::Real>(device, &trajectory, step, batch)?,
            Points::First(name) => recording.images(device, name, batch)?,
        };
        let d_x = Tensor::zeros(device, x.shape())?;
        objective.gradient(&x, &d_x)?;
        // The companion may have been recorded at some of the steps only.
        let error = |name: &str, found: &[f64]| -> Result<f64> {
            let truths = recording.truths(name)?;
            Ok(nearest(found, truths.into_iter().filter_map(|truth| truth.entry(step)).map(|truth| native(&truth))))
        };
        let scaled = |tensor: &Tensor<T::Real>| -> Result<Vec<f64>> { Ok(widened(tensor)?.iter().map(|v| v * weight).collect()) };
        if recording.has(&loss) {
            loss_errors.push(error(&loss, &scaled(objective.loss())?)?);
        }
        if recording.has(&gradient) {
            gradient_errors.push(error(&gradient, &scaled(&d_x)?)?);
        }
    }
    let mut rows = Vec::new();
    if let Some(worst) = loss_errors.into_iter().reduce(f64::max) {
        let class = if prefix == "attack" { Class::Loss } else { Class::CrossEntropy };
        rows.push(tolerances.judge(loss, Measure::Worst, class, worst));
    }
    rows.extend(gradient_rows(session, &gradient, &gradient_errors));
    Ok(rows.into_iter().map(|row| row.over(compared, steps, "steps")).collect())
}

/// The errors of gradients at several steps or images.
fn gradient_rows<T: Element>(session: &Session<T>, name: &str, errors: &[f64]) -> Vec<Row> {
    let Some(worst) = errors.iter().copied().reduce(f64::max) else { return Vec::new() };
    vec![
        session.tolerances.judge(name, Measure::Median, Class::AttackGradient, median(errors)),
        session.tolerances.judge(name, Measure::Worst, Class::AttackStep, worst),
    ]
}

/// A batch of gradients image by image: each image's ReLUs flip for themselves.
pub(super) fn by_image<T: Element>(session: &Session<T>, name: &str, found: &[f64]) -> Result<Vec<Row>> {
    let batch = session.batch();
    session.recording.expect(name, &[batch, 3, 32, 32])?;
    let truths: Vec<Vec<f64>> = session.recording.truths(name)?.into_iter().map(native).collect();
    let image = found.len() / batch;
    let error = |at: usize| nearest(&found[at..at + image], truths.iter().map(|truth| truth[at..at + image].to_vec()));
    let errors: Vec<f64> = (0..batch).map(|index| error(index * image)).collect();
    Ok(gradient_rows(session, name, &errors))
}

/// One step of the attack from each recorded image, held against the next recorded one: the signs of all gradients.
pub(super) fn single_steps<T: Element>(
    session: &Session<T>,
    trajectory: &str,
    attack: &Pgd<T::Real>,
    objective: &mut dyn Objective<T::Real>,
    step_size: f64,
) -> Result<Row> {
    let Session { device, recording, .. } = *session;
    let batch = session.batch();
    let clean = recording.images::<T::Real>(device, "in/x1", batch)?;
    let mut worst: f64 = 0.0;
    for step in 0..recording.get(trajectory)?.entries().saturating_sub(1) {
        let x = recording.image_at::<T::Real>(device, trajectory, step, batch)?;
        attack.step(&clean, objective, &x)?;
        let next = native(&recording.entry(trajectory, step + 1)?);
        worst = worst.max(differing(&widened(&x)?, &next, step_size));
    }
    Ok(session.tolerances.judge(trajectory, Measure::WorstStep, Class::StepPixels, worst))
}

/// The fraction of pixels that differ by more than half a step; a NaN differs.
pub(super) fn differing(found: &[f64], expected: &[f64], step_size: f64) -> f64 {
    let same = found.iter().zip(expected).filter(|(f, e)| (**f - **e).abs() <= 0.5 * step_size).count();
    1.0 - same as f64 / expected.len() as f64
}
