//! `rocl bench kernels --access`.

use super::settings::{Header, title};
use crate::Result;
use crate::bench::access::Watched;
use crate::cli::output::{print, print_json};
use crate::recipe::Recipe;
use crate::report::table::Table;
use crate::{Device, bench};

#[derive(serde::Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    launches: &'a [Watched],
}

/// Prints what was seen of the kernels.
///
/// # Errors
/// Those of the device and of printing.
pub fn run(device: &Device, recipe: &Recipe, precision: &str, kinds: &[bench::calls::Kind], json: bool) -> Result<()> {
    let launches = bench::access::of(kinds)?;
    if json {
        return print_json(&Report { header: Header::new("access", device, precision, recipe, None), launches: &launches });
    }
    print(title(recipe, device, precision))?;
    print(format!("on the grids of a GPU with 132 multiprocessors; numbers are per request of a warp\n\n{}", table(&launches)))?;
    let races: u64 = launches.iter().map(|watched| watched.launch.races).sum();
    print(match races {
        0 => "no races".to_owned(),
        _ => launches.iter().flat_map(|w| w.launch.examples.iter().map(|e| format!("{}, {e}\n", w.launch.kernel))).collect(),
    })
}

fn table(launches: &[Watched]) -> Table {
    let mut table = Table::new([
        "kernel",
        "shape",
        "a step",
        "grid",
        "requests",
        "sectors",
        "least",
        "to shared",
        "passes",
        "least",
        "lanes",
        "races",
    ]);
    for Watched { shape, calls, launch } in launches {
        let (memory, shared) = (launch.memory(), launch.shared);
        table.row([
            launch.kernel.to_owned(),
            shape.clone(),
            calls.to_string(),
            format!("{}×{}", launch.blocks, launch.threads),
            memory.requests.to_string(),
            each(memory.sectors, memory.requests),
            each(memory.least_sectors, memory.requests),
            shared.requests.to_string(),
            each(shared.wavefronts, shared.requests),
            each(shared.least_wavefronts, shared.requests),
            format!("{:.1}", 32.0 * launch.active_lanes()),
            launch.races.to_string(),
        ]);
    }
    table
}

fn each(amount: u64, requests: u64) -> String {
    if requests == 0 { "–".to_owned() } else { format!("{:.2}", amount as f64 / requests as f64) }
}
