//! `rocl bench model`.

use super::format::{bytes, flops, percent, seconds};
use super::kernels::bound;
use super::settings::Subject;
use crate::bench::cards::Card;
use crate::bench::model::{Prediction, predict};
use crate::cli::output::{print, print_json};
use crate::cli::precision::{Precision, in_precision};
use crate::report::table::Table;
use crate::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  rocl bench model --gpu h200
  rocl bench model --gpu a100 --recipe reference --batch-size 512 --json";

/// Predict a step on a GPU from shapes alone
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The card: t4, 4090, a100, l40s, h100 or h200
    #[arg(long, value_name = "NAME")]
    gpu: String,
    /// Arithmetic: fp32, tf32, fp16 or bf16
    #[arg(long, value_enum, value_name = "TYPE", hide_possible_values = true, default_value = "fp16")]
    precision: Precision,
    #[command(flatten)]
    subject: Subject,
    /// Print the prediction as JSON
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Report<'a> {
    schema: u32,
    kind: &'static str,
    card: &'a str,
    precision: &'static str,
    recipe: &'a crate::recipe::Recipe,
    #[serde(flatten)]
    prediction: &'a Prediction,
}

/// Predicts a step.
///
/// # Errors
/// [`Error::Usage`] for an unknown card or a precision that it lacks; those of the recipe.
pub fn run(args: Args) -> Result<()> {
    let card = Card::named(&args.gpu)?;
    let precision = args.precision.name();
    let ceilings = card
        .ceilings(precision)
        .ok_or_else(|| Error::Usage(format!("{} has no {precision}; choose another --precision", card.name)))?;
    let recipe = args.subject.recipe(false)?;
    let prediction = in_precision!(args.precision, T => predict::<T>(&recipe, &ceilings))?;
    if args.json {
        let schema = crate::bench::SCHEMA;
        return print_json(&Report {
            schema,
            kind: "model",
            card: &card.name,
            precision,
            recipe: &recipe,
            prediction: &prediction,
        });
    }
    print(format!(
        "{} width {}, batch of {}, {} attack steps, {precision}, predicted for {}\n{:.2} TB/s, {:.0} TFLOP/s: {}\n",
        recipe.network.architecture.title(),
        recipe.network.width,
        recipe.train.batch_size,
        recipe.attack.steps,
        card.name,
        ceilings.bytes_per_second / 1e12,
        ceilings.flops_per_second / 1e12,
        card.source,
    ))?;
    print(table(&prediction))?;
    let Prediction { seconds: step, flops: work, bytes: traffic, memory_bytes, .. } = prediction;
    let batch = f64::from(recipe.train.batch_size);
    print(format!(
        "a step takes at least {}: {}, {}; at most {:.0} images/s, 1000 epochs of CIFAR-10 in no less than {:.2} h",
        seconds(step),
        flops(work as f64),
        bytes(traffic as f64),
        batch / step,
        1000.0 * (50_000.0 / batch).floor() * step / 3600.0
    ))?;
    let room = if memory_bytes as u64 > card.memory_bytes { "more than" } else { "of" };
    print(format!("its tensors take {}, {room} the card's {}", bytes(memory_bytes as f64), bytes(card.memory_bytes as f64)))
}

/// By name, as a table by shape would fill pages: `--json` has that.
fn table(prediction: &Prediction) -> Table {
    let mut names: Vec<(&str, Vec<&crate::bench::model::Predicted>)> = Vec::new();
    for call in &prediction.calls {
        match names.iter_mut().find(|(name, _)| *name == call.name) {
            Some((_, calls)) => calls.push(call),
            None => names.push((call.name, vec![call])),
        }
    }
    let total = |calls: &[&crate::bench::model::Predicted]| calls.iter().map(|c| c.calls as f64 * c.seconds).sum::<f64>();
    names.sort_by(|(_, a), (_, b)| total(b).total_cmp(&total(a)));
    let mut table = Table::new(["call", "a step", "shapes", "traffic", "work", "at least", "of step", "bound"]);
    for (name, calls) in &names {
        let sum =
            |f: fn(&crate::bench::model::Predicted) -> u64| calls.iter().map(|c| (c.calls as u64 * f(c)) as f64).sum::<f64>();
        let most = calls.iter().max_by(|a, b| (a.calls as f64 * a.seconds).total_cmp(&(b.calls as f64 * b.seconds)));
        table.row([
            (*name).to_owned(),
            calls.iter().map(|c| c.calls).sum::<usize>().to_string(),
            calls.len().to_string(),
            bytes(sum(|c| c.bytes)),
            flops(sum(|c| c.flops)),
            seconds(total(calls)),
            percent(total(calls), prediction.seconds),
            most.map_or("", |call| bound(call.bound)).to_owned(),
        ]);
    }
    table
}
