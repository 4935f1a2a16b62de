//! One training step by phase.

use super::ceilings::Ceilings;
use super::measure::{Repetitions, seconds};
use super::subject::recorded;
use super::summary::Summary;
use crate::device::Graph;
use crate::device::record::{Call, record};
use crate::element::Element;
use crate::recipe::pretrain::{Losses, Pretraining};
use crate::recipe::settings::Method;
use crate::{Device, Result};
use serde::Serialize;

/// A part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Both views.
    Augment,
    /// The adversary.
    Attack,
    /// The regulariser's pass.
    Regularizer,
    /// The main pass.
    Main,
    /// Parameters, momentum, counters.
    Optimizer,
}

impl Phase {
    /// As in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Augment => "augment",
            Self::Attack => "attack",
            Self::Regularizer => "regularizer",
            Self::Main => "main",
            Self::Optimizer => "optimizer",
        }
    }

    /// Those of a method that pretrains, in order.
    pub fn of(method: Method) -> &'static [Self] {
        match method {
            Method::Rocl => &[Self::Augment, Self::Attack, Self::Regularizer, Self::Main, Self::Optimizer],
            _ => &[Self::Augment, Self::Main, Self::Optimizer],
        }
    }

    /// Carries it out; all phases in order are [`Pretraining::step`].
    ///
    /// # Errors
    /// Those of the run.
    pub fn run<T: Element>(self, run: &Pretraining<T>) -> Result<()> {
        let first_pass = |phase| {
            Self::of(run.recipe().train.method).iter().find(|p| matches!(p, Self::Regularizer | Self::Main)) == Some(&phase)
        };
        match self {
            Self::Augment => run.draw_views(),
            Self::Attack => run.perturb(),
            Self::Regularizer | Self::Main => {
                if first_pass(self) {
                    run.network().parameters().clear_gradients()?;
                }
                if self == Self::Main { run.contrast() } else { run.regularize() }
            }
            Self::Optimizer => run.update(),
        }
    }
}

/// A phase's time and work.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseCost {
    /// Its name.
    pub name: &'static str,
    /// Measured.
    pub time: Summary,
    /// Kernel launches and library calls.
    pub calls: usize,
    /// Floating-point operations of convolutions and products.
    pub flops: u64,
    /// Least traffic.
    pub bytes: u64,
    /// The sum of its calls' floors, in seconds.
    pub floor: f64,
}

/// A step's time and work.
#[derive(Clone, Debug, Serialize)]
pub struct StepCost {
    /// The whole step, in one go, as training runs it.
    pub step: Summary,
    /// Whether it was replayed as a graph.
    pub graph: bool,
    /// Its parts, in order, launched one by one and each waited for.
    pub phases: Vec<PhaseCost>,
    /// The losses of the first step: what a peer on the same views and weights has to find.
    pub losses: Losses,
}

impl StepCost {
    /// Measures steps as a whole and by phase, in turn.
    ///
    /// # Errors
    /// Those of the run and the device.
    pub fn measure<T: Element>(
        device: &Device,
        run: &Pretraining<T>,
        ceilings: &Ceilings,
        repetitions: Repetitions,
    ) -> Result<Self> {
        let phases = Phase::of(run.recipe().train.method);
        let restart = || run.begin_epoch(0, 0);
        restart()?;
        run.step()?;
        let losses = run.losses(1)?;
        let mut graph = Graph::new(device);
        if !device.is_host() {
            // Captured before the first sample, however few runs warm up.
            (0..=Graph::EAGER_RUNS).try_for_each(|_| restart().and_then(|()| graph.run(|| run.step())))?;
        }
        let mut whole = Vec::new();
        let mut parts = vec![Vec::new(); phases.len()];
        for repetition in 0..repetitions.warmup + repetitions.samples {
            restart()?;
            let step = seconds(device, || graph.run(|| run.step()))?;
            restart()?;
            let times: Vec<f64> = phases.iter().map(|phase| seconds(device, || phase.run(run))).collect::<Result<_>>()?;
            if repetition >= repetitions.warmup {
                whole.push(step);
                parts.iter_mut().zip(times).for_each(|(part, time)| part.push(time));
            }
        }
        restart()?;
        let cost = |(phase, times): (&Phase, Vec<f64>)| -> Result<PhaseCost> {
            let calls = record(|| phase.run(run))?;
            let Work { flops, bytes, floor } = Work::of(&calls, ceilings);
            Ok(PhaseCost { name: phase.name(), time: Summary::of(times), calls: calls.len(), flops, bytes, floor })
        };
        let phases = phases.iter().zip(parts).map(cost).collect::<Result<_>>()?;
        Ok(Self { step: Summary::of(whole), graph: graph.is_captured(), phases, losses })
    }

    /// Of all phases.
    pub fn work(&self) -> Work {
        let total = |f: fn(&PhaseCost) -> u64| self.phases.iter().map(f).sum();
        Work { flops: total(|p| p.flops), bytes: total(|p| p.bytes), floor: self.phases.iter().map(|p| p.floor).sum() }
    }
}

/// What some calls cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Seconds at the ceilings, call by call.
    pub floor: f64,
}

impl Work {
    /// The sum over `calls`.
    pub fn of(calls: &[Call], ceilings: &Ceilings) -> Self {
        Self {
            flops: calls.iter().map(|call| call.flops).sum(),
            bytes: calls.iter().map(Call::bytes).sum(),
            floor: calls.iter().map(|call| ceilings.floor(call.bytes(), call.flops)).sum(),
        }
    }

    /// Of a step of `run`, which is carried out.
    ///
    /// # Errors
    /// Those of the step.
    pub fn of_step<T: Element>(run: &Pretraining<T>, ceilings: &Ceilings) -> Result<Self> {
        Ok(Self::of(&recorded(run)?, ceilings))
    }
}
