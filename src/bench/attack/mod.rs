//! What an attack costs: a ladder from the released code's algorithm to this engine's, and each setting by itself.
//!
//! All forms of a table are ready before any is timed, and take turns, forwards and backwards: so whatever the machine does meanwhile, it does to all of
//! them alike. Gains are of attacks of the same round.

mod forms;

use super::gauge::Spread;
use super::measure::{Repetitions, seconds};
use super::subject::pretraining;
use super::summary::Summary;
use crate::device::Graph;
use crate::element::Element;
use crate::recipe::Recipe;
use crate::recipe::settings::AttackLoss;
use crate::{Device, Result};
use forms::{Form, Prepared, rungs, varied};
pub use forms::{Precisions, precisions};
use serde::Serialize;

/// One attack on a batch, in some form.
#[derive(Clone, Debug, Serialize)]
pub struct AttackCost {
    /// What is done, or which setting is another.
    pub name: String,
    /// Images attacked.
    pub batch_size: u32,
    /// Steps.
    pub steps: u32,
    /// What is increased.
    pub loss: AttackLoss,
    /// Whether it starts at a random point of the ball.
    pub random_start: bool,
    /// What it computes in.
    pub precision: &'static str,
    /// Of the whole attack: fold, target, start and all steps.
    pub time: Summary,
}

impl AttackCost {
    fn new(name: String, form: &Form, time: Summary) -> Self {
        let Recipe { attack, train, .. } = &form.recipe;
        let (steps, loss, random_start) = (attack.steps, attack.loss, attack.random_start);
        Self { name, batch_size: train.batch_size, steps, loss, random_start, precision: form.precision, time }
    }

    /// Seconds a step, with the attack's preparations spread over its steps.
    pub fn per_step(&self) -> f64 {
        self.time.median / f64::from(self.steps.max(1))
    }

    /// How many times as long as this attack `other` took, round by round.
    fn times_as_long(&self, other: &Self) -> Option<Spread> {
        let rounds = self.time.samples.iter().zip(&other.time.samples);
        Spread::of(&rounds.map(|(this, other)| other / this).collect::<Vec<_>>())
    }
}

/// A rung of the ladder.
#[derive(Clone, Debug, Serialize)]
pub struct Rung {
    /// The attack.
    #[serde(flatten)]
    pub cost: AttackCost,
    /// How many times as long the rung before takes, round by round; none of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain: Option<Spread>,
    /// How many times as long the first rung takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_all: Option<Spread>,
}

/// The attack with a setting changed.
#[derive(Clone, Debug, Serialize)]
pub struct Variation {
    /// The attack.
    #[serde(flatten)]
    pub cost: AttackCost,
    /// How many times as long as the recipe's own it takes, round by round.
    pub relative: Option<Spread>,
}

/// Takes what [`ladder`] and [`variations`] take, on a device that only plans; and for a GPU what a step takes, under whose load it is asked for its clocks.
///
/// # Errors
/// Those of the attacks.
pub fn rehearse<T: Element>(dry: &Device, recipe: &Recipe, precisions: &Precisions) -> Result<()> {
    let planned: Precisions = precisions.iter().map(|(name, _)| (*name, dry.clone())).collect();
    let once = |forms: Vec<Form>| -> Result<()> {
        let mut all = forms.iter().map(Form::prepare).collect::<Result<Vec<Prepared>>>()?;
        all.iter_mut().try_for_each(|attack| attack())
    };
    once(rungs::<T>(dry, dry, recipe).into_iter().map(|(_, form)| form).collect())?;
    once(varied::<T>(dry, recipe, &planned).into_iter().map(|(_, form)| form).collect())?;
    if dry.is_host() { Ok(()) } else { pretraining::<T>(dry, recipe)?.step() }
}

/// The rungs, from the released code's sequence of operations upwards; each adds to the one before. `unfused` runs what follows a
/// convolution's sum as kernels. The last, a graph, is for devices that have graphs.
///
/// # Errors
/// Those of the attacks and the device.
pub fn ladder<T: Element>(fused: &Device, unfused: &Device, recipe: &Recipe, repetitions: Repetitions) -> Result<Vec<Rung>> {
    let costs = measured(rungs::<T>(fused, unfused, recipe), repetitions)?;
    let rung = |(index, cost): (usize, &AttackCost)| {
        let over = |other: Option<&AttackCost>| other.and_then(|other| cost.times_as_long(other));
        let last = index.checked_sub(1).map(|last| &costs[last]);
        Rung { gain: over(last), in_all: over(last.map(|_| &costs[0])), cost: cost.clone() }
    };
    Ok(costs.iter().enumerate().map(rung).collect())
}

