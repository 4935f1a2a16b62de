//! The flags that benchmarks share.

use crate::bench::ceilings::Ceilings;
use crate::bench::gauge::{Gauge, LOAD, Load};
use crate::bench::machine::Machine;
use crate::bench::measure::Repetitions;
use crate::cli::common::{Computing, seed, whole, within};
use crate::cli::output::note;
use crate::cli::room::{Job, Leeway};
use crate::cli::tune::Tune;
use crate::recipe::Recipe;
use crate::recipe::settings::Overrides;
use crate::{Device, Result};
use serde::Serialize;

/// More runs than this cannot be meant: their times would not fit in memory.
const MOST_RUNS: u32 = 1_000_000;

/// At least one run.
fn samples(text: &str) -> Result<u32, String> {
    within(text, 1..=MOST_RUNS)
}

/// Any number of runs.
fn runs(text: &str) -> Result<u32, String> {
    within(text, 0..=MOST_RUNS)
}

/// Which step: a recipe, and what is changed about it.
#[derive(Debug, clap::Args)]
pub struct Subject {
    /// Preset (rocl recipe) or TOML file [default: paper]
    #[arg(long, value_name = "RECIPE", default_value = "paper", hide_default_value = true)]
    recipe: String,
    /// Channels of the first stage; on a CPU 16 by default
    #[arg(long, value_name = "N", value_parser = whole)]
    width: Option<u32>,
    /// Images per step; on a CPU 32 by default, else 256
    #[arg(long, value_name = "N", value_parser = whole)]
    batch_size: Option<u32>,
    /// Steps of the attack
    #[arg(long, value_name = "N", value_parser = whole)]
    attack_steps: Option<u32>,
    /// Seed of weights, images and views
    #[arg(long, value_name = "N", value_parser = seed)]
    seed: Option<u64>,
}

impl Subject {
    /// The recipe with the flags applied, and where none is given with sizes that the device takes in seconds.
    ///
    /// # Errors
    /// Those of [`Recipe::load`] and [`Recipe::with`].
    pub fn recipe(&self, on_host: bool) -> Result<Recipe> {
        let (width, batch) = if on_host { (Some(16), 32) } else { (None, 256) };
        Recipe::load(&self.recipe)?.with(&Overrides {
            width: self.width.or(width),
            batch_size: Some(self.batch_size.unwrap_or(batch)),
            attack_steps: self.attack_steps,
            seed: self.seed,
            ..Overrides::default()
        })
    }
}

/// How it is measured.
#[derive(Debug, clap::Args)]
pub struct Measuring {
    /// Where and how to compute
    #[command(flatten)]
    pub computing: Computing,
    #[command(flatten)]
    pub tune: Tune,
    /// Samples of each time
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = samples)]
    repeat: u32,
    /// Runs before the first sample
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = runs)]
    warmup: u32,
    /// Print the report as JSON, with every sample
    #[arg(long)]
    pub json: bool,
}

impl Measuring {
    /// Says what a benchmark needs, and refuses one that there is no room for: `rehearse` does it in name only, with a batch size of its own.
    ///
    /// # Errors
    /// Those of [`Computing::make_room`].
    pub fn make_room(&self, device: &Device, recipe: &Recipe, rehearse: impl Fn(&Device, &Recipe) -> Result<()>) -> Result<()> {
        let needs = |batch| {
            let recipe = recipe.clone().with(&Overrides { batch_size: Some(batch), ..Overrides::default() })?;
            device.needs(|dry| rehearse(dry, &recipe))
        };
        let job = Job { batch_size: recipe.train.batch_size, leeway: Leeway::Network, needs: &needs };
        self.computing.make_room(device, &job, self.json)
    }

    /// How often everything is done.
    pub fn repetitions(&self) -> Repetitions {
        Repetitions { warmup: self.warmup as usize, samples: self.repeat as usize }
    }
}

/// What every report begins with.
#[derive(Serialize)]
pub struct Header {
    schema: u32,
    kind: &'static str,
    machine: Machine,
    precision: String,
    recipe: Recipe,
    #[serde(skip_serializing_if = "Option::is_none")]
    ceilings: Option<Ceilings>,
}

impl Header {
    /// For a report of this kind.
    pub fn new(kind: &'static str, device: &Device, precision: &str, recipe: &Recipe, ceilings: Option<Ceilings>) -> Self {
        let machine = Machine::of(device);
        Self { schema: crate::bench::SCHEMA, kind, machine, precision: precision.to_owned(), recipe: recipe.clone(), ceilings }
    }
}

/// What the GPU says of itself while it does `work`; nothing on a CPU, or, after a note, where it says nothing.
///
/// # Errors
/// Those of the work and of the device.
pub fn under_load(device: &Device, work: impl FnMut() -> Result<()>) -> Result<Option<Load>> {
    let gauge = Gauge::open(device).unwrap_or_else(|reason| {
        note(format!("note: {reason}"));
        None
    });
    gauge.map(|gauge| gauge.load(LOAD, work)).transpose()
}

/// One line on what the tables that follow are about.
pub fn title(recipe: &Recipe, device: &Device, precision: &str) -> String {
    let (network, train) = (&recipe.network, &recipe.train);
    format!(
        "{} width {}, batch of {}, {} attack steps, {precision}, on {}",
        network.architecture.title(),
        network.width,
        train.batch_size,
        recipe.attack.steps,
        device.description()
    )
}

/// One line on the ceilings.
pub fn ceilings_line(ceilings: &Ceilings) -> String {
    format!(
        "ceilings, measured now: copy {:.1} GB/s, product {:.1} GFLOP/s",
        ceilings.bytes_per_second / 1e9,
        ceilings.flops_per_second / 1e9
    )
}
