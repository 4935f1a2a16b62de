//! `rocl verify`.

use super::common::Computing;
use super::output::{print, print_json};
use super::precision::{Precision, in_precision};
use super::room::{Job, Leeway};
use crate::recipe::verify::{Coverage, Recording, Row, Subject, Tolerances, absent, verify};
use crate::report::table::Table;
use crate::{Device, Error, Result};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  rocl verify tests/golden/resnet18_w8_b4.safetensors
  rocl verify recording.safetensors --precision bf16 --json";

/// Replay a recording of the authors' code, quantity by quantity
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The recording; NAME_f64.safetensors beside it is used too
    #[arg(value_name = "FILE")]
    recording: PathBuf,
    #[command(flatten)]
    computing: Computing,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Report<'a> {
    schema: u32,
    recording: &'a std::path::Path,
    exact: bool,
    device: String,
    passed: bool,
    rows: &'a [Row],
    absent: &'a [String],
}

/// Verifies the engine.
///
/// # Errors
/// [`Error::Usage`] for a precision without tolerances; [`Error::File`] for an unusable recording; [`Error::Numeric`] when a quantity is
/// further off than allowed.
pub fn run(args: Args) -> Result<()> {
    if args.computing.precision() == Precision::Tf32 {
        let message = "--precision tf32 has no tolerances, and those of fp32 are too narrow for it; choose fp32, fp16 or bf16";
        return Err(Error::Usage(message.to_owned()));
    }
    let device = args.computing.device()?;
    let recording = Recording::open(&args.recording)?;
    let recipe = recording.recipe()?;
    let (architecture, width, batch_size) = (recipe.network.architecture, recipe.network.width, recipe.train.batch_size);
    let (rows, least_width) = in_precision!(args.computing.precision(), T => {
        let verify = |device: &Device| verify::<T>(device, &recording, &Subject::default(), &Tolerances::of::<T>(architecture));
        let needs = |_| device.needs(|dry| verify(dry).map(drop));
        let job = Job { batch_size, leeway: Leeway::Nothing("a recording states its batch size"), needs: &needs };
        // Quietly: the table is what this is about, and recordings are small.
        args.computing.make_room(&device, &job, true)?;
        (verify(&device)?, Tolerances::least_width::<T>(architecture))
    });
    let absent = absent(&rows);
    let failed = rows.iter().filter(|row| !row.passed).count();
    if args.json {
        let (exact, device) = (recording.has_exact(), device.description());
        let passed = failed == 0;
        print_json(&Report { schema: 1, recording: &args.recording, exact, device, passed, rows: &rows, absent: &absent })?;
    } else {
        let mut table = Table::new(["quantity", "measure", "found", "allowed", "verdict", "of"]);
        for row in &rows {
            let verdict = if row.passed { "ok" } else { "FAILS" };
            let (found, allowed) = (format!("{:.1e}", row.found), format!("{:e}", row.allowed));
            table.row([row.name.as_str(), row.measure.name(), &found, &allowed, verdict, &of(row)]);
        }
        print(table.to_string().trim_end())?;
        if !absent.is_empty() {
            print(format!("not in the recording, so not compared: {}", absent.join(", ")))?;
        }
    }
    if failed == 0 {
        return Ok(());
    }
    let mut message = format!("{failed} of {} quantities are further from the recording than allowed", rows.len());
    message += &if width < least_width {
        format!("; tolerances in 16 bits are for a width from {least_width} on, and this network's is {width}: verify it in fp32")
    } else {
        "; the report says which".to_owned()
    };
    Err(Error::Numeric(message))
}

/// Which tensor the worst error is of, and how much of a quantity the row goes over.
fn of(row: &Row) -> String {
    let coverage = row.coverage.map(|Coverage { compared, of, unit }| format!("{compared} of {of} {unit}"));
    let parts: Vec<String> = row.tensor.iter().cloned().chain(coverage).collect();
    parts.join(", ")
}
