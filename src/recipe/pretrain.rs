//! Pretraining: RoCL (Algorithm 1 of the paper), SimCLR as its counterpart without an adversary, and supervised contrastive learning as that with labels.

use super::attacked::Attacked;
use super::epoch::EpochBuffers;
use super::labels::Labels;
use super::settings::{AttackLoss, Loss, Method, Recipe, View};
use super::training_run::{Means, TrainingRun};
use crate::attack::{Attack, Pgd, RandomStart};
use crate::data::Dataset;
use crate::device::ranges::Range;
use crate::element::{Element, Real};
use crate::loss::{EmbeddingDistance, EmbeddingLoss, NtXent, SupCon};
use crate::nn::{Backbone, Network};
use crate::ops::{Distance, Norm, PgdStep};
use crate::optim::Optimizer;
use crate::run::checkpoint::Kind;
use crate::{Device, Error, Result, Tensor};
use std::ffi::CStr;

/// Everything a pretraining run needs on the device, allocated once.
pub struct Pretraining<T: Element> {
    recipe: Recipe,
    batch: usize,
    network: Network<T>,
    loss: Box<dyn EmbeddingLoss<T::Real>>,
    adversary: Option<Adversary<T>>,
    optimizer: Optimizer<T::Real>,
    epoch: EpochBuffers<T::Real>,
    /// x₁ | x₂ | x_adv, `[3 · batch, 32, 32, 3]`; without an adversary only the first two.
    images: Tensor<T::Real>,
    d_embeddings: Tensor<T::Real>,
    /// The losses of a step: main, regulariser, attack.
    losses: Tensor<T::Real>,
    /// Of the step's images, where the loss wants them.
    labels: Option<Labels>,
}

/// The attack and what it runs on.
struct Adversary<T: Element> {
    model: Attacked<T>,
    attack: Box<dyn Attack<T::Real>>,
    loss: Box<dyn EmbeddingLoss<T::Real>>,
    regularizer: Box<dyn EmbeddingLoss<T::Real>>,
    /// x₁ | x_adv, where the regulariser wants them together.
    pair: Option<Tensor<T::Real>>,
}

/// The losses and the attack of a run. [`Ingredients::new`] has those of the recipe; put your own in their place.
pub struct Ingredients<R: Real> {
    /// The main loss, over all views.
    pub loss: Box<dyn EmbeddingLoss<R>>,
    /// What the attack increases, over the attacked view and its target.
    pub attack_loss: Box<dyn EmbeddingLoss<R>>,
    /// The regulariser, over the adversary and the view it is drawn to; its weight is the recipe's 1/λ.
    pub regularizer: Box<dyn EmbeddingLoss<R>>,
    /// The attack.
    pub attack: Box<dyn Attack<R>>,
}

impl<R: Real> Ingredients<R> {
    /// Those of the recipe. `clock` is the run's step counter, for random starts.
    pub fn new(device: &Device, recipe: &Recipe, clock: &Tensor<i64>) -> Result<Self> {
        let batch = recipe.train.batch_size as usize;
        let nt_xent = |rows, groups| -> Result<Box<dyn EmbeddingLoss<R>>> {
            Ok(Box::new(NtXent::new(device, rows, recipe.loss.temperature, groups, recipe.loss.detach_keys)?))
        };
        let (settings, groups) = (&recipe.attack, recipe.attack_groups() as usize);
        let start =
            settings.random_start.then(|| RandomStart { seed: recipe.train.seed, stream: ATTACK_STREAM, clock: clock.clone() });
        let step = PgdStep::new(Norm::Linf, settings.step_size.value(), settings.epsilon.value());
        let distance =
            |distance| -> Result<Box<dyn EmbeddingLoss<R>>> { Ok(Box::new(EmbeddingDistance::new(device, batch, distance)?)) };
        Ok(Self {
            loss: nt_xent(3 * batch, 1)?,
            attack_loss: match settings.loss {
                AttackLoss::Similarity => nt_xent(2 * batch, groups)?,
                AttackLoss::Mse => distance(Distance::Mse)?,
                AttackLoss::L1 => distance(Distance::L1)?,
                AttackLoss::Cosine => distance(Distance::Cosine)?,
            },
            regularizer: nt_xent(2 * batch, groups)?,
            attack: Box::new(Pgd::new(device, batch, step, settings.steps as usize, start)?),
        })
    }
}

/// The mean losses of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Losses {
    /// Contrastive loss over all views.
    pub main: f64,
    /// Regulariser, already divided by λ; 0 without an adversary.
    pub regularizer: f64,
    /// Contrastive loss at the last step of the attack; 0 without an adversary.
    pub attack: f64,
}

/// Separates the noise of pretraining's attack from that of others.
const ATTACK_STREAM: u32 = 1;

