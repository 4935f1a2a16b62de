//! How the weights move: optimisers over a model's parameter arena, and learning-rate schedules.

pub mod schedule;
mod settings;

pub use settings::OptimizerSettings;

use crate::element::{Element, Real};
use crate::nn::Parameters;
use crate::ops::{self, AdamWSettings, LarsSettings, LarsWorkspace, SgdSettings};
use crate::{Device, Result, Tensor};

/// Added to the denominator of LARS's trust ratio.
pub const LARS_EPSILON: f64 = 1e-8;

/// An optimiser with its state. Learning rates and the step counter are read from device memory, so that a captured step stays valid.
pub struct Optimizer<R: Real> {
    rule: Rule<R>,
    state: Vec<(&'static str, Tensor<R>)>,
}

enum Rule<R: Real> {
    Lars(LarsSettings, LarsWorkspace<R>),
    Sgd(SgdSettings),
    AdamW(AdamWSettings),
}

impl<R: Real> Optimizer<R> {
    /// Allocates the state for `parameters`, all zeros.
    pub fn new<T: Element<Real = R>>(device: &Device, parameters: &Parameters<T>, settings: &OptimizerSettings) -> Result<Self> {
        let rule = match *settings {
            OptimizerSettings::Lars { momentum, weight_decay, trust, .. } => {
                let lars = LarsSettings { trust, momentum, weight_decay, epsilon: LARS_EPSILON };
                Rule::Lars(lars, LarsWorkspace::new(device, parameters.table())?)
            }
            OptimizerSettings::Sgd { momentum, weight_decay, .. } => Rule::Sgd(SgdSettings { momentum, weight_decay }),
            OptimizerSettings::Adamw { beta1, beta2, epsilon, weight_decay, .. } => {
                Rule::AdamW(AdamWSettings { beta1, beta2, epsilon, weight_decay })
            }
        };
        let names: &[&'static str] = match rule {
            Rule::Lars(..) | Rule::Sgd(..) => &["momentum"],
            Rule::AdamW(..) => &["first_moment", "second_moment"],
        };
        let zeros = |name: &&'static str| Ok((*name, Tensor::zeros(device, parameters.values().shape())?));
        Ok(Self { rule, state: names.iter().map(zeros).collect::<Result<_>>()? })
    }

    /// Moves `parameters` along their gradients, with the rate of this step: `learning_rates[clock[0]]`. Changes nothing where they have a loss
    /// scale and a gradient is not finite.
    pub fn step<T: Element<Real = R>>(
        &self,
        parameters: &Parameters<T>,
        clock: &Tensor<i64>,
        learning_rates: &Tensor<R>,
    ) -> Result<()> {
        let (p, g) = (parameters.values(), parameters.gradients());
        let (state, scale) = (|index: usize| &self.state[index].1, parameters.loss_scale());
        match &self.rule {
            Rule::Lars(settings, workspace) => {
                ops::lars(p, g, state(0), parameters.table(), clock, learning_rates, settings, workspace, scale)?;
            }
            Rule::Sgd(settings) => ops::sgd(p, g, state(0), clock, learning_rates, settings, scale)?,
            Rule::AdamW(settings) => ops::adamw(p, g, state(0), state(1), clock, learning_rates, settings, scale)?,
        }
        parameters.refresh()
    }

    /// The state by name, each in the layout of the parameter arena.
    pub fn state(&self) -> &[(&'static str, Tensor<R>)] {
        &self.state
    }

    /// The LARS scale of each parameter in the last step, in the order of the arena.
    pub fn lars_scales(&self) -> Option<&Tensor<R>> {
        match &self.rule {
            Rule::Lars(_, workspace) => Some(&workspace.scales),
            _ => None,
        }
    }
}
