//! `rocl evaluate`.

mod adversaries;
pub(super) mod report;
mod transfer;

use super::common::{Common, Settings, data_is_known, recipe_of, whole};
use super::output::{note, print_json};
use super::precision::in_precision;
use super::room::{Job, Leeway};
use crate::attack::Smoothing;
use crate::bench::machine::Machine;
use crate::data::validation::Validation;
use crate::data::{Dataset, Split};
use crate::element::Element;
use crate::nn::LINEAR;
use crate::recipe::accuracies::Accuracies;
use crate::recipe::adversaries::Adversaries;
use crate::recipe::evaluate::{Evaluation, Right};
use crate::recipe::head::encoder_of;
use crate::recipe::per_image::PerImage;
use crate::recipe::rehearsal;
use crate::recipe::settings::{NamedAttack, Number, Overrides, Recipe};
use crate::recipe::trained::Encoder;
use crate::recipe::training::data_name;
use crate::recipe::transfer_matrix::Participant;
use crate::run::checkpoint::{Checkpoint, Kind};
use crate::run::progress::Progress;
use crate::run::{atomic, interrupt};
use crate::{Device, Error, Result};
use report::{Fitted, Report, Trained, Versus};
use std::path::{Path, PathBuf};
use transfer::Pair;

/// More seeds, or views, than anybody waits for.
const MOST: u32 = 1000;

const EXAMPLES: &str = "\
Attacks: pgd:NORM:EPSILON:STEPS or fgsm:NORM:EPSILON, with options behind them.

Examples:
  rocl evaluate --checkpoint run/checkpoint.safetensors \\
                --head run/head.safetensors --attack pgd:l2:0.5:20";

const ALL_EXAMPLES: &str = "\
Attacks: pgd:NORM:EPSILON:STEPS or fgsm:NORM:EPSILON, NORM being linf, l2 or l1, and any of
these behind it: :step=NUMBER :start=random|image :restarts=N :margin :kl :eot
(docs/evaluation.md).

Examples:
  M='--checkpoint run/checkpoint.safetensors --head run/head.safetensors'
  rocl evaluate $M --epsilon 16/255
  rocl evaluate --checkpoint classifier/checkpoint.safetensors
  rocl evaluate $M --attack pgd:linf:8/255:20,pgd:l2:0.5:20,pgd:l1:12:20 --seeds 3 --out run
  rocl evaluate $M --smooth 10 --attack pgd:linf:8/255:20,pgd:linf:8/255:20:eot
  rocl evaluate $M --transfer-from other/checkpoint.safetensors:other/head.safetensors";

/// Measure clean accuracy, and accuracy under attacks
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = ALL_EXAMPLES)]
pub struct Args {
    /// The model, of `rocl pretrain`, `train` or `finetune`
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Its head, from `rocl linear-eval`; its own by default
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Attacks instead of the recipe's, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["epsilon", "step_size", "steps"])]
    attack: Vec<NamedAttack>,
    /// Radius of the L-infinity ball, such as 8/255
    #[arg(long, value_name = "NUMBER", hide_short_help = true)]
    epsilon: Option<Number>,
    /// Step size of the attack, such as 2/255
    #[arg(long, value_name = "NUMBER", hide_short_help = true)]
    step_size: Option<Number>,
    /// Steps of the attack
    #[arg(long, value_name = "N", value_parser = whole, hide_short_help = true)]
    steps: Option<u32>,
    /// Attack with N seeds, from --seed on, and average
    #[arg(long, value_name = "N", value_parser = whole)]
    seeds: Option<u32>,
    /// Compare with another model, by the per_image.json in its --out
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    against: Option<PathBuf>,
    /// Measure on images that linear-eval --val held out
    #[arg(long, value_name = "PART")]
    val: Option<Validation>,
    /// Classify by the mean scores of N random views of each image
    #[arg(long, value_name = "N", value_parser = whole, hide_short_help = true)]
    smooth: Option<u32>,
    /// Keep the adversarial images
    #[arg(long, value_name = "FILE", conflicts_with = "seeds", hide_short_help = true)]
    save_adversaries: Option<PathBuf>,
    /// Attack with kept adversarial images, of this model or another
    #[arg(long, value_name = "FILE", conflicts_with_all = ["attack", "epsilon", "step_size", "steps", "seeds", "against", "val", "save_adversaries", "smooth", "data"], hide_short_help = true)]
    adversaries: Option<PathBuf>,
    /// Attack this model and others, ENCODER:HEAD, by each other
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["seeds", "against", "save_adversaries", "adversaries", "smooth"], hide_short_help = true)]
    transfer_from: Vec<Pair>,
    #[command(flatten)]
    common: Common,
}

