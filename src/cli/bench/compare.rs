//! `rocl bench compare`.

use super::format::seconds;
use crate::bench::compare::{Compared, compare};
use crate::cli::output::{print, print_json};
use crate::report::table::Table;
use crate::{Error, Result};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  rocl bench compare before.json after.json
  rocl bench compare before.json after.json --tolerance 0.05";

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
    #[arg(long, value_name = "FRACTION", default_value_t = 0.02)]
    tolerance: f64,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

/// Compares.
///
/// # Errors
/// Those of [`compare`]; [`Error::Numeric`] after the table when something regressed.
pub fn run(args: Args) -> Result<()> {
    if args.tolerance.is_nan() || args.tolerance < 0.0 {
        return Err(Error::Usage(format!("--tolerance is {}, but must be a fraction such as 0.02", args.tolerance)));
    }
    let (rows, differences) = compare(&args.old, &args.new, args.tolerance)?;
    let regressed = rows.iter().filter(|row| row.regressed).count();
    if args.json {
        print_json(
            &serde_json::json!({ "schema": crate::bench::SCHEMA, "kind": "compare", "regressed": regressed, "times": rows }),
        )?;
    } else {
        for (what, old, new) in &differences {
            print(format!("not alike: {what} was {old}, is {new}"))?;
        }
        print(table(&rows).to_string().trim_end())?;
    }
    if regressed > 0 {
        return Err(Error::Numeric(format!(
            "{regressed} of {} times grew beyond noise and tolerance; the table says which",
            rows.len()
        )));
    }
    Ok(())
}

fn table(rows: &[Compared]) -> Table {
    let mut table = Table::new(["time", "old", "new", "new/old", "95 % from", "to", "verdict"]);
    for row in rows {
        let ratio = &row.ratio;
        table.row([
            row.name.clone(),
            seconds(row.old),
            seconds(row.new),
            format!("{:.3}", ratio.ratio),
            format!("{:.3}", ratio.low),
            format!("{:.3}", ratio.high),
            if row.regressed {
                "SLOWER"
            } else if ratio.high < 1.0 {
                "faster"
            } else {
                "same"
            }
            .to_owned(),
        ]);
    }
    table
}
