//! Training with labels: cross-entropy, adversarial training, TRADES, and adversarial training along with the contrastive loss; from scratch, or of an
//! encoder that was pretrained.

pub(super) mod adversary;

use super::epoch::EpochBuffers;
use super::labels::Labels;
use super::saved;
use super::settings::{BatchNormMode, Method, Recipe};
use super::training_run::{Means, TrainingRun};
use crate::data::Dataset;
use crate::element::Element;
use crate::loss::{EmbeddingLoss, NtXent};
use crate::nn::{Backbone, ClassifierNetwork, MODEL, PROJECTOR};
use crate::optim::Optimizer;
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::{Device, Error, Result, Tensor, ops};
use adversary::Adversary;

/// Everything a run that trains with labels needs on the device, allocated once.
pub struct Supervised<T: Element> {
    recipe: Recipe,
    batch: usize,
    network: ClassifierNetwork<T>,
    /// Activations of the clean images, where they are propagated back beside the adversarial ones.
    clean: Option<Clean<T>>,
    contrast: Option<Contrast<T>>,
    adversary: Option<Adversary<T>>,
    optimizer: Optimizer<T::Real>,
    epoch: EpochBuffers<T::Real>,
    labels: Labels,
    /// x, for some methods a second view of it, and for adversarial ones x_adv: `[parts · batch, 32, 32, 3]`.
    images: Tensor<T::Real>,
    /// The labels of the images of a pass.
    targets: Tensor<i32>,
    row_loss: Tensor<T::Real>,
    correct: Tensor<T::Real>,
    /// Of a step: [`ClassifierMeans`] in order.
    noted: Tensor<T::Real>,
}

/// What TRADES has besides.
struct Clean<T: Element> {
    network: ClassifierNetwork<T>,
    /// The divergence's gradient by the scores of the clean images, `[batch, classes]`.
    pull: Tensor<T::Real>,
}

/// What the contrastive loss has besides.
struct Contrast<T: Element> {
    loss: NtXent<T::Real>,
    d_embeddings: Tensor<T::Real>,
}

/// The means of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ClassifierMeans {
    /// Cross-entropy.
    pub main: f64,
    /// TRADES's divergence times β, or the contrastive loss; 0 without.
    pub regularizer: f64,
    /// What the attack increased, at its last step; 0 without.
    pub attack: f64,
    /// Percent of the images of the cross-entropy that were right as they were trained on: adversarial ones but in TRADES.
    pub train_accuracy: f64,
}

impl<T: Element> Supervised<T> {
    /// Allocates the run and draws the initial parameters.
    ///
    /// # Errors
    /// [`Error::Usage`] when the recipe's method trains no classifier, or the data do not fill one batch.
    pub fn new(device: &Device, recipe: &Recipe, data: &Dataset) -> Result<Self> {
        let method = recipe.train.method;
        if !method.trains_a_classifier() {
            return Err(Error::Usage(format!("train.method = \"{}\" trains no classifier; use `rocl pretrain`", method.name())));
        }
        let (topology, seed) = (recipe.topology(), recipe.train.seed);
        let (batch, classes) = (recipe.train.batch_size as usize, data.classes.len());
        let views = if method == Method::AtSs { 2 } else { 1 };
        let parts = views + usize::from(method.is_adversarial());
        // Of the passes, the largest.
        let rows = if method == Method::AtSs { parts * batch } else { batch };
        let epoch = EpochBuffers::new(device, data, batch, views, ClassifierMeans::NOTED)?;
        let projection = (method == Method::AtSs).then(|| recipe.projection());
        let mut network = ClassifierNetwork::new(device, &topology, classes, projection, rows, seed)?;
        let twin = || {
            let (network, pull) = (network.twin(device, &topology, batch)?, Tensor::zeros(device, [batch, classes])?);
            Ok::<_, Error>(Clean { network, pull })
        };
        let mut clean = (method == Method::Trades).then(twin).transpose()?;
        if recipe.supervised.freeze_bn {
            network.freeze_statistics();
            clean.iter_mut().for_each(|clean| clean.network.freeze_statistics());
        }
        let contrast = || {
            let loss = NtXent::new(device, views * batch, recipe.loss.temperature, 1, recipe.loss.detach_keys)?;
            Ok::<_, Error>(Contrast { loss, d_embeddings: Tensor::zeros(device, [views * batch, recipe.embedding()])? })
        };
        let contrast = projection.map(|_| contrast()).transpose()?;
        let attack = || Adversary::new(device, recipe, &network, epoch.clock());
        let adversary = method.is_adversarial().then(attack).transpose()?;
        let labels = Labels::new(device, data, batch)?;
        Ok(Self {
            batch,
            clean,
            contrast,
            adversary,
            optimizer: Optimizer::new(device, network.backbone().parameters(), &recipe.optimizer)?,
            epoch,
            images: Tensor::zeros(device, [parts * batch, 32, 32, 3])?,
            targets: if rows == batch { labels.of_step().clone() } else { Tensor::zeros(device, [rows])? },
            labels,
            row_loss: Tensor::zeros(device, [rows])?,
            correct: Tensor::zeros(device, [rows])?,
            noted: Tensor::zeros(device, [ClassifierMeans::NOTED])?,
            network,
            recipe: recipe.clone(),
        })
    }