/// The model that is asked for, and what is to be done to it.
struct Asked {
    path: PathBuf,
    head_path: PathBuf,
    checkpoint: Checkpoint,
    head: Checkpoint,
    attacks: Vec<NamedAttack>,
    /// Views of each image that a smoothed classifier has.
    smooth: Option<u32>,
    settings: Settings,
    /// Where results go, if anywhere.
    out: Option<PathBuf>,
}

impl Asked {
    /// Plans what `measure` needs for this model and others of these recipes (their batch is this one's), and makes room for it.
    fn make_room<T: Element>(
        &self,
        device: &Device,
        others: &[Recipe],
        held: usize,
        classes: usize,
        measure: impl Fn(&Device, &[Participant<T>], usize) -> Result<()>,
    ) -> Result<()> {
        let needs = |batch: u32| {
            let overrides = Overrides { evaluate_batch_size: Some(batch), ..Overrides::default() };
            let recipes = [&self.settings.recipe].into_iter().chain(others).map(|recipe| recipe.clone().with(&overrides));
            let recipes = recipes.collect::<Result<Vec<_>>>()?;
            rehearsal::evaluation(device, &recipes, held, classes, |dry, models| measure(dry, models, batch as usize))
        };
        let batch_size = self.settings.recipe.evaluate.batch_size;
        self.settings.make_room(device, &Job { batch_size, leeway: Leeway::Batch, needs: &needs })
    }
}

/// Measures the accuracies.
///
/// # Errors
/// [`crate::Error::File`] for an unusable checkpoint, [`crate::Error::Usage`] for settings out of range.
pub fn run(args: Args) -> Result<()> {
    let Args { checkpoint: path, head: head_path, attack, common, epsilon, step_size, steps, .. } = args;
    let (checkpoint, head) = load(&path, head_path.as_deref())?;
    let head_path = head_path.unwrap_or_else(|| path.clone());
    if args.adversaries.is_none() {
        data_is_known(&common, &checkpoint)?;
    }
    let out = common.out.clone();
    let mut recipe = recipe_of(&checkpoint)?;
    if common.recipe.is_some() {
        recipe.evaluate = common.recipe_or("")?.evaluate;
    }
    // The step follows the radius unless it is given too.
    let step_size = step_size.or(epsilon.map(Number::tenth));
    let overrides = Overrides { epsilon, step_size, steps, evaluate_batch_size: common.batch_size, ..Overrides::default() };
    let settings = common.settle(recipe.with(&overrides)?, path.parent().unwrap_or(Path::new("")))?;
    let attacks = if attack.is_empty() { vec![NamedAttack::from(&settings.recipe.evaluate)] } else { attack };
    NamedAttack::all_different(&attacks)?;
    if let Some(attack) = attacks.iter().find(|attack| attack.expectation && args.smooth.is_none()) {
        // Models under each other's adversaries are not smoothed.
        let remedy = if args.transfer_from.is_empty() { "add --smooth N" } else { "leave out :eot" };
        return Err(Error::Usage(format!("attack `{attack}` goes through random views, but there are none; {remedy}")));
    }
    let seeds = args.seeds.unwrap_or(1);
    at_least_one("--seeds", seeds)?;
    at_least_one("--smooth", args.smooth.unwrap_or(1))?;
    let precision = settings.computing.precision();
    // What cannot be kept is not worth measuring.
    out.as_deref().map_or(Ok(()), report::probe)?;
    if let Some(path) = &args.save_adversaries {
        if path.is_file() {
            return Err(Error::Usage(format!("{} is there already; choose another file, or delete it", path.display())));
        }
        atomic::probe(path)?;
    }
    let asked = Asked { path, head_path, checkpoint, head, attacks, smooth: args.smooth, settings, out };
    if let Some(file) = &args.adversaries {
        return in_precision!(precision, T => adversaries::run::<T>(&asked, file));
    }
    let (data, held_out) = evaluated(&asked, args.val)?;
    NamedAttack::check_classes(&asked.attacks, data.classes.len())?;
    if !args.transfer_from.is_empty() {
        return in_precision!(precision, T => transfer::run::<T>(&asked, &args.transfer_from, &data, held_out.as_ref()));
    }
    has_classes_of(&asked.head, &data)?;
    says_what_it_is_of(&asked.head, &data)?;
    let other = args.against.as_deref().map(PerImage::load).transpose()?;
    other.as_ref().map_or(Ok(()), |other| other.is_like(&data, args.smooth))?;
    interrupt::install()?;
    let (device, fitted) = (asked.settings.device()?, Fitted::of(&asked.head)?);
    let right = in_precision!(precision, T => measure::<T>(&asked, &device, &data, seeds, args.save_adversaries.as_deref()))?;
    publish(&asked, &device, fitted, &data, &right, other.as_ref())
}

