//! `rocl bench kernels`.

use super::format::{bytes, flops, percent, seconds, signed_percent};
use super::scaling;
use super::settings::{Header, Measuring, Subject, ceilings_line, title, under_load};
use crate::bench::calls::{CallCost, Filter, JudgedCall, Kind, alike, kinds};
use crate::bench::ceilings::{Bound, Ceilings};
use crate::bench::gauge::Load;
use crate::bench::measure::{Repetitions, Sweep, seconds as timed};
use crate::bench::model::Basis;
use crate::bench::subject;
use crate::bench::summary::Summary;
use crate::cli::common::whole;
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
    /// Launch calls of this name alone, for a profiler
    #[arg(long, value_name = "NAME", conflicts_with = "batch_sizes")]
    only: Option<String>,
    /// Show only calls whose shape contains this
    #[arg(long, value_name = "TEXT")]
    shape: Option<String>,
    /// Fill caches with something else before each sample
    #[arg(long, conflicts_with = "access")]
    cold_cache: bool,
    /// Compare these batch sizes, such as 64,128,256
    #[arg(long, value_name = "N,N", value_parser = whole, value_delimiter = ',', conflicts_with_all = ["batch_size", "cold_cache", "access"])]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<&'a Basis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a Summary>,
    calls: &'a [JudgedCall],
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<&'a Load>,
}

/// What the calls are set against; a profiler, which is to see one of them alone, goes without.
struct Surroundings {
    ceilings: Ceilings,
    step: Summary,
    load: Option<Load>,
}

impl Surroundings {
    fn measure<T: Element>(device: &Device, repetitions: Repetitions, step: impl Fn() -> Result<()>) -> Result<Self> {
        let ceilings = Ceilings::measure::<T>(device)?;
        let times = (0..repetitions.samples).map(|_| timed(device, &step)).collect::<Result<_>>()?;
        Ok(Self { ceilings, step: Summary::of(times), load: under_load(device, step)? })
    }
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
    let filter = Filter { only: args.only, shape: args.shape };
    if !args.batch_sizes.is_empty() {
        return scaling::run::<T>(&device, &recipe, &args.measuring, &filter, &args.batch_sizes);
    }
    let alone = filter.only.is_some() && !args.access;
    args.measuring.make_room(&device, &recipe, |dry, recipe| rehearse::<T>(dry, recipe, args.cold_cache, alone))?;
    let (run, kinds) = if alone {
        let (run, calls) = subject::planned::<T>(&device, &recipe)?;
        (run, alike(calls, &filter)?)
    } else {
        let run = subject::pretraining::<T>(&device, &recipe)?;
        let kinds = kinds(&run, &filter)?;
        (run, kinds)
    };
    #[cfg(feature = "access")]
    if args.access {
        return super::access::run(&device, &recipe, precision, &kinds, args.measuring.json);
    }
    let step = || run.begin_epoch(0, 0).and_then(|()| run.step());
    let once = |kinds: &[Kind]| kinds.iter().try_for_each(|kind| kind.call.repeat());
    args.measuring.tune.settle::<T>(&device, || if alone { once(&kinds) } else { step() })?;
    let around = (!alone).then(|| Surroundings::measure::<T>(&device, repetitions, step)).transpose()?;
    let sweep = args.cold_cache.then(|| Sweep::new(&device)).transpose()?;
    let mut costs = CallCost::measure(&device, &kinds, repetitions, sweep.as_ref())?;
    costs.sort_by(|a, b| b.per_step().total_cmp(&a.per_step()));
    let ceilings = around.as_ref().map(|around| around.ceilings);
    let basis = Basis::of(&device, precision, ceilings);
    let calls: Vec<JudgedCall> = costs.into_iter().map(|cost| JudgedCall::new(cost, ceilings.as_ref(), basis.as_ref())).collect();
    if args.measuring.json {
        let header = Header::new("kernels", &device, precision, &recipe, ceilings);
        let (step, load) = (around.as_ref().map(|a| &a.step), around.as_ref().and_then(|a| a.load.as_ref()));
        return print_json(&Report {
            header,
            cold_cache: args.cold_cache,
            prediction: basis.as_ref(),
            step,
            calls: &calls,
            load,
        });
    }
    print(title(&recipe, &device, precision))?;
    ceilings.map_or(Ok(()), |ceilings| print(ceilings_line(&ceilings)))?;
    basis.filter(|basis| Some(basis.ceilings) != ceilings).map_or(Ok(()), |basis| print(basis_line(&basis)))?;
    print(format!("\n{}", table(&calls, around.as_ref().map(|around| &around.step)).to_string().trim_end()))?;
    let Some(Surroundings { step, load, .. }) = around else { return Ok(()) };
    print(totals(&calls, &step))?;
    load.map_or(Ok(()), |load| print(load.line("a step")))
}

/// All that is allocated, on a device that only plans: for calls `alone`, or for all that they are set against besides.
pub(super) fn rehearse<T: Element>(dry: &Device, recipe: &Recipe, cold_cache: bool, alone: bool) -> Result<()> {
    let run = subject::pretraining::<T>(dry, recipe)?;
    run.step()?;
    if !alone {
        Ceilings::rehearse::<T>(dry)?;
    }
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

/// One line on whose ceilings predict.
fn basis_line(Basis { by, ceilings }: &Basis) -> String {
    format!(
        "predicted for {by}: copy {:.1} GB/s, product {:.1} GFLOP/s",
        ceilings.bytes_per_second / 1e9,
        ceilings.flops_per_second / 1e9
    )
}

fn table(calls: &[JudgedCall], step: Option<&Summary>) -> Table {
    let head = ["call", "shape", "a step", "of step", "traffic", "work", "predicted", "measured", "error", "of ceiling", "bound"];
    let mut table = Table::new(head);
    let known = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    for JudgedCall { cost, floor, bound: binding, predicted, error } in calls {
        table.row([
            cost.name.to_owned(),
            cost.shape.clone(),
            cost.calls.to_string(),
            known(step.map(|step| percent(cost.per_step(), step.median))),
            bytes(cost.bytes as f64),
            flops(cost.flops as f64),
            known(predicted.map(seconds)),
            seconds(cost.time.median),
            known(error.map(signed_percent)),
            known(floor.map(|floor| percent(floor, cost.time.median))),
            known(binding.map(|binding| bound(binding).to_owned())),
        ]);
    }
    table
}

/// One line on all calls together.
fn totals(calls: &[JudgedCall], step: &Summary) -> String {
    let measured: f64 = calls.iter().map(|call| call.cost.per_step()).sum();
    let predicted: f64 = calls.iter().filter_map(|call| Some(call.cost.calls as f64 * call.predicted?)).sum();
    format!(
        "these calls one by one: predicted {}, measured {} ({}), {} of a step of {}",
        seconds(predicted),
        seconds(measured),
        signed_percent(measured / predicted - 1.0),
        percent(measured, step.median),
        seconds(step.median)
    )
}

/// As in tables.
pub(super) fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Memory => "memory",
        Bound::Arithmetic => "arithmetic",
    }
}
