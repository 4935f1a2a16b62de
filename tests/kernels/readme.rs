//! The table in `kernels/README.md` lists the kernels there are, each in its file.

use crate::common;
use rocl::device::kernel_status::Status;
use rocl::device::launch::KERNELS;

#[test]
fn the_table_of_kernels_is_complete() {
    let text = std::fs::read_to_string(common::root().join("kernels/README.md")).unwrap();
    let (_, table) = text.split_once("| file | kernel |").unwrap();
    let mut file = "";
    let mut listed = Vec::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [first, name, .., cooperative, _] = cells[..] else { panic!("not a row of the table: {row}") };
        file = if first.is_empty() { file } else { first };
        listed.push((file.to_owned(), name.trim_matches('`').to_owned(), cooperative == "yes"));
    }
    // The ladder's have their own pages.
    let engine = KERNELS.iter().map(|kernel| (kernel, kernel.file.strip_prefix("kernels/").unwrap()));
    let engine = engine.filter(|(_, file)| !file.starts_with("ladder/"));
    let mut kernels: Vec<_> = engine.map(|(k, file)| (file.to_owned(), k.name.to_owned(), k.cooperative)).collect();
    listed.sort();
    kernels.sort();
    assert_eq!(listed, kernels);
}

#[test]
fn the_state_on_gpus_is_the_recorded_one() {
    let text = std::fs::read_to_string(common::root().join("kernels/README.md")).unwrap();
    let shown = text.split("<!-- status -->").nth(1).unwrap().split("<!-- /status -->").next().unwrap();
    assert_eq!(shown.trim(), format!("State of all kernels: {}.", Status::recorded().unwrap().summary()));
}
