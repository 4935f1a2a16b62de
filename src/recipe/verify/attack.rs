//! The instance-wise attack of pretraining, and PGD on the linear classifier.

use super::recording::native;
use super::row::{Class, Measure, Row, median, relative_l2};
use super::{Session, widened};
use crate::attack::{Attack, ClassifierBuffers, ClassifierObjective, LinfPgd, Objective};
use crate::element::{Element, Real};
use crate::{Result, Tensor, ops};

pub(super) fn rows<T: Element>(session: &Session<T>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if session.recording.has("attack/grad") {
        rows.extend(instance(session)?);
    }
    if session.recording.has("pgd20/grad0") {
        rows.extend(classifier(session)?);
    }
    Ok(rows)
}

fn instance<T: Element>(session: &Session<T>) -> Result<Vec<Row>> {
    let Session { device, recording, .. } = *session;
    let target = recording.images(device, "in/x2")?;
    let mut objective = session.model.objective(&*session.losses.attack_loss, &target)?;
    let mut rows = teacher_forced(session, "attack", &mut objective, 1.0)?;

    let clean = recording.images::<T::Real>(device, "in/x1")?;
    let x = Tensor::zeros(device, clean.shape())?;
    session.losses.attack.perturb(&clean, &mut objective, &x)?;
    let steps = session.recipe.attack.steps as usize;
    let step_size = session.recipe.attack.step_size.value();
    let expected = native(&recording.entry("attack/x_traj", steps)?);
    rows.push(adversary(session, "attack/x_traj, the final adversary", &x, &expected, step_size)?);
    Ok(rows)
}

/// Loss and gradient at every recorded image, so that one step's deviation does not carry over to the next.
fn teacher_forced<T: Element>(
    session: &Session<T>,
    prefix: &str,
    objective: &mut dyn Objective<T::Real>,
    weight: f64,
) -> Result<Vec<Row>> {
    let Session { device, recording, tolerances, .. } = *session;
    let (loss, gradient, trajectory) = (format!("{prefix}/loss"), format!("{prefix}/grad"), format!("{prefix}/x_traj"));
    let (mut loss_errors, mut gradient_errors) = (Vec::new(), Vec::new());
    for step in 0..recording.get(&loss)?.values.len() {
        let x = recording.image_at::<T::Real>(device, &trajectory, step)?;
        let d_x = Tensor::zeros(device, x.shape())?;
        objective.gradient(&x, &d_x)?;
        let nearest = |name: &str, found: &[f64]| -> Result<f64> {
            let truths = recording.truths(name)?;
            // The f64 companion may have been recorded at some of the steps only.
            let errors =
                truths.into_iter().filter_map(|truth| truth.entry(step)).map(|truth| relative_l2(found, &native(&truth)));
            Ok(errors.fold(f64::INFINITY, f64::min))
        };
        let found: Vec<f64> = widened(objective.loss())?.iter().map(|l| l * weight).collect();
        loss_errors.push(nearest(&loss, &found)?);
        if recording.has(&gradient) {
            gradient_errors.push(nearest(&gradient, &widened(&d_x)?)?);
        }
    }
    let class = if prefix == "attack" { Class::Loss } else { Class::CrossEntropy };
    let worst = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
    let mut rows = vec![tolerances.judge(&loss, Measure::Worst, class, worst(&loss_errors))];
    if !gradient_errors.is_empty() {
        rows.push(tolerances.judge(&gradient, Measure::Median, Class::AttackGradient, median(&gradient_errors)));
        rows.push(tolerances.judge(gradient, Measure::Worst, Class::AttackStep, worst(&gradient_errors)));
    }
    Ok(rows)
}

