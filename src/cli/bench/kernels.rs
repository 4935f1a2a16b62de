//! `rocl bench kernels`.

use super::format::{bytes, flops, percent, seconds};
use super::scaling;
use super::settings::{Header, Measuring, Subject, ceilings_line, title, under_load};
use crate::bench::calls::{CallCost, Filter, kinds};
use crate::bench::ceilings::{Bound, Ceilings};
use crate::bench::gauge::Load;
use crate::bench::measure::{Sweep, seconds as timed};
use crate::bench::subject;
use crate::bench::summary::Summary;
use crate::cli::output::{print, print_json};
use crate::cli::precision::in_precision;
use crate::element::Element;
use crate::recipe::Recipe;
use crate::report::table::Table;
use crate::{Device, Error, Result};

const EXAMPLES: &str = "\
Examples:
  rocl bench kernels
  rocl bench kernels --only bn_apply --cold-cache
  rocl bench kernels --batch-sizes 8,16,32
  ncu rocl bench kernels --device cuda --only nt_xent";

/// Time every kernel and library call of a step by itself
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    measuring: Measuring,
    /// Only calls of this name; nothing else is launched
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only calls whose shape contains this
    #[arg(long, value_name = "TEXT")]
    shape: Option<String>,
    /// Fill caches with something else before each sample
    #[arg(long, conflicts_with = "access")]
    cold_cache: bool,
    /// Compare these batch sizes, such as 64,128,256
    #[arg(long, value_name = "N,N", value_delimiter = ',', conflicts_with_all = ["batch_size", "cold_cache", "access"])]
    batch_sizes: Vec<u32>,
    /// Show accesses, not times (CPU, --features access)
    #[arg(long)]
    access: bool,
}

#[derive(serde::Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    cold_cache: bool,
    step: &'a Summary,
    calls: &'a [CallCost],
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
}

/// Measures calls.
///
/// # Errors
/// Those of the settings, the run and the device; [`crate::Error::Usage`] when no call is like what was asked for.
pub fn run(args: Args) -> Result<()> {
    in_precision!(args.measuring.computing.precision(), T => measure::<T>(args))
}

fn measure<T: Element>(args: Args) -> Result<()> {
    let device = args.measuring.computing.device()?;
    if args.access {
        can_watch(&device)?;
    }
    let recipe = args.subject.recipe(device.is_host())?;
    let precision = args.measuring.computing.precision().name();
    let repetitions = args.measuring.repetitions();
    if !args.batch_sizes.is_empty() {
        let filter = Filter { only: args.only, shape: args.shape };
        return scaling::run::<T>(&device, &recipe, &args.measuring, &filter, &args.batch_sizes);
    }
    args.measuring.make_room(&device, &recipe, |dry, recipe| rehearse::<T>(dry, recipe, args.cold_cache))?;
    let run = subject::pretraining::<T>(&device, &recipe)?;
    let alone = args.only.is_some();
    let kinds = kinds(&run, &Filter { only: args.only, shape: args.shape })?;
    #[cfg(feature = "access")]
    if args.access {
        return super::access::run(&device, &recipe, precision, &kinds, args.measuring.json);
    }
    args.measuring.tune.settle::<T>(&device, || run.step())?;
    let ceilings = Ceilings::measure::<T>(&device)?;
    let whole = |_| timed(&device, || run.begin_epoch(0, 0).and_then(|()| run.step()));
    let step = Summary::of((0..repetitions.samples.min(5)).map(whole).collect::<Result<_>>()?);
    // A profiler is to see no more than it has to.
    let load = if alone { None } else { under_load(&device, || run.begin_epoch(0, 0).and_then(|()| run.step()))? };
    let sweep = args.cold_cache.then(|| Sweep::new(&device)).transpose()?;
    let mut costs = CallCost::measure(&device, &kinds, &ceilings, repetitions, sweep.as_ref())?;
    costs.sort_by(|a, b| b.per_step().total_cmp(&a.per_step()));
    if args.measuring.json {
        let header = Header::new("kernels", &device, precision, &recipe, Some(ceilings));
        return print_json(&Report { header, cold_cache: args.cold_cache, step: &step, calls: &costs, load });
    }
    print(title(&recipe, &device, precision))?;
    print(ceilings_line(&ceilings))?;
    print(format!("\n{}", table(&costs, &step)))?;
    let total: f64 = costs.iter().map(CallCost::per_step).sum();
    print(format!("these calls one by one: {} of a step of {}", percent(total, step.median), seconds(step.median)))?;
    load.map_or(Ok(()), |load| print(load.line("a step")))
}

/// All that is allocated, on a device that only plans.
pub(super) fn rehearse<T: Element>(dry: &Device, recipe: &Recipe, cold_cache: bool) -> Result<()> {
    let run = subject::pretraining::<T>(dry, recipe)?;
    run.step()?;
    Ceilings::rehearse::<T>(dry)?;
    cold_cache.then(|| Sweep::new(dry)).transpose().map(drop)
}

/// Makes sure that accesses of kernels can be shown.
fn can_watch(device: &Device) -> Result<()> {
    if cfg!(not(feature = "access")) {
        return Err(Error::Usage("--access needs kernels that can be watched; build with --features access".to_owned()));
    }
    if !device.is_host() {
        return Err(Error::Usage("--access watches kernels on the CPU; add --device cpu".to_owned()));
    }
    Ok(())
}

fn table(costs: &[CallCost], step: &Summary) -> Table {
    let mut table = Table::new(["call", "shape", "a step", "each", "of step", "traffic", "work", "floor", "of ceiling", "bound"]);
    for cost in costs {
        table.row([
            cost.name.to_owned(),
            cost.shape.clone(),
            cost.calls.to_string(),
            seconds(cost.time.median),
            percent(cost.per_step(), step.median),
            bytes(cost.bytes as f64),
            flops(cost.flops as f64),
            seconds(cost.floor),
            percent(cost.floor, cost.time.median),
            bound(cost.bound).to_owned(),
        ]);
    }
    table
}

/// As in tables.
pub(super) fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Memory => "memory",
        Bound::Arithmetic => "arithmetic",
    }
}
