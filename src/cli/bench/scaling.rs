//! `rocl bench kernels --batch-sizes`: what each kernel costs at several sizes.

use super::format::{percent, seconds};
use super::kernels::rehearse;
use super::settings::{Header, Measuring, ceilings_line};
use crate::bench::calls::{CallCost, Filter, JudgedCall, kinds};
use crate::bench::ceilings::Ceilings;
use crate::bench::model::Basis;
use crate::bench::subject;
use crate::cli::output::{print, print_json};
use crate::element::Element;
use crate::recipe::Recipe;
use crate::recipe::settings::Overrides;
use crate::report::table::Table;
use crate::{Device, Result};

#[derive(serde::Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    prediction: Option<&'a Basis>,
    sizes: &'a [Size],
}

/// The calls of a step at one size.
#[derive(serde::Serialize)]
struct Size {
    batch_size: u32,
    calls: Vec<JudgedCall>,
}

impl Size {
    /// Seconds of all calls of a name, their floor, and how many there are.
    fn total(&self, name: &str) -> (f64, f64, usize) {
        let calls = self.calls.iter().filter(|call| call.cost.name == name);
        calls.fold((0.0, 0.0, 0), |(time, floor, calls), JudgedCall { cost, floor: each, .. }| {
            (time + cost.per_step(), floor + cost.calls as f64 * each.unwrap_or_default(), calls + cost.calls)
        })
    }
}

/// Measures all calls at each size.
///
/// # Errors
/// Those of the settings, the run and the device.
pub fn run<T: Element>(device: &Device, recipe: &Recipe, measuring: &Measuring, filter: &Filter, sizes: &[u32]) -> Result<()> {
    let precision = measuring.computing.precision().name();
    let of = |batch_size| recipe.clone().with(&Overrides { batch_size: Some(batch_size), ..Overrides::default() });
    let recipes = sizes.iter().map(|&size| of(size)).collect::<Result<Vec<_>>>()?;
    // The largest needs the most.
    let recipe = recipes.iter().max_by_key(|recipe| recipe.train.batch_size).unwrap_or(recipe);
    measuring.make_room(device, recipe, |dry, recipe| rehearse::<T>(dry, recipe, false, false))?;
    let ceilings = Ceilings::measure::<T>(device)?;
    let basis = Basis::of(device, precision, Some(ceilings));
    let at = |recipe: &Recipe| -> Result<Size> {
        let run = subject::pretraining::<T>(device, recipe)?;
        measuring.tune.settle::<T>(device, || run.step())?;
        let kinds = kinds(&run, filter)?;
        let batch_size = recipe.train.batch_size;
        let costs = CallCost::measure(device, &kinds, measuring.repetitions(), None)?;
        let calls = costs.into_iter().map(|cost| JudgedCall::new(cost, Some(&ceilings), basis.as_ref())).collect();
        Ok(Size { batch_size, calls })
    };
    let sizes = recipes.iter().map(at).collect::<Result<Vec<_>>>()?;
    if measuring.json {
        let header = Header::new("kernels-by-size", device, precision, recipe, Some(ceilings));
        return print_json(&Report { header, prediction: basis.as_ref(), sizes: &sizes });
    }
    print(format!(
        "{}, width {}, {precision}, on {}",
        recipe.network.architecture.title(),
        recipe.network.width,
        device.description()
    ))?;
    print(ceilings_line(&ceilings))?;
    print(format!("\n{}", table(&sizes)))
}

/// A row for each name, the dearest at the last size first.
fn table(sizes: &[Size]) -> Table {
    let columns = |what: &str| sizes.iter().map(|size| format!("{what} {}", size.batch_size)).collect::<Vec<_>>();
    let head = [vec!["call".to_owned(), "calls".to_owned()], columns("batch of"), columns("of ceiling,")].concat();
    let mut table = Table::new(head);
    let mut names: Vec<&str> = sizes.iter().flat_map(|size| size.calls.iter().map(|call| call.cost.name)).collect();
    names.sort_unstable();
    names.dedup();
    if let Some(last) = sizes.last() {
        names.sort_by(|a, b| last.total(b).0.total_cmp(&last.total(a).0));
    }
    for name in names {
        let totals: Vec<(f64, f64, usize)> = sizes.iter().map(|size| size.total(name)).collect();
        let mut row = vec![name.to_owned(), totals.last().map_or(0, |(.., calls)| *calls).to_string()];
        row.extend(totals.iter().map(|(time, ..)| seconds(*time)));
        row.extend(totals.iter().map(|(time, floor, _)| percent(*floor, *time)));
        table.row(row);
    }
    table
}