impl<T: Element> Pretraining<T> {
    /// Allocates the run and draws the initial parameters.
    pub fn new(device: &Device, recipe: &Recipe, data: &Dataset) -> Result<Self> {
        let labels = (recipe.train.method == Method::Scl)
            .then(|| Labels::new(device, data, recipe.train.batch_size as usize))
            .transpose()?;
        let run = Self::with(device, recipe, data, |clock| {
            let ingredients = Ingredients::new(device, recipe, clock)?;
            let Some(labels) = &labels else { return Ok(ingredients) };
            let (Loss { temperature, detach_keys, .. }, rows) = (&recipe.loss, 2 * labels.of_step().len());
            let loss = Box::new(SupCon::new(device, rows, labels.of_step(), *temperature, *detach_keys)?);
            Ok(Ingredients { loss, ..ingredients })
        })?;
        Ok(Self { labels, ..run })
    }

    /// Like [`Pretraining::new`], with losses or an attack of your own. `ingredients` is given the run's step counter.
    pub fn with(
        device: &Device,
        recipe: &Recipe,
        data: &Dataset,
        ingredients: impl FnOnce(&Tensor<i64>) -> Result<Ingredients<T::Real>>,
    ) -> Result<Self> {
        let batch = recipe.train.batch_size as usize;
        let topology = recipe.topology();
        let epoch = EpochBuffers::new(device, data, batch, 2, 3)?;
        let passes = if recipe.train.method == Method::Rocl { 3 } else { 2 };
        let rows = passes * batch;
        let network = Network::with(device, &topology, recipe.projection(), rows, recipe.train.seed)?;
        let Ingredients { loss, attack_loss, regularizer, attack } = ingredients(epoch.clock())?;
        let adversary = match recipe.train.method {
            Method::Simclr | Method::Scl => None,
            method @ (Method::Ce | Method::At | Method::Trades | Method::AtSs) => {
                let method = method.name();
                return Err(Error::Usage(format!(
                    "train.method = \"{method}\" trains a classifier; choose rocl, simclr or scl here, or use `rocl train`"
                )));
            }
            Method::Rocl => Some(Adversary {
                model: Attacked::new(device, recipe, &network)?,
                attack,
                loss: attack_loss,
                regularizer,
                pair: match recipe.loss.regularize_to {
                    View::Other => None,
                    View::Original => Some(Tensor::zeros(device, [2 * batch, 32, 32, 3])?),
                },
            }),
        };
        Ok(Self {
            batch,
            loss,
            adversary,
            optimizer: Optimizer::new(device, network.parameters(), &recipe.optimizer)?,
            epoch,
            images: Tensor::zeros(device, [rows, 32, 32, 3])?,
            d_embeddings: Tensor::zeros(device, [rows, recipe.embedding()])?,
            losses: Tensor::zeros(device, [3])?,
            labels: None,
            network,
            recipe: recipe.clone(),
        })
    }

    /// One step of Algorithm 1. Launches only: nothing is read back.
    pub fn step(&self) -> Result<()> {
        self.draw_views()?;
        if self.adversary.is_some() {
            self.perturb()?;
        }
        self.network.begin_step()?;
        if self.adversary.is_some() {
            self.regularize()?;
        }
        self.contrast()?;
        self.update()
    }

    /// x₁, x₂ ← two independent augmentations of the step's images; where labels are learnt from, theirs too.
    pub fn draw_views(&self) -> Result<()> {
        let _range = self.range(c"augment");
        self.epoch.augment(&self.images.rows(0..2 * self.batch)?)?;
        self.labels.as_ref().map_or(Ok(()), |labels| labels.draw(&self.epoch))
    }

    /// x_adv ← a version of x₁ within the ε-ball that the model as it is (with running statistics) embeds away from its target view.
    pub fn perturb(&self) -> Result<()> {
        let _range = self.range(c"attack");
        let adversary = self.adversary()?;
        adversary.model.copy_from(&self.network)?;
        let target = self.view(match self.recipe.attack.attack_to {
            View::Other => 1,
            View::Original => 0,
        })?;
        let mut objective = adversary.model.objective(&*adversary.loss, &target)?;
        adversary.attack.perturb(&self.view(0)?, &mut objective, &self.view(2)?)?;
        self.losses.rows(2..3)?.copy_from(adversary.model.loss())
    }

    /// The regulariser, 1/λ · NT-Xent of the adversary and the other view (or its own): forward and backward.
    pub fn regularize(&self) -> Result<()> {
        let _range = self.range(c"regularizer");
        let adversary = self.adversary()?;
        let pair = match self.recipe.loss.regularize_to {
            View::Other => self.images.rows(self.batch..3 * self.batch)?,
            View::Original => adversary.pair(&self.view(0)?, &self.view(2)?)?,
        };
        self.pass(&pair, 2, 1.0 / self.recipe.loss.lambda, &*adversary.regularizer, 1)
    }