fn classifier<T: Element>(session: &Session<T>) -> Result<Vec<Row>> {
    let Session { device, recording, tolerances, .. } = *session;
    let batch = session.batch();
    let buffers = ClassifierBuffers::new(device, batch, session.head.features())?;
    let labels = recording.labels(device)?;
    let mut objective = ClassifierObjective::new(session.model.encoder(), &session.head, &buffers, &labels, batch);
    // The recording has the mean over the batch, the objective the sum.
    let mean = 1.0 / batch as f64;
    let mut rows = Vec::new();

    let clean = recording.images::<T::Real>(device, "in/x1")?;
    let gradient = Tensor::zeros(device, clean.shape())?;
    objective.gradient(&clean, &gradient)?;
    let found: Vec<f64> = widened(&gradient)?.iter().map(|g| g * mean).collect();
    let error = session.error("pgd20/grad0", &found)?;
    rows.push(tolerances.judge("pgd20/grad0", Measure::RelativeL2, Class::AttackStep, error));
    if recording.has("pgd20/x_traj") {
        rows.extend(teacher_forced(session, "pgd20", &mut objective, mean)?);
    }

    let (epsilon, step_size) = (session.recipe.attack.epsilon.value(), recording.setting("eps")? / 10.0);
    let steps = recording.get("pgd20/loss")?.values.len();
    let attack = LinfPgd::<T::Real>::new(device, batch, epsilon, step_size, steps, None)?;
    let x = Tensor::zeros(device, clean.shape())?;
    attack.perturb(&clean, &mut objective, &x)?;
    if recording.has("pgd20/x_traj") {
        rows.push(single_steps(session, &attack, &mut objective, &clean, step_size)?);
    }
    rows.push(adversary(session, "pgd20/x_final", &x, &recording.native("pgd20/x_final")?, step_size)?);
    let features = session.model.encoder().forward(&recording.images(device, "pgd20/x_final")?)?;
    rows.extend(session.row("pgd20/logits_adv", Class::Forward, &widened(&session.head.forward(&features)?)?)?);

    if recording.has("pgd20rs/x0") {
        let x = recording.images::<T::Real>(device, "pgd20rs/x0")?;
        for _ in 0..steps {
            attack.step(&clean, &mut objective, &x)?;
        }
        rows.push(adversary(session, "pgd20rs/x_final", &x, &recording.native("pgd20rs/x_final")?, step_size)?);
        rows.extend(start(session, &clean)?);
    }
    Ok(rows)
}

/// A free-running adversary, by the fraction of its pixels that went another way.
fn adversary<T: Element>(session: &Session<T>, name: &str, x: &Tensor<T::Real>, expected: &[f64], step_size: f64) -> Result<Row> {
    let image = expected.len() / session.batch();
    let found = widened(x)?;
    let mut fractions: Vec<f64> =
        found.chunks(image).zip(expected.chunks(image)).map(|(f, e)| differing(f, e, step_size)).collect();
    fractions.sort_by(f64::total_cmp);
    // The lower of two medians: of four images, two may have met a flip.
    let median = fractions[(fractions.len() - 1) / 2];
    Ok(session.tolerances.judge(name, Measure::MedianImage, Class::Pixels, median))
}

/// The fraction of pixels that differ by more than half a step; a NaN differs.
fn differing(found: &[f64], expected: &[f64], step_size: f64) -> f64 {
    let same = found.iter().zip(expected).filter(|(f, e)| (**f - **e).abs() <= 0.5 * step_size).count();
    1.0 - same as f64 / expected.len() as f64
}

/// One step of the attack from each recorded image, held against the next recorded one: where gradients were not recorded, their signs.
fn single_steps<T: Element>(
    session: &Session<T>,
    attack: &LinfPgd<T::Real>,
    objective: &mut dyn Objective<T::Real>,
    clean: &Tensor<T::Real>,
    step_size: f64,
) -> Result<Row> {
    let (trajectory, recording) = ("pgd20/x_traj", session.recording);
    let steps = recording.get(trajectory)?.entries().saturating_sub(1);
    let mut worst: f64 = 0.0;
    for step in 0..steps {
        let x = recording.image_at::<T::Real>(session.device, trajectory, step)?;
        attack.step(clean, objective, &x)?;
        let next = native(&recording.entry(trajectory, step + 1)?);
        worst = worst.max(differing(&widened(&x)?, &next, step_size));
    }
    let name = "pgd20/x_traj, from each image to the next";
    Ok(session.tolerances.judge(name, Measure::WorstStep, Class::StepPixels, worst))
}

/// x₀ from the recorded noise: its clamps are those of a step that stays where it is.
fn start<T: Element>(session: &Session<T>, clean: &Tensor<T::Real>) -> Result<Option<Row>> {
    let (images, noise) = (widened(clean)?, session.recording.native("pgd20rs/noise")?);
    let moved: Vec<T::Real> = images.iter().zip(&noise).map(|(x, n)| T::Real::from_f64(x + n)).collect();
    let (x, still) = (Tensor::from_slice(session.device, clean.shape(), &moved)?, Tensor::zeros(session.device, clean.shape())?);
    ops::pgd_linf_step(&x, &still, clean, T::Real::ZERO, T::Real::from_f64(session.recipe.attack.epsilon.value()))?;
    session.row("pgd20rs/x0", Class::Exact, &widened(&x)?)
}
