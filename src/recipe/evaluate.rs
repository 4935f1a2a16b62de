//! Accuracy of encoder and head, on clean images and under attacks.

use super::linear_eval::{Batch, Batches};
use super::settings::{Evaluate, NamedAttack};
use crate::attack::{
    Attack, ClassifierBuffers, ClassifierLoss, ClassifierObjective, Judge, Pgd, RandomStart, SmoothedBuffers, SmoothedObjective,
    Smoothing, WorstOf,
};
use crate::data::Dataset;
use crate::element::{Element, Real};
use crate::nn::{Classifier, Inference};
use crate::ops::PgdStep;
use crate::{Device, Result, Tensor};

/// Separates the noise of the evaluation's attacks from that of others; a restart's number is in the bits above.
const ATTACK_STREAM: u32 = 2;
const RESTART_STREAMS: u32 = 1 << 8;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Accuracy {
    /// Images.
    pub n: usize,
    /// Percent right without an attack.
    pub clean: f64,
    /// Percent right under PGD.
    pub pgd: f64,
}

/// Measures head ∘ encoder on `data`. As in the paper, the attacked accuracy is that on the adversarial images, whatever the clean
/// image's class was taken for.
pub fn evaluate<T: Element>(
    device: &Device,
    settings: &Evaluate,
    encoder: &Inference<T>,
    head: &Classifier<T>,
    data: &Dataset,
    seed: u64,
    progress: impl FnMut(usize) -> Result<()>,
) -> Result<Accuracy> {
    let (attacks, batch_size) = ([NamedAttack::from(settings)], settings.batch_size as usize);
    let Right { clean, attacked } = Evaluation::new(device, encoder, head, data, &attacks, batch_size, seed)?.run(progress)?;
    let [clean, pgd] = [&clean, &attacked[0]].map(|right| 100.0 * share(right));
    Ok(Accuracy { n: data.len(), clean, pgd })
}

/// Which images a classifier gets right, in the order of the data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Right {
    /// As they are.
    pub clean: Vec<bool>,
    /// Under each attack.
    pub attacked: Vec<Vec<bool>>,
}

impl Right {
    /// As they are and under every attack: the worst case of each image.
    pub fn always(&self) -> Vec<bool> {
        let held = |image: usize| self.attacked.iter().all(|right| right[image]);
        self.clean.iter().enumerate().map(|(image, right)| *right && held(image)).collect()
    }
}

/// The part of the images that are right.
pub fn share(right: &[bool]) -> f64 {
    right.iter().filter(|right| **right).count() as f64 / right.len() as f64
}

/// A classifier, the images that it is measured on, and attacks on it, with everything allocated.
pub struct Evaluation<'a, T: Element> {
    encoder: &'a Inference<T>,
    head: &'a Classifier<T>,
    smoothing: Option<(Smoothing, SmoothedBuffers<T::Real>)>,
    room: Room<T>,
}

/// The classifier of a batch.
enum Subject<'a, T: Element> {
    Plain(ClassifierObjective<'a, T>),
    Smoothed(SmoothedObjective<'a, T>),
}

impl<T: Element> Subject<'_, T> {
    /// Which of the valid images it gets right.
    fn right(&self, images: &Tensor<T::Real>) -> Result<Vec<bool>> {
        match self {
            Self::Plain(classifier) => classifier.correct(images),
            Self::Smoothed(classifier) => classifier.correct(images),
        }
    }

    fn as_judge(&mut self) -> &mut dyn Judge<T::Real> {
        match self {
            Self::Plain(classifier) => classifier,
            Self::Smoothed(classifier) => classifier,
        }
    }
}

/// A batch of adversaries.
pub struct Crafted<'a, R> {
    /// The place of their attack in the list.
    pub attack: usize,
    /// Which images of the data set they are of.
    pub batch: Batch,
    /// `[batch, 32, 32, 3]`; those behind the valid ones only fill it.
    pub images: &'a Tensor<R>,
    /// `[batch]`
    pub labels: &'a Tensor<i32>,
}

/// An attack that is ready, and what it goes through.
struct Armed<R: Real> {
    attack: WorstOf<R>,
    increased: ClassifierLoss,
    expectation: bool,
}

/// What an evaluation allocates.
struct Room<T: Element> {
    batches: Batches,
    clock: Tensor<i64>,
    buffers: ClassifierBuffers<T>,
    armed: Vec<Armed<T::Real>>,
    clean: Tensor<T::Real>,
    adversarial: Tensor<T::Real>,
}

impl<T: Element> Room<T> {
    fn new(
        device: &Device,
        head: &Classifier<T>,
        data: &Dataset,
        attacks: &[NamedAttack],
        batch: usize,
        seed: u64,
    ) -> Result<Self> {
        let clock = Tensor::zeros(device, [2])?;
        let images = || Tensor::zeros(device, [batch, 32, 32, 3]);
        Ok(Self {
            batches: Batches::new(device, data, batch)?,
            buffers: ClassifierBuffers::new(device, batch, head)?,
            armed: attacks.iter().map(|attack| arm(device, attack, batch, seed, &clock)).collect::<Result<_>>()?,
            clean: images()?,
            adversarial: images()?,
            clock,
        })
    }
}

