//! `rocl bench compare`.

use super::format::seconds;
use crate::bench::compare::{Comparison, Verdict, compare};
use crate::cli::output::{note, print, print_json};
use crate::report::table::Table;
use crate::{Error, Result};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  rocl bench compare before.json after.json
  rocl bench compare before.json after.json --tolerance 0.05
  rocl bench compare t4.json h200.json --unlike";

/// Compare two reports of `--json`: exit code 1 when something became slower
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The report from before
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The report from after
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Slower by up to this fraction is no regression
    #[arg(long, value_name = "FRACTION", default_value_t = 0.02, value_parser = number)]
    tolerance: f64,
    /// Compare other recipes, precisions or machines, without a verdict
    #[arg(long)]
    unlike: bool,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

/// Whether it is a fraction is said later.
fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "give a number such as 0.02".to_owned())
}

#[derive(serde::Serialize)]
struct Report<'a> {
    schema: u32,
    kind: &'static str,
    regressed: usize,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// Compares.
///
/// # Errors
/// Those of [`compare`]; [`Error::Usage`] when no time has enough samples to be judged; [`Error::Numeric`] after the table when something regressed.
pub fn run(args: Args) -> Result<()> {
    if args.tolerance.is_nan() || args.tolerance < 0.0 {
        return Err(Error::Usage(format!("--tolerance is {}, but must be a fraction such as 0.02", args.tolerance)));
    }
    let comparison = compare(&args.old, &args.new, args.tolerance, args.unlike)?;
    let (rows, regressed) = (comparison.times.len(), comparison.regressed());
    if let Some((few, samples)) = comparison.too_few_samples() {
        let message =
            format!("{few} of {rows} times have too few samples to be told from chance; measure with --repeat {samples}");
        if few == rows {
            return Err(Error::Usage(message));
        }
        note(format!("note: {message}"));
    }
    if args.json {
        print_json(&Report { schema: crate::bench::SCHEMA, kind: "compare", regressed, comparison: &comparison })?;
    } else {
        comparison.differences.iter().try_for_each(|difference| print(format!("not alike: {difference}")))?;
        comparison.unmatched.iter().try_for_each(|row| print(format!("not compared: {row}")))?;
        print(table(&comparison).to_string().trim_end())?;
    }
    if regressed > 0 {
        return Err(Error::Numeric(format!(
            "{regressed} of {rows} times grew beyond chance and tolerance; the report says which"
        )));
    }
    Ok(())
}

fn table(comparison: &Comparison) -> Table {
    let mut table = Table::new(["time", "old", "new", "new/old", "95 % from", "to", "by chance", "verdict"]);
    for row in &comparison.times {
        let ratio = &row.ratio;
        table.row([
            row.name.clone(),
            seconds(row.old),
            seconds(row.new),
            format!("{:.3}", ratio.ratio),
            format!("{:.3}", ratio.low),
            format!("{:.3}", ratio.high),
            format!("{:.1e}", row.p),
            verdict(row.verdict).to_owned(),
        ]);
    }
    table
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Slower => "SLOWER",
        Verdict::Faster => "faster",
        Verdict::Same => "same",
        Verdict::TooFewSamples => "too few samples",
        Verdict::NotJudged => "–",
    }
}
