//! Every kernel and library call of a step, each timed by itself.

use super::ceilings::{Bound, Ceilings};
use super::measure::{Repetitions, Sweep, short};
use super::model::Basis;
use super::subject::recorded;
use super::summary::Summary;
use crate::device::record::Call;
use crate::element::Element;
use crate::recipe::pretrain::Pretraining;
use crate::{Device, Error, Result};
use serde::Serialize;
use std::collections::BTreeSet;

/// Calls that are alike: same kernel, type, shape, traffic.
pub struct Kind {
    /// The first of them.
    pub call: Call,
    /// How many of them a step has.
    pub count: usize,
}

/// Which calls are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The name must be this one.
    pub only: Option<String>,
    /// The shape must contain this.
    pub shape: Option<String>,
}

/// The calls of a step, which is carried out, alike ones together, in the order in which they first occur.
///
/// # Errors
/// Those of the step and of [`alike`].
pub fn kinds<T: Element>(run: &Pretraining<T>, filter: &Filter) -> Result<Vec<Kind>> {
    alike(recorded(run)?, filter)
}

/// The calls that pass the filter, alike ones together, in the order in which they first occur.
///
/// # Errors
/// [`Error::Usage`] when nothing passes the filter.
pub fn alike(calls: Vec<Call>, filter: &Filter) -> Result<Vec<Kind>> {
    let mut kinds: Vec<Kind> = Vec::new();
    for call in calls {
        let like = |kind: &&mut Kind| {
            let (a, b) = (&kind.call, &call);
            (a.name, a.element, &a.shape, a.bytes(), a.flops) == (b.name, b.element, &b.shape, b.bytes(), b.flops)
        };
        match kinds.iter_mut().find(like) {
            Some(kind) => kind.count += 1,
            None => kinds.push(Kind { call, count: 1 }),
        }
    }
    if let Some(name) = &filter.only {
        let names = listed(&kinds, |call| call.name);
        kinds.retain(|kind| name == kind.call.name);
        if kinds.is_empty() {
            return Err(Error::Usage(format!("no call of the step has the name `{name}`; give --only one of {names}")));
        }
    }
    if let Some(part) = &filter.shape {
        let shapes = listed(&kinds, |call| call.shape.as_str());
        kinds.retain(|kind| kind.call.shape.contains(part));
        if kinds.is_empty() {
            let of = filter.only.as_deref().unwrap_or("the step");
            let message = format!("no call of {of} has a shape with `{part}`; give --shape a part of one of {shapes}");
            return Err(Error::Usage(message));
        }
    }
    Ok(kinds)
}

/// What these calls have, each once, for people.
fn listed<'a>(kinds: &'a [Kind], of: impl Fn(&'a Call) -> &'a str) -> String {
    let all: BTreeSet<&str> = kinds.iter().map(|kind| of(&kind.call)).collect();
    all.into_iter().collect::<Vec<_>>().join(", ")
}

/// A kind of call, measured.
#[derive(Clone, Debug, Serialize)]
pub struct CallCost {
    /// Kernel or library call.
    pub name: &'static str,
    /// Shape, and epilogue.
    pub shape: String,
    /// Storage type.
    pub element: &'static str,
    /// How many of them a step has.
    pub calls: usize,
    /// Of one.
    pub time: Summary,
    /// Least traffic of one.
    pub bytes: u64,
    /// Floating-point operations of one.
    pub flops: u64,
}

impl CallCost {
    /// Times one call of each kind, over and over. With a `sweep`, each time with other things in the caches.
    ///
    /// # Errors
    /// Those of the device.
    pub fn measure(device: &Device, kinds: &[Kind], repetitions: Repetitions, sweep: Option<&Sweep>) -> Result<Vec<Self>> {
        let cost = |Kind { call, count }: &Kind| -> Result<Self> {
            let time = short(device, repetitions, sweep, || call.repeat())?;
            let (name, shape, element) = (call.name, call.shape.clone(), call.element);
            Ok(Self { name, shape, element, calls: *count, time, bytes: call.bytes(), flops: call.flops })
        };
        kinds.iter().map(cost).collect()
    }

    /// Seconds of all its calls in a step.
    pub fn per_step(&self) -> f64 {
        self.calls as f64 * self.time.median
    }

    /// Seconds of one at the ceilings.
    pub fn floor(&self, ceilings: &Ceilings) -> f64 {
        ceilings.floor(self.bytes, self.flops)
    }
}

/// A kind of call, measured, beside what was to be expected of it.
#[derive(Clone, Debug, Serialize)]
pub struct JudgedCall {
    /// What was measured.
    #[serde(flatten)]
    pub cost: CallCost,
    /// Seconds at the ceilings that were measured, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Which of the ceilings binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
    /// Seconds of one as [`model`](super::model) has it, where there is a basis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<f64>,
    /// How much longer one took than predicted, as a fraction of that; negative when it took less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

impl JudgedCall {
    /// Beside the ceilings `measured` in this run, and predicted on that `basis`.
    pub fn new(cost: CallCost, measured: Option<&Ceilings>, basis: Option<&Basis>) -> Self {
        let predicted = basis.map(|basis| cost.floor(&basis.ceilings));
        let ceilings = measured.or(basis.map(|basis| &basis.ceilings));
        Self {
            floor: measured.map(|ceilings| cost.floor(ceilings)),
            bound: ceilings.map(|ceilings| ceilings.bound(cost.bytes, cost.flops)),
            error: predicted.map(|predicted| cost.time.median / predicted - 1.0),
            predicted,
            cost,
        }
    }
}
