//! The attack on labels that a classifier trains against.

use crate::attack::{Attack, BatchObjective, ClassifierBuffers, ClassifierLoss, ClassifierObjective, Pgd, RandomStart};
use crate::element::{Element, Real};
use crate::nn::{Classifier, ClassifierNetwork, Inference};
use crate::ops::{Norm, PgdStep};
use crate::recipe::settings::{BatchNormMode, Method, Recipe, Supervised};
use crate::{Device, Result, Tensor};

/// Separates the noise of this attack from that of others.
const ATTACK_STREAM: u32 = 3;

/// PGD on the model as it is in a step.
pub(super) struct Adversary<T: Element> {
    attack: Pgd<T::Real>,
    increased: ClassifierLoss,
    buffers: ClassifierBuffers<T>,
    /// Encoder and head by running statistics; none where the batch's are attacked, on the network itself.
    evaluated: Option<(Inference<T>, Classifier<T>)>,
}

impl<T: Element> Adversary<T> {
    /// That of the recipe; `clock` is the run's step counter.
    pub fn new(device: &Device, recipe: &Recipe, network: &ClassifierNetwork<T>, clock: &Tensor<i64>) -> Result<Self> {
        let batch = recipe.train.batch_size as usize;
        let head = Classifier::over(device, network.backbone().parameters(), batch)?;
        Ok(Self {
            attack: pgd(device, &recipe.supervised, batch, recipe.train.seed, clock)?,
            increased: match recipe.train.method {
                Method::Trades => ClassifierLoss::KlDivergence,
                _ => ClassifierLoss::CrossEntropy,
            },
            buffers: ClassifierBuffers::new(device, batch, &head)?,
            evaluated: match recipe.supervised.attack_mode {
                BatchNormMode::Eval => Some((Inference::folded(device, &recipe.topology(), batch)?, head)),
                BatchNormMode::Train => None,
            },
        })
    }

    /// Writes adversarial versions of `clean` to `x`.
    pub fn perturb(
        &self,
        network: &ClassifierNetwork<T>,
        labels: &Tensor<i32>,
        clean: &Tensor<T::Real>,
        x: &Tensor<T::Real>,
    ) -> Result<()> {
        match &self.evaluated {
            Some((encoder, head)) => {
                encoder.copy_from(network)?;
                let objective = ClassifierObjective::new(encoder, head, &self.buffers, labels, clean.rows_len());
                self.attack.perturb(clean, &mut objective.increasing(self.increased, clean)?, x)
            }
            None => {
                let mut objective = BatchObjective::new(network, &self.buffers, labels, self.increased, clean)?;
                self.attack.perturb(clean, &mut objective, x)
            }
        }
    }

    /// The loss of the last evaluation, `[1]`.
    pub fn loss(&self) -> &Tensor<T::Real> {
        self.buffers.loss()
    }
}

/// The attack of `[supervised]`, for batches of up to `batch` images.
pub(in crate::recipe) fn pgd<R: Real>(
    device: &Device,
    settings: &Supervised,
    batch: usize,
    seed: u64,
    clock: &Tensor<i64>,
) -> Result<Pgd<R>> {
    let step = PgdStep::new(Norm::Linf, settings.step_size.value(), settings.epsilon.value());
    let start = settings.random_start.then(|| RandomStart { seed, stream: ATTACK_STREAM, clock: clock.clone() });
    Pgd::new(device, batch, step, settings.steps as usize, start)
}
