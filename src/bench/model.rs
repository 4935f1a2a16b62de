//! A step's roofline on a card, from shapes alone.
//!
//! The run is built on a device that allocates and executes nothing, so the calls that are counted are those that a real run makes. A call's
//! predicted time is its floor at the card's ceilings; what a launch costs, what a shape leaves idle and what stays in cache are left out, so a real
//! step takes longer. How much longer, [`JudgedCall`](super::calls::JudgedCall) says of calls that were measured.

use super::calls::{Filter, Kind, kinds};
use super::cards::Card;
use super::ceilings::{Bound, Ceilings};
use super::subject::pretraining;
use crate::element::Element;
use crate::recipe::Recipe;
use crate::{Device, Result};
use serde::Serialize;

/// What the calls of a real run are predicted by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Basis {
    /// Whose ceilings they are.
    pub by: String,
    /// The ceilings.
    #[serde(flatten)]
    pub ceilings: Ceilings,
}

impl Basis {
    /// For a device that computes in that precision: its card's ceilings where the card is known, else those that this run has `measured`.
    pub fn of(device: &Device, precision: &str, measured: Option<Ceilings>) -> Option<Self> {
        let known = || -> Option<Self> {
            let Device::Cuda(cuda) = device else { return None };
            let card = Card::reported_as(&cuda.gpu().name)?;
            Some(Self { ceilings: card.ceilings(precision)?, by: card.name })
        };
        known().or_else(|| measured.map(|ceilings| Self { by: "measured".to_owned(), ceilings }))
    }
}

/// Calls that are alike, predicted.
#[derive(Clone, Debug, Serialize)]
pub struct Predicted {
    /// Kernel or library call.
    pub name: &'static str,
    /// Shape, and epilogue.
    pub shape: String,
    /// How many of them a step has.
    pub calls: usize,
    /// Least traffic of one.
    pub bytes: u64,
    /// Floating-point operations of one.
    pub flops: u64,
    /// Predicted seconds of one.
    pub seconds: f64,
    /// What binds it.
    pub bound: Bound,
}

/// A step, predicted.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Its calls.
    pub calls: Vec<Predicted>,
    /// Their sum, in seconds.
    pub seconds: f64,
    /// Floating-point operations of convolutions and products.
    pub flops: u64,
    /// Least traffic.
    pub bytes: u64,
    /// What the run's tensors take, in bytes; a library's workspace comes on top.
    pub memory_bytes: usize,
}

/// Predicts a step of the recipe in storage type `T`.
///
/// # Errors
/// Those of building the run.
pub fn predict<T: Element>(recipe: &Recipe, ceilings: &Ceilings) -> Result<Prediction> {
    let device = Device::dry();
    let run = pretraining::<T>(&device, recipe)?;
    let (_, memory_bytes) = device.memory_use();
    let predicted = |Kind { call, count }: Kind| Predicted {
        name: call.name,
        calls: count,
        bytes: call.bytes(),
        flops: call.flops,
        seconds: ceilings.floor(call.bytes(), call.flops),
        bound: ceilings.bound(call.bytes(), call.flops),
        shape: call.shape,
    };
    let calls: Vec<Predicted> = kinds(&run, &Filter::default())?.into_iter().map(predicted).collect();
    let total = |f: fn(&Predicted) -> u64| calls.iter().map(|call| call.calls as u64 * f(call)).sum();
    let (flops, bytes) = (total(|c| c.flops), total(|c| c.bytes));
    Ok(Prediction { seconds: calls.iter().map(|c| c.calls as f64 * c.seconds).sum(), calls, flops, bytes, memory_bytes })
}