/// An encoder and the head that was fitted on it, or trained with it.
fn load(path: &Path, head: Option<&Path>) -> Result<(Checkpoint, Checkpoint)> {
    let checkpoint = Checkpoint::load_encoder(path)?;
    let head = match head {
        Some(head) => Checkpoint::load_head(head)?,
        None if checkpoint.meta.kind == Kind::Classifier => checkpoint.clone(),
        None => {
            let path = path.display();
            return Err(Error::Usage(format!("{path} has no classifier; give one with --head, from `rocl linear-eval`")));
        }
    };
    if encoder_of(&head)?.is_some_and(|digest| digest != checkpoint.digest()) {
        return Err(Error::Usage(
            "the head was fitted on another encoder; fit one on this encoder with `rocl linear-eval`".to_owned(),
        ));
    }
    Ok((checkpoint, head))
}

/// A head of CIFAR-10 has nothing to say about CIFAR-100.
fn has_classes_of(head: &Checkpoint, data: &Dataset) -> Result<()> {
    let (fitted, classes) = (head.get(&format!("{LINEAR}.bias")).map(|bias| bias.shape.clone()), data.classes.len());
    match fitted.as_deref() {
        // What else is wrong with it is said where it is loaded.
        Some(&[fitted]) if fitted != classes => Err(Error::Usage(format!(
            "the head tells {fitted} classes apart, but {} has {classes}; give the --data that it was fitted on",
            data.name
        ))),
        _ => Ok(()),
    }
}

/// At least one of what `flag` says how many of.
pub(super) fn at_least_one(flag: &str, count: u32) -> Result<()> {
    if (1..=MOST).contains(&count) {
        return Ok(());
    }
    Err(Error::Usage(format!("{flag} is {count}, but must be at least 1 and at most {MOST}")))
}

/// Training images that are measured on, and what was to be trained on instead.
struct HeldOut {
    validation: Validation,
    rest: Dataset,
}

impl HeldOut {
    /// Refuses a head that was fitted on them, as far as it is known; says so where they may have trained the encoder.
    fn check(&self, checkpoint: &Checkpoint, head: &Checkpoint) -> Result<()> {
        let (fitted, expected) = (&head.meta.data, data_name(&self.rest));
        if head.meta.kind == Kind::LinearHead && encoder_of(head)?.is_some() && *fitted != expected {
            return Err(Error::Usage(format!(
                "the head was fitted on {fitted}, not on {expected}; fit one with `rocl linear-eval --val {}`",
                self.validation
            )));
        }
        may_have_seen(checkpoint, &self.rest);
        Ok(())
    }
}

/// Says so where an encoder may have been trained on the images that are held out of `rest`: it was trained on other images of that data set.
pub(super) fn may_have_seen(checkpoint: &Checkpoint, rest: &Dataset) {
    let trained = &checkpoint.meta.data;
    if *trained != data_name(rest) && data_set(trained) == data_set(&rest.name) {
        let path = checkpoint.path().display();
        note(format!("{path}: the encoder was trained on {trained}, which may include the images that are held out"));
    }
}

/// The data set's name, without what is left out of it.
fn data_set(name: &str) -> &str {
    name.split(", ").next().unwrap_or(name)
}

/// Says so where a head was fitted on another data set: as many classes need not be the same ones.
fn says_what_it_is_of(head: &Checkpoint, data: &Dataset) -> Result<()> {
    let fitted = &head.meta.data;
    if encoder_of(head)?.is_some() && data_set(fitted) != data_set(&data.name) {
        let path = head.path().display();
        note(format!("{path}: the classifier was fitted on {fitted}, and is measured on {}", data.name));
    }
    Ok(())
}

