//! `rocl demo`.

use super::common::{Common, Settings, whole};
use super::output::{print, print_json, save_json};
use super::precision::in_precision;
use super::room::{Job, Leeway};
use crate::bench::machine::Machine;
use crate::data::Split;
use crate::element::Element;
use crate::recipe::demo::{EVALUATION_SHARE, METHODS, estimate, measure, with_method};
use crate::recipe::rehearsal;
use crate::recipe::settings::Overrides;
use crate::recipe::training::{CHECKPOINT, duration};
use crate::report::table::Table;
use crate::run::{atomic, interrupt};
use crate::{Error, Result};
use std::time::Instant;

const EXAMPLES: &str = "\
Examples:
  rocl demo
  rocl demo --out demo --seed 1 --json";

/// The result, in the folder that --out names.
const SUMMARY: &str = "summary.json";

/// Images the demonstration trains on unless --limit says otherwise.
const TRAINING_IMAGES: usize = 4000;

/// Steps of the attack whose accuracies the summary has, as its keys say.
const STEPS: u32 = 20;

/// Train SimCLR and RoCL on textures, attack both; takes minutes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Passes over the training images, per method
    #[arg(long, value_name = "N", value_parser = whole)]
    epochs: Option<u32>,
    /// Channels of the network's first stage
    #[arg(long, value_name = "N", value_parser = whole)]
    width: Option<u32>,
    #[command(flatten)]
    common: Common,
}

/// `summary.json`.
#[derive(serde::Serialize)]
struct Summary {
    schema: u32,
    recipe: String,
    data: String,
    /// Of the test images' pixels, then their labels.
    sha256: String,
    machine: Machine,
    precision: &'static str,
    seed: u64,
    width: u32,
    train_images: usize,
    test_images: usize,
    epsilon: String,
    models: Vec<Model>,
    seconds: f64,
}

#[derive(serde::Serialize)]
struct Model {
    name: &'static str,
    clean: f64,
    pgd20: f64,
}

/// Runs the demonstration.
///
/// # Errors
/// [`Error::Usage`] for settings out of range or a folder that holds a demonstration already; those of training.
pub fn run(args: Args) -> Result<()> {
    let Args { common, epochs, width } = args;
    let overrides = Overrides { seed: common.seed, batch_size: common.batch_size, epochs, width, ..Overrides::default() };
    let recipe = common.recipe_or("demo@1")?.with(&overrides)?;
    if recipe.evaluate.steps != STEPS {
        let steps = recipe.evaluate.steps;
        return Err(Error::Usage(format!(
            "the demonstration reports PGD-{STEPS}, but evaluate.steps is {steps}; set it to {STEPS}"
        )));
    }
    let precision = common.computing.precision();
    let settings = common.settle(recipe, "rocl-demo")?;
    for method in METHODS {
        let path = settings.out.join(method.name()).join(CHECKPOINT);
        if path.exists() {
            return Err(Error::Usage(format!("{} is there already; choose another --out, or delete it", path.display())));
        }
    }
    interrupt::install()?;
    let start = Instant::now();
    let summary = in_precision!(precision, T => compare::<T>(&settings, start)).map_err(|error| match error {
        Error::Interrupted(_) => {
            Error::Interrupted(format!("stopped; a demonstration starts anew: delete {} first", settings.out.display()))
        }
        error => error,
    })?;
    save_json(&settings.out.join(SUMMARY), &summary)?;
    if settings.json {
        return print_json(&summary);
    }
    let mut table = Table::new(["model", "clean", &format!("PGD-{STEPS}, ε {}", summary.epsilon)]);
    for model in &summary.models {
        table.row([model.name.to_owned(), format!("{:.1} %", model.clean), format!("{:.1} %", model.pgd20)]);
    }
    print(format!("\n{table}"))?;
    print(explanation(&summary))
}

fn compare<T: Element>(settings: &Settings, start: Instant) -> Result<Summary> {
    let device = settings.device()?;
    let mut train = settings.data(Split::Train)?;
    if settings.limit.is_none() {
        train = train.take(TRAINING_IMAGES);
    }
    let test = settings.data(Split::Test)?;
    atomic::probe(&settings.out.join(SUMMARY))?;
    let recipe = &settings.recipe;
    let needs = |batch| {
        let overrides = Overrides { batch_size: Some(batch), ..Overrides::default() };
        rehearsal::demo::<T>(&device, &recipe.clone().with(&overrides)?, &train, &test)
    };
    settings.make_room(&device, &Job { batch_size: recipe.train.batch_size, leeway: Leeway::Network, needs: &needs })?;
    if !settings.json {
        let seconds = estimate::<T>(&device, recipe, &train)? * (1.0 + EVALUATION_SHARE);
        print(format!(
            "Training SimCLR and RoCL encoders ({}, width {}) on {} images of {}, seed {}, then attacking both on {} more: \
             about {} on this device ({}).",
            recipe.network.architecture.title(),
            recipe.network.width,
            train.len(),
            train.name,
            settings.seed,
            test.len(),
            duration(seconds),
            device.description()
        ))?;
    }
    let mut models = Vec::new();
    for method in METHODS {
        let accuracy = measure::<T>(&device, &with_method(recipe, method), &train, &test, &settings.out, settings.quiet)?;
        models.push(Model { name: method.name(), clean: accuracy.clean, pgd20: accuracy.pgd });
    }
    Ok(Summary {
        schema: 1,
        recipe: recipe.name.clone(),
        data: train.name.clone(),
        sha256: test.sha256(),
        machine: Machine::of(&device),
        precision: settings.computing.precision().name(),
        seed: settings.seed,
        width: recipe.network.width,
        train_images: train.len(),
        test_images: test.len(),
        epsilon: recipe.evaluate.epsilon.to_string(),
        models,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// One sentence for a reader who has never seen such a table.
fn explanation(summary: &Summary) -> String {
    let [simclr, rocl] = &summary.models[..] else { return String::new() };
    format!(
        "Both encoders learnt without labels and carry a linear classifier; a change of at most {} per pixel takes \
         SimCLR's accuracy from {:.0} % to {:.0} %, while RoCL, trained on its own adversaries, goes from {:.0} % to {:.0} % \
         ({} test images, {}).",
        summary.epsilon,
        simclr.clean,
        simclr.pgd20,
        rocl.clean,
        rocl.pgd20,
        summary.test_images,
        duration(summary.seconds)
    )
}