    /// Takes over an encoder that was trained before, and its projector where embeddings are contrasted on.
    ///
    /// # Errors
    /// [`Error::File`] when it is of another network; [`Error::Usage`] when it has no projector, and one is needed.
    pub fn start_from(&self, checkpoint: &Checkpoint) -> Result<()> {
        let parts: &[&str] = if self.contrast.is_some() { &[MODEL, PROJECTOR] } else { &[MODEL] };
        if self.contrast.is_some()
            && self.recipe.network.projector
            && !checkpoint.entries().any(|entry| entry.name.starts_with(PROJECTOR))
        {
            return Err(Error::Usage(format!(
                "{} has no projector, which {} contrasts through; give an encoder of `rocl pretrain`, or another --method",
                checkpoint.path().display(),
                self.recipe.train.method.name()
            )));
        }
        saved::load_parts(checkpoint, &self.network, parts)
    }

    /// x (and x₂) ← augmentations of the step's images, with their labels.
    pub fn draw(&self) -> Result<()> {
        let _range = self.images.device().range(c"augment");
        let views = if self.contrast.is_some() { 2 } else { 1 };
        self.epoch.augment(&self.images.rows(0..views * self.batch)?)?;
        self.labels.draw(&self.epoch)?;
        if self.targets.len() > self.batch {
            let part = |start: usize| self.targets.rows(start..start + self.batch);
            (0..self.targets.len()).step_by(self.batch).try_for_each(|start| part(start)?.copy_from(self.labels.of_step()))?;
        }
        Ok(())
    }

    /// x_adv ← a version of x within the ε-ball that the model as it is takes for something else.
    pub fn perturb(&self) -> Result<()> {
        let Some(adversary) = &self.adversary else { return Ok(()) };
        let _range = self.images.device().range(c"attack");
        adversary.perturb(&self.network, self.labels.of_step(), &self.clean_images()?, &self.adversarial_images()?)?;
        ops::weighted_sum(adversary.loss(), 1.0 / self.batch as f64, false, &self.noted.rows(2..3)?)
    }

    /// The losses of the method on the images at hand, forward and backward.
    pub fn learn(&self) -> Result<()> {
        let _range = self.images.device().range(c"main");
        match (&self.clean, &self.contrast) {
            (Some(clean), _) => self.trade_off(clean),
            (None, Some(contrast)) => self.classify_and_contrast(contrast),
            (None, None) if self.adversary.is_some() => self.classify(&self.adversarial_images()?),
            (None, None) => self.classify(&self.clean_images()?),
        }
    }

    /// Cross-entropy alone.
    fn classify(&self, images: &Tensor<T::Real>) -> Result<()> {
        self.cross_entropy(&self.network, images)?;
        self.network.backward(images, None)
    }