    /// The main loss, NT-Xent of all views (or its form for labels): forward and backward.
    pub fn contrast(&self) -> Result<()> {
        let _range = self.range(c"main");
        self.pass(&self.images, self.images.rows_len() / self.batch, 1.0, &*self.loss, 0)
    }

    /// Moves the parameters along the gradients, unless these overflowed, and the step counter on.
    pub fn update(&self) -> Result<()> {
        let _range = self.range(c"optimizer");
        self.optimizer.step(self.network.parameters(), self.epoch.clock(), self.epoch.learning_rates())?;
        self.network.end_step()?;
        self.epoch.record(&self.losses)
    }

    /// For profilers.
    fn range(&self, phase: &CStr) -> Range {
        self.images.device().range(phase)
    }

    /// View 0, 1 or 2 (the adversary) of the step's images.
    fn view(&self, index: usize) -> Result<Tensor<T::Real>> {
        self.images.rows(index * self.batch..(index + 1) * self.batch)
    }

    fn adversary(&self) -> Result<&Adversary<T>> {
        self.adversary
            .as_ref()
            .ok_or_else(|| Error::Usage("only RoCL has an adversary; choose train.method = \"rocl\"".to_owned()))
    }

    /// Forward, loss and backward over `images`, adding gradients; the loss goes to `losses[slot]`.
    fn pass(
        &self,
        images: &Tensor<T::Real>,
        views: usize,
        weight: f64,
        loss: &dyn EmbeddingLoss<T::Real>,
        slot: usize,
    ) -> Result<()> {
        let embeddings = self.network.forward(images)?;
        let d_embeddings = self.d_embeddings.rows(0..embeddings.rows_len())?;
        let rows = embeddings.rows_len();
        loss.evaluate(&embeddings, views, weight, &d_embeddings, rows, &self.losses.rows(slot..slot + 1)?)?;
        self.network.backward(images, &d_embeddings)
    }

    /// Steps of an epoch.
    pub fn steps(&self) -> usize {
        self.epoch.steps()
    }

    /// Draws and uploads an epoch: see [`TrainingRun::begin_epoch`].
    pub fn begin_epoch(&self, epoch: u32, at: usize) -> Result<()> {
        TrainingRun::begin_epoch(self, epoch, at)
    }

    /// The losses of the first `steps` steps of the epoch, `[steps, 3]`: main, regulariser, attack.
    pub fn noted(&self, steps: usize) -> Result<Tensor<T::Real>> {
        self.epoch.noted(steps)
    }

    /// The mean losses over the first `steps` steps of the epoch, after everything launched has finished.
    pub fn losses(&self, steps: usize) -> Result<Losses> {
        self.means(steps)
    }

    /// The model.
    pub fn network(&self) -> &Network<T> {
        &self.network
    }

    /// The optimiser.
    pub fn optimizer(&self) -> &Optimizer<T::Real> {
        &self.optimizer
    }

    /// What the run was asked for.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The model in the form the attack runs on; none without an adversary.
    pub fn attacked(&self) -> Option<&Attacked<T>> {
        self.adversary.as_ref().map(|adversary| &adversary.model)
    }

    /// The images of the last step: x₁ | x₂ | x_adv, `[passes · batch, 32, 32, 3]`.
    pub fn images(&self) -> &Tensor<T::Real> {
        &self.images
    }
}

impl<T: Element> TrainingRun<T> for Pretraining<T> {
    type Means = Losses;
    const KIND: Kind = Kind::Pretrain;

    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn step(&self) -> Result<()> {
        self.step()
    }

    fn epoch(&self) -> &EpochBuffers<T::Real> {
        &self.epoch
    }

    fn backbone(&self) -> &Backbone<T> {
        self.network.backbone()
    }

    fn optimizer(&self) -> &Optimizer<T::Real> {
        &self.optimizer
    }

    fn passes_per_step(&self) -> i64 {
        if self.adversary.is_some() { 2 } else { 1 }
    }
}

impl Means for Losses {
    const NOTED: usize = 3;

    fn new(means: &[f64]) -> Self {
        Self { main: means[0], regularizer: means[1], attack: means[2] }
    }

    fn shown(&self) -> f64 {
        self.main
    }

    fn objective(&self) -> f64 {
        self.main + self.regularizer
    }
}

impl<T: Element> Adversary<T> {
    /// The two batches in one tensor. The other view and the adversary lie together already; the first view and the adversary do not.
    fn pair(&self, x1: &Tensor<T::Real>, x_adv: &Tensor<T::Real>) -> Result<Tensor<T::Real>> {
        let Some(pair) = &self.pair else { return Err(Error::shape("regulariser", "no buffer for the pair")) };
        let batch = x1.rows_len();
        pair.rows(0..batch)?.copy_from(x1)?;
        pair.rows(batch..2 * batch)?.copy_from(x_adv)?;
        Ok(pair.clone())
    }
}
