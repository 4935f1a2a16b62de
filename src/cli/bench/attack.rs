//! `rocl bench attack`.

use super::format::seconds;
use super::settings::{Header, Measuring, Subject, title, under_load};
use crate::bench::attack::{Rung, Variation, ladder, precisions, rehearse, variations};
use crate::bench::gauge::{Load, Spread};
use crate::bench::subject;
use crate::cli::output::{print, print_json};
use crate::cli::precision::in_precision;
use crate::device::HostOptions;
use crate::element::Element;
use crate::report::table::Table;
use crate::{Device, Result};

const EXAMPLES: &str = "\
Examples:
  rocl bench attack
  rocl bench attack --width 64 --batch-size 32 --precision bf16";

/// Time the attack: how it got fast, and what each of its settings costs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    measuring: Measuring,
}

#[derive(serde::Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    ladder: &'a [Rung],
    variations: &'a [Variation],
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
}

/// Measures attacks.
///
/// # Errors
/// Those of the settings, the run and the device.
pub fn run(args: Args) -> Result<()> {
    in_precision!(args.measuring.computing.precision(), T => measure::<T>(args))
}

fn measure<T: Element>(args: Args) -> Result<()> {
    let device = args.measuring.computing.device()?;
    let recipe = args.subject.recipe(device.is_host())?;
    let precision = args.measuring.computing.precision().name();
    let repetitions = args.measuring.repetitions();
    // On a GPU the library decides what is fused.
    let options = HostOptions { fused_epilogues: false, ..args.measuring.computing.host_options()? };
    let unfused = if device.is_host() { Device::host_with(options)? } else { device.clone() };
    let precisions = precisions(&device)?;
    args.measuring.make_room(&device, &recipe, |dry, recipe| rehearse::<T>(dry, recipe, &precisions))?;
    args.measuring.tune.settle::<T>(&device, || subject::pretraining::<T>(&device, &recipe)?.step())?;
    let rungs = ladder::<T>(&device, &unfused, &recipe, repetitions)?;
    let variations = variations::<T>(&device, &recipe, &precisions, repetitions)?;
    let load = if device.is_host() {
        None
    } else {
        let run = subject::pretraining::<T>(&device, &recipe)?;
        run.draw_views()?;
        under_load(&device, || run.perturb())?
    };
    if args.measuring.json {
        let header = Header::new("attack", &device, precision, &recipe, None);
        return print_json(&Report { header, ladder: &rungs, variations: &variations, load });
    }
    print(title(&recipe, &device, precision))?;
    print(format!("\n{}", ladder_table(&rungs)))?;
    if device.is_host() {
        print("A CPU runs each step anew: the rung \"replayed as a graph\" is for GPUs.\n")?;
    }
    print(variation_table(&variations).to_string().trim_end())?;
    load.map_or(Ok(()), |load| print(load.line("an attack")))
}

fn ladder_table(rungs: &[Rung]) -> Table {
    let mut table = Table::new(["attack", "whole", "a step", "gain", "from … to", "in all", "from … to"]);
    for Rung { cost, gain, in_all } in rungs {
        let [gain, in_all] = [gain, in_all].map(|spread| spread.map_or_else(|| ["–".to_owned(), "–".to_owned()], factor));
        let time = [cost.name.clone(), seconds(cost.time.median), seconds(cost.per_step())];
        table.row(time.into_iter().chain(gain).chain(in_all));
    }
    table
}

/// The median of a factor, and between what it lies.
fn factor(Spread { min, median, max }: Spread) -> [String; 2] {
    [format!("{median:.2}×"), format!("{min:.2} … {max:.2}")]
}

fn variation_table(variations: &[Variation]) -> Table {
    let head = ["setting", "batch", "steps", "whole", "min", "max", "a step", "a step and image", "of the first", "from … to"];
    let mut table = Table::new(head);
    for Variation { cost, relative } in variations {
        let [relative, range] = relative.map_or_else(|| ["–".to_owned(), "–".to_owned()], factor);
        table.row([
            cost.name.clone(),
            cost.batch_size.to_string(),
            cost.steps.to_string(),
            seconds(cost.time.median),
            seconds(cost.time.min),
            seconds(cost.time.max),
            seconds(cost.per_step()),
            seconds(cost.per_step() / f64::from(cost.batch_size)),
            relative,
            range,
        ]);
    }
    table
}
