//! Which kernels ran on the GPU and whether their tests passed, as entries of `status.json`.

use crate::report::Machine;
use rocl::device::kernel_status::KernelStatus;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A line of what the tests note (`ROCL_TEST_LAUNCHES`).
#[derive(Deserialize)]
struct Launch {
    kernel: String,
    element: String,
    test: String,
}

/// The tests that passed, by the lines `test NAME ... ok` of a test program. Something that a test prints may stand between.
fn passed(output: &str) -> BTreeSet<&str> {
    let tests = output.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    tests.filter(|(_, rest)| rest.ends_with("ok")).map(|(name, _)| name).collect()
}

/// An entry for each kernel among `known` (name and element type) that was launched. It passes when all tests that launched it did.
pub fn entries(
    launches: &str,
    output: &str,
    known: &BTreeSet<(String, String)>,
    machine: &Machine,
    date: &str,
) -> Vec<KernelStatus> {
    let passed = passed(output);
    let mut verdicts = BTreeMap::<(String, String), bool>::new();
    for launch in launches.lines().filter_map(|line| serde_json::from_str::<Launch>(line).ok()) {
        let pass = passed.contains(launch.test.as_str());
        let kind = (launch.kernel, launch.element);
        if known.contains(&kind) {
            *verdicts.entry(kind).or_insert(true) &= pass;
        }
    }
    let entry = |((kernel, element), pass)| KernelStatus {
        kernel,
        element,
        variant: "portable".to_owned(),
        architecture: machine.architecture.clone(),
        card: machine.card.clone(),
        date: date.to_owned(),
        commit: machine.commit.clone(),
        pass,
        gain: None,
    };
    verdicts.into_iter().map(entry).collect()
}