    /// Cross-entropy of x and β · KL(p(x) ‖ p(x_adv)), whose gradient reaches the model through both (equation 5 of Zhang et al. 2019). Clean and
    /// adversarial images are normalised apart, in a pass each.
    fn trade_off(&self, clean: &Clean<T>) -> Result<()> {
        let (x, x_adv, batch) = (self.clean_images()?, self.adversarial_images()?, self.batch);
        let reference = self.cross_entropy(&clean.network, &x)?;
        let logits = self.network.forward(&x_adv)?;
        let (d_logits, beta) = (self.network.head().d_logits(batch)?, self.recipe.supervised.beta);
        let (d_clean, loss) = (clean.network.head().d_logits(batch)?, self.noted.rows(1..2)?);
        ops::kl_divergence(&logits, &reference, batch, beta, Some(&d_logits), Some(&clean.pull), &self.row_loss, &loss)?;
        ops::activation_backward(&d_clean, Some(&clean.pull), None)?;
        self.network.backward(&x_adv, None)?;
        clean.network.backward(&x, None)
    }

    /// Cross-entropy of [x, x₂, x_adv] and NT-Xent of [x, x₂], in one pass, as the released code of RoCL has it.
    fn classify_and_contrast(&self, contrast: &Contrast<T>) -> Result<()> {
        self.cross_entropy(&self.network, &self.images)?;
        let embeddings = self.network.embed(2 * self.batch)?;
        let (rows, d_embeddings) = (embeddings.rows_len(), &contrast.d_embeddings);
        contrast.loss.evaluate(&embeddings, 2, 1.0, d_embeddings, rows, &self.noted.rows(1..2)?)?;
        self.network.backward(&self.images, Some(d_embeddings))
    }

    /// The loss, and its gradient by the scores, which are returned.
    fn cross_entropy(&self, network: &ClassifierNetwork<T>, images: &Tensor<T::Real>) -> Result<Tensor<T::Real>> {
        let n = images.rows_len();
        let logits = network.forward(images)?;
        let (d_logits, targets) = (network.head().d_logits(n)?, self.targets.rows(0..n)?);
        let (row_loss, correct) = (self.row_loss.rows(0..n)?, self.correct.rows(0..n)?);
        let [loss, accuracy] = [0, 3].map(|slot| self.noted.rows(slot..slot + 1));
        ops::cross_entropy(&logits, &targets, n, 1.0, Some(&d_logits), &row_loss, Some(&correct), &loss?)?;
        ops::weighted_sum(&correct, 100.0 / n as f64, false, &accuracy?)?;
        Ok(logits)
    }

    fn clean_images(&self) -> Result<Tensor<T::Real>> {
        self.images.rows(0..self.batch)
    }

    /// The last part.
    fn adversarial_images(&self) -> Result<Tensor<T::Real>> {
        let rows = self.images.rows_len();
        self.images.rows(rows - self.batch..rows)
    }

    /// The model.
    pub fn network(&self) -> &ClassifierNetwork<T> {
        &self.network
    }

    /// What the last step noted: [`ClassifierMeans`] in order, `[4]`.
    pub fn losses(&self) -> &Tensor<T::Real> {
        &self.noted
    }

    /// The images of the last step: x, for `at-ss` x₂, and for adversarial methods x_adv.
    pub fn images(&self) -> &Tensor<T::Real> {
        &self.images
    }
}

impl<T: Element> TrainingRun<T> for Supervised<T> {
    type Means = ClassifierMeans;
    const KIND: Kind = Kind::Classifier;

    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn step(&self) -> Result<()> {
        self.draw()?;
        let backbone = self.network.backbone();
        // An attack on the batch's statistics moves the running ones, so that they are noted before it, and leaves gradients behind.
        backbone.begin_step()?;
        self.perturb()?;
        backbone.parameters().clear_gradients()?;
        self.learn()?;
        let _range = self.images.device().range(c"optimizer");
        self.optimizer.step(backbone.parameters(), self.epoch.clock(), self.epoch.learning_rates())?;
        backbone.end_step()?;
        self.epoch.record(&self.noted)
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
        let settings = &self.recipe.supervised;
        let reference = i64::from(self.clean.is_some());
        let attack = match settings.attack_mode {
            BatchNormMode::Train if self.adversary.is_some() => i64::from(settings.steps) + reference,
            _ => 0,
        };
        if settings.freeze_bn { 0 } else { 1 + reference + attack }
    }
}

impl Means for ClassifierMeans {
    const NOTED: usize = 4;

    fn new(means: &[f64]) -> Self {
        Self { main: means[0], regularizer: means[1], attack: means[2], train_accuracy: means[3] }
    }

    fn shown(&self) -> f64 {
        self.main
    }

    fn objective(&self) -> f64 {
        self.main + self.regularizer
    }
}
