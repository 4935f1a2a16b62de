//! `rocl bench step`.

use super::format::{bytes, flops, percent, seconds};
use super::settings::{Header, Measuring, Subject, ceilings_line, title, under_load};
use crate::Result;
use crate::bench::ceilings::Ceilings;
use crate::bench::gauge::Load;
use crate::bench::machine::peak_resident;
use crate::bench::step::StepCost;
use crate::bench::subject;
use crate::cli::output::{print, print_json};
use crate::cli::precision::in_precision;
use crate::device::Graph;
use crate::element::Element;
use crate::report::table::Table;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  rocl bench step
  rocl bench step --width 64 --batch-size 64 --json > step.json";

/// Time one training step by phase, against what the device could do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    measuring: Measuring,
    /// Write the first step, for a peer to repeat
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
}

#[derive(serde::Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    #[serde(flatten)]
    cost: &'a StepCost,
    images_per_second: f64,
    peak_memory: PeakMemory,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
}

#[derive(serde::Serialize)]
struct PeakMemory {
    /// On the device: tensors, and on a GPU what libraries compute in.
    device_bytes: usize,
    /// The whole process.
    resident_bytes: u64,
}

/// Measures a step.
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
    args.measuring.make_room(&device, &recipe, |dry, recipe| {
        let run = subject::pretraining::<T>(dry, recipe)?;
        run.step()?;
        Ceilings::rehearse::<T>(dry)
    })?;
    // Before the ceilings' buffers, which are not the run's.
    let run = subject::pretraining::<T>(&device, &recipe)?;
    let (_, device_bytes) = device.memory_use();
    if let Some(path) = &args.dump {
        subject::dump(&run, path)?;
    }
    args.measuring.tune.settle::<T>(&device, || run.step())?;
    let mut peak_memory = PeakMemory { device_bytes, resident_bytes: 0 };
    // One step touches everything.
    run.step()?;
    device.synchronize()?;
    peak_memory.resident_bytes = peak_resident();
    let ceilings = Ceilings::measure::<T>(&device)?;
    let cost = StepCost::measure(&device, &run, &ceilings, args.measuring.repetitions())?;
    let mut graph = Graph::new(&device);
    let load = under_load(&device, || run.begin_epoch(0, 0).and_then(|()| graph.run(|| run.step())))?;
    let batch = f64::from(recipe.train.batch_size);
    let images_per_second = batch / cost.step.median;
    if args.measuring.json {
        let header = Header::new("step", &device, precision, &recipe, Some(ceilings));
        return print_json(&Report { header, cost: &cost, images_per_second, peak_memory, load });
    }
    print(title(&recipe, &device, precision))?;
    print(ceilings_line(&ceilings))?;
    print(format!("\n{}", table(&cost, &ceilings)))?;
    summary(&cost, batch, &peak_memory)?;
    load.map_or(Ok(()), |load| print(load.line("a step")))
}

fn table(cost: &StepCost, ceilings: &Ceilings) -> Table {
    let columns =
        ["phase", "median", "min", "max", "of step", "calls", "work", "of ceiling", "traffic", "of ceiling", "floor", "× floor"];
    let mut table = Table::new(columns);
    let whole = cost.work();
    let total_calls = cost.phases.iter().map(|phase| phase.calls).sum();
    let rows = cost.phases.iter().map(|p| (p.name, &p.time, p.calls, p.flops, p.bytes, p.floor));
    for (name, time, calls, work, traffic, floor) in
        rows.chain([("step", &cost.step, total_calls, whole.flops, whole.bytes, whole.floor)])
    {
        let (work, traffic) = (work as f64, traffic as f64);
        table.row([
            name.to_owned(),
            seconds(time.median),
            seconds(time.min),
            seconds(time.max),
            percent(time.median, cost.step.median),
            calls.to_string(),
            flops(work),
            percent(work / time.median, ceilings.flops_per_second),
            bytes(traffic),
            percent(traffic / time.median, ceilings.bytes_per_second),
            seconds(floor),
            format!("{:.2}", time.median / floor),
        ]);
    }
    table
}

/// The training images of CIFAR-10, and the epochs of the paper's run.
const IMAGES: f64 = 50_000.0;
const EPOCHS: f64 = 1000.0;

fn summary(cost: &StepCost, batch: f64, memory: &PeakMemory) -> Result<()> {
    let step = cost.step.median;
    let epoch = (IMAGES / batch).floor() * step;
    let work = cost.work();
    print(format!(
        "{:.1} images/s; an epoch of CIFAR-10 in {}, {EPOCHS} epochs in {:.2} h",
        batch / step,
        seconds(epoch),
        EPOCHS * epoch / 3600.0
    ))?;
    print(format!(
        "{:.1} GFLOP/s, {:.1} GB/s; {:.2} times the floor of {} (every call at the device's ceilings)",
        work.flops as f64 / step / 1e9,
        work.bytes as f64 / step / 1e9,
        step / work.floor,
        seconds(work.floor),
    ))?;
    let phases: f64 = cost.phases.iter().map(|phase| phase.time.median).sum();
    let how = if cost.graph { ", which is replayed as a graph" } else { "" };
    print(format!("the phases, each waited for, add up to {} of the step{how}", percent(phases, step)))?;
    print(format!(
        "memory: {} on the device, {} resident at most",
        bytes(memory.device_bytes as f64),
        bytes(memory.resident_bytes as f64)
    ))
}