/// The attack with one setting at a time changed: steps, images, loss, random start, and precision, which are the other `precisions`. The first is
/// the recipe's own.
///
/// # Errors
/// Those of the attacks and the device.
pub fn variations<T: Element>(
    device: &Device,
    recipe: &Recipe,
    precisions: &Precisions,
    repetitions: Repetitions,
) -> Result<Vec<Variation>> {
    let costs = measured(varied::<T>(device, recipe, precisions), repetitions)?;
    let relative = |cost: &AttackCost| costs.first().and_then(|own| own.times_as_long(cost));
    Ok(costs.iter().map(|cost| Variation { relative: relative(cost), cost: cost.clone() }).collect())
}

fn measured(forms: Vec<(String, Form)>, repetitions: Repetitions) -> Result<Vec<AttackCost>> {
    let prepared = forms.iter().map(|(_, form)| form.prepare()).collect::<Result<Vec<_>>>()?;
    let mut graphs: Vec<Graph> = forms.iter().map(|(_, form)| Graph::new(&form.device)).collect();
    let timed = prepared.into_iter().zip(&mut graphs).zip(&forms).map(|((mut attack, graph), (_, form))| {
        move || seconds(&form.device, || if form.graph { graph.run(&mut attack) } else { attack() })
    });
    // A graph is captured before the first sample, however few runs warm up.
    let least = if forms.iter().any(|(_, form)| form.graph) { Graph::EAGER_RUNS + 1 } else { 0 };
    let repetitions = Repetitions { warmup: repetitions.warmup.max(least), ..repetitions };
    let times = by_turns(timed.collect(), repetitions)?;
    Ok(forms.iter().zip(times).map(|((name, form), samples)| AttackCost::new(name.clone(), form, Summary::of(samples))).collect())
}

/// The samples of each work, of which every round takes one of each, forwards and backwards.
fn by_turns<F: FnMut() -> Result<f64>>(mut works: Vec<F>, repetitions: Repetitions) -> Result<Vec<Vec<f64>>> {
    let mut samples = vec![Vec::new(); works.len()];
    for round in 0..repetitions.warmup + repetitions.samples {
        let mut order: Vec<usize> = (0..works.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let time = works[index]()?;
            if round >= repetitions.warmup {
                samples[index].push(time);
            }
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[test]
    fn works_take_turns_forwards_and_backwards() {
        let log = RefCell::new(String::new());
        let work = |name: char, time: f64| {
            let log = &log;
            move || {
                log.borrow_mut().push(name);
                Ok(time)
            }
        };
        let works = vec![work('a', 1.0), work('b', 2.0), work('c', 3.0)];
        let samples = by_turns(works, Repetitions { warmup: 1, samples: 3 }).unwrap();
        assert_eq!(log.take(), "abccbaabccba");
        assert_eq!(samples, [[1.0; 3], [2.0; 3], [3.0; 3]]);
    }

    /// A machine that becomes slower from round to round changes every time and no gain.
    #[test]
    fn drift_from_round_to_round_is_in_no_gain() {
        let calls = Cell::new(0);
        let work = |time: f64| {
            let calls = &calls;
            move || {
                calls.set(calls.get() + 1);
                Ok(time * f64::from(1 << ((calls.get() - 1) / 2)))
            }
        };
        let samples = by_turns(vec![work(3.0), work(1.5)], Repetitions { warmup: 0, samples: 5 }).unwrap();
        let form = Form::for_tests();
        let [slow, fast] = [0, 1].map(|i| AttackCost::new(String::new(), &form, Summary::of(samples[i].clone())));
        assert!(slow.time.max == 16.0 * slow.time.min);
        assert_eq!(fast.times_as_long(&slow), Some(Spread { min: 2.0, median: 2.0, max: 2.0 }));
    }
}