/// The test images, or those that are held out of training.
fn evaluated(asked: &Asked, held_out: Option<Validation>) -> Result<(Dataset, Option<HeldOut>)> {
    let Asked { settings, checkpoint, head, .. } = asked;
    let Some(validation) = held_out else { return Ok((settings.data(Split::Test)?, None)) };
    let (rest, data) = validation.split(&settings.data(Split::Train)?)?;
    let held_out = HeldOut { validation, rest };
    held_out.check(checkpoint, head)?;
    Ok((data, Some(held_out)))
}

/// Which images are right, by seed.
fn measure<T: Element>(asked: &Asked, device: &Device, data: &Dataset, seeds: u32, keep: Option<&Path>) -> Result<Vec<Right>> {
    let Asked { settings, checkpoint, head, attacks, smooth, .. } = asked;
    let batch = settings.recipe.evaluate.batch_size as usize;
    let smoothing = |seed| smooth.map(|views| Smoothing { views, settings: settings.recipe.augment, seed });
    let kept = keep.map_or(0, |_| size_of::<f32>() * data.images.len() * attacks.len());
    let (once, held) = (rehearsal::one_step_each(attacks), data.images.len() + checkpoint.bytes() + kept);
    asked.make_room::<T>(device, &[], held, data.classes.len(), |dry, models, batch| {
        let [Participant { encoder, head, .. }] = models else { return Ok(()) };
        let evaluation = Evaluation::new(dry, encoder.inference(), head, data, &once, batch, 0)?;
        evaluation.smoothed(smoothing(0))?.run(|_| Ok(()))?;
        // Adversaries are there once more while they are written, when the evaluation's own room is free again.
        rehearsal::held(dry, kept).map(drop)
    })?;
    let encoder = Encoder::<T>::load(device, &settings.recipe, checkpoint)?;
    let head = encoder.load_head(head, data.classes.len(), batch)?;
    let total = data.len() as u64 * attacks.len() as u64 * u64::from(seeds);
    let mut progress = Progress::new("evaluate", total, settings.quiet);
    let mut adversaries = keep.map(|_| Adversaries::of(data, attacks));
    let mut by_seed = Vec::new();
    for seed in (0..u64::from(seeds)).map(|i| settings.seed.wrapping_add(i)) {
        let evaluation = Evaluation::new(device, encoder.inference(), &head, data, attacks, batch, seed)?;
        let evaluation = evaluation.smoothed(smoothing(seed))?;
        by_seed.push(evaluation.run_and_show(|crafted| {
            progress.advance(crafted.batch.valid as u64, "");
            interrupt::check()?;
            adversaries.as_mut().map_or(Ok(()), |adversaries| adversaries.keep(crafted))
        })?);
    }
    progress.finish();
    keep.zip(adversaries).map_or(Ok(()), |(path, adversaries)| adversaries.save(path))?;
    Ok(by_seed)
}

/// Writes what was measured to files, and prints it.
fn publish(
    asked: &Asked,
    device: &Device,
    fitted: Option<Fitted>,
    data: &Dataset,
    right: &[Right],
    other: Option<&PerImage>,
) -> Result<()> {
    let Asked { path, head_path, checkpoint, attacks, settings, out, .. } = asked;
    let results = PerImage { smooth: asked.smooth, ..PerImage::new(path, data, attacks, &right[0]) };
    // Random views are other ones for each seed, so that without an attack too an image may be right for one alone.
    let accuracies = if asked.smooth.is_some() { Accuracies::of_models } else { Accuracies::new };
    let against =
        other.map(|other| Ok::<_, Error>(Versus { checkpoint: other.checkpoint.clone(), comparisons: results.against(other)? }));
    let report = Report {
        schema: report::SCHEMA,
        kind: "accuracies",
        checkpoint: path.clone(),
        head: head_path.clone(),
        trained: Trained::of(checkpoint)?,
        fitted,
        data: data.name.clone(),
        sha256: data.sha256(),
        machine: Machine::of(device),
        precision: settings.computing.precision().name(),
        seed: settings.seed,
        seeds: right.len(),
        smooth: asked.smooth,
        accuracies: accuracies(attacks, right),
        against: against.transpose()?,
    };
    if let Some(out) = out {
        report::save(out, &report)?;
        results.save(out)?;
    }
    if settings.json { print_json(&report) } else { report.print(attacks) }
}