/// The attack of that name, ready for batches of `batch` images. What it does depends on the seed and on the batch's number, which `clock`
/// has, but not on other attacks.
fn arm<R: Real>(device: &Device, attack: &NamedAttack, batch: usize, seed: u64, clock: &Tensor<i64>) -> Result<Armed<R>> {
    let step = PgdStep::new(attack.norm, attack.step_size.value(), attack.epsilon.value());
    let start = attack.random_start.then(|| RandomStart { seed, stream: ATTACK_STREAM, clock: clock.clone() });
    let pgd = Pgd::new(device, batch, step, attack.steps.unwrap_or(1) as usize, start)?;
    let restart = |number| -> Box<dyn Attack<R>> { Box::new(pgd.with_stream(ATTACK_STREAM + number * RESTART_STREAMS)) };
    let worst = WorstOf::new(device, batch, (0..attack.restarts).map(restart).collect())?;
    Ok(Armed { attack: worst, increased: attack.loss, expectation: attack.expectation })
}

impl<'a, T: Element> Evaluation<'a, T> {
    /// Of head ∘ encoder on `data`, in batches of `batch_size` images. Attacks draw their noise from `seed`; none depends on what else is
    /// in the list.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] when there are no images; [`crate::Error::Device`] when there is too little memory.
    pub fn new(
        device: &Device,
        encoder: &'a Inference<T>,
        head: &'a Classifier<T>,
        data: &Dataset,
        attacks: &[NamedAttack],
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        let batch = batch_size.min(data.len().max(1));
        let room = Room::new(device, head, data, attacks, batch, seed)?;
        Ok(Self { encoder, head, smoothing: None, room })
    }

    /// One more attack, of your own, behind those that are there; it increases `loss`. `make` is given the most images of a batch, and the counter that
    /// [random starts](RandomStart) read.
    ///
    /// # Errors
    /// Those of `make` and of the device.
    pub fn and<A: Attack<T::Real> + 'static>(
        mut self,
        loss: ClassifierLoss,
        make: impl FnOnce(usize, &Tensor<i64>) -> Result<A>,
    ) -> Result<Self> {
        let Room { clean, clock, armed, .. } = &mut self.room;
        let batch = clean.rows_len();
        let attack = WorstOf::new(clean.device(), batch, vec![Box::new(make(batch, clock)?)])?;
        armed.push(Armed { attack, increased: loss, expectation: false });
        Ok(self)
    }

    /// The same of the classifier that is smoothed by random views, if it is to be; of the attacks, those through the expectation know of it.
    pub fn smoothed(self, smoothing: Option<Smoothing>) -> Result<Self> {
        let Some(smoothing) = smoothing else { return Ok(self) };
        let batch = self.room.clean.rows_len();
        let buffers = SmoothedBuffers::new(self.room.clean.device(), batch, self.head.classes())?;
        Ok(Self { smoothing: Some((smoothing, buffers)), ..self })
    }

    /// Measures all of it; `progress` is told how many images an attack is done with.
    pub fn run(&self, mut progress: impl FnMut(usize) -> Result<()>) -> Result<Right> {
        self.run_and_show(|crafted| progress(crafted.batch.valid))
    }

    /// The same; `show` is given every batch of adversaries.
    pub fn run_and_show(&self, mut show: impl FnMut(&Crafted<T::Real>) -> Result<()>) -> Result<Right> {
        let Room { batches, clock, buffers, armed, clean, adversarial } = &self.room;
        let mut right = Right { attacked: vec![Vec::new(); armed.len()], ..Right::default() };
        // In name only, one batch is like another.
        let most = if clean.device().is_dry() { 1 } else { usize::MAX };
        for (index, batch) in batches.iter().enumerate().take(most) {
            clock.write(&[0, index as i64])?;
            batches.images(batch, clean)?;
            let labels = batches.labels(batch)?;
            let plain = || ClassifierObjective::new(self.encoder, self.head, buffers, &labels, batch.valid);
            let judged_by = |classifier| match &self.smoothing {
                Some((smoothing, buffers)) => {
                    Subject::Smoothed(SmoothedObjective::new(classifier, smoothing, buffers, index as u32))
                }
                None => Subject::Plain(classifier),
            };
            right.clean.extend(judged_by(plain()).right(clean)?);
            for (place, Armed { attack, increased, expectation }) in armed.iter().enumerate() {
                let attacked = plain().increasing(*increased, clean)?;
                let mut attacked = if *expectation { judged_by(attacked) } else { Subject::Plain(attacked) };
                attack.perturb(clean, attacked.as_judge(), adversarial)?;
                right.attacked[place].extend(judged_by(plain()).right(adversarial)?);
                show(&Crafted { attack: place, batch, images: adversarial, labels: &labels })?;
            }
        }
        Ok(right)
    }
}
