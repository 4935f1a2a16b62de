//! How tests find devices, files and the program (`tests/common/`).

mod common;

use common::devices::TestDevice::{Cpu, Cuda, Simulated};
use common::devices::{VARIABLE, parse};
use std::process::Command;

#[test]
fn lists_of_devices_are_understood() {
    for (list, devices) in [
        ("cpu,simulated", &[Cpu, Simulated][..]),
        (" cuda , cpu,cuda:0", &[Cuda(0), Cpu]),
        ("cuda:1,cuda:0", &[Cuda(1), Cuda(0)]),
    ] {
        assert_eq!(parse(list).unwrap(), devices, "{list}");
    }
    for (list, part) in [
        ("gpu", "names \"gpu\"; it can name"),
        ("cuda:x", "names \"cuda:x\""),
        (" ,", "names no device"),
        ("cuda,simulated", "either the simulated driver or a real one"),
    ] {
        let message = parse(list).unwrap_err();
        assert!(message.starts_with(VARIABLE) && message.contains(part), "{message}");
    }
    assert!(Cuda(0).computes_in::<f32>() && !Cuda(0).computes_in::<f64>() && Simulated.computes_in::<f64>());
}

/// Set for the process that is to end.
const INNER: &str = "ROCL_TEST_OF_DEVICES";

/// One sentence for the whole program, not a failure of each of its tests.
#[test]
fn a_list_that_cannot_be_meant_ends_the_program() {
    if std::env::var_os(INNER).is_some() {
        common::devices::chosen();
        return;
    }
    let mut this = Command::new(std::env::current_exe().unwrap());
    this.args(["--exact", "a_list_that_cannot_be_meant_ends_the_program"]).env(INNER, "1").env(VARIABLE, "cuda,simulated");
    let output = this.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
}

#[test]
fn files_are_found_where_the_tests_are_started() {
    if std::env::var_os("ROCL_ROOT").is_none() {
        assert_eq!(common::root(), std::env::current_dir().unwrap(), "cargo starts tests in the repository");
    }
    assert!(common::committed("resnet18_w8_b4.safetensors").exists() && common::root().join("kernels/README.md").exists());
}
