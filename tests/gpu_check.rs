//! The reports of `tools/gpu_check`: what failed has failed, whatever else did not; a later part goes on with an earlier one; kernels pass by the tests
//! that launched them.

#![allow(dead_code, reason = "the parts that are not tested here")]

#[path = "../tools/gpu_check/kernels.rs"]
mod kernels;
#[path = "../tools/gpu_check/report.rs"]
mod report;
#[path = "../tools/gpu_check/stage.rs"]
mod stage;

use report::{Machine, Report};
use rocl::device::kernel_status::{Status, gpu_elements};
use rocl::device::launch::KERNELS;
use serde_json::Value;
use stage::{Stage, Verdict};
use std::path::Path;
use std::time::Duration;

fn machine() -> Machine {
    let text = |text: &str| text.to_owned();
    Machine {
        device: text("cuda:0"),
        card: text("Some Card"),
        architecture: text("sm_90"),
        commit: text("abc"),
        ..Machine::default()
    }
}

fn shell(name: &str, script: &str) -> Stage {
    Stage::new(name, "sh", &["-c", script], 60)
}

fn read(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

#[test]
fn a_stage_fails_times_out_or_is_skipped_and_the_next_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = Report::open(folder.path(), machine(), "today".to_owned(), |_| true);
    let endless = Stage { limit: Duration::from_millis(100), ..shell("endless", "echo begun; sleep 60 & wait") };
    // A tool that cannot work there says so; when it works, the same words are no excuse.
    let refusal = Some("Device not supported");
    let refusing = Stage { refusal, ..shell("refusing", "echo 'Error: Device not supported'; exit 1") };
    let finding = Stage { refusal, ..shell("finding", "echo 'Invalid write of size 4'; exit 9") };
    for (stage, verdict, pass, tail) in [
        (refusing, Verdict::Skipped, true, "Error: Device not supported\nit does not work on this machine"),
        (finding, Verdict::Failed, false, "Invalid write of size 4\nexit status: 9"),
        (shell("good", "echo \"$NOTE\" says \\\"yes\\\"").with("NOTE", "it"), Verdict::Passed, true, "it says \"yes\""),
        (shell("bad", "echo oh >&2; exit 3"), Verdict::Failed, false, "oh\nexit status: 3"),
        (endless, Verdict::TimedOut, false, "begun\nended after 0.1 s, its limit"),
        (Stage::new("absent", "/nonexistent/program", &[], 60), Verdict::Failed, false, "/nonexistent/program: "),
        (shell("needy", "exit 1").unless(Some("no tool".to_owned())), Verdict::Skipped, true, "no tool"),
        (shell("last", "true"), Verdict::Passed, true, ""),
    ] {
        let outcome = stage.run(folder.path());
        assert_eq!((outcome.verdict, outcome.pass), (verdict, pass), "{outcome:?}");
        assert!(outcome.tail.starts_with(tail), "{outcome:?}");
        report.add(outcome);
        report.write(folder.path()).unwrap();
    }
    let json = read(folder.path());
    assert_eq!(
        (&json["schema"], &json["pass"], &json["card"], &json["commit"]),
        (&1.into(), &false.into(), &"Some Card".into(), &"abc".into())
    );
    let stages = json["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 8);
    assert_eq!(stages[2]["command"], "NOTE=it sh -c echo \"$NOTE\" says \\\"yes\\\"");
    assert_eq!(stages[4]["verdict"], "timed_out");
}

#[test]
fn a_later_part_replaces_what_it_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let check = |machine: Machine, stages: &[Stage]| {
        let mut report = Report::open(folder.path(), machine, "today".to_owned(), |name| name != "b");
        stages.iter().for_each(|stage| report.add(stage.run(folder.path())));
        report.write(folder.path()).unwrap();
        (report.pass, report.stages.len())
    };
    assert_eq!(check(machine(), &[shell("a", "false"), shell("b", "true")]), (false, 2));
    assert_eq!(check(machine(), &[shell("c", "true")]), (false, 2), "a still fails, and b is no stage any more");
    assert_eq!(check(machine(), &[shell("a", "true")]), (true, 2));
    // What other programs showed says nothing about these.
    let other = Machine { commit: "def".to_owned(), ..machine() };
    assert_eq!(check(other, &[shell("c", "true")]), (true, 1));
}

#[test]
fn a_kernel_passes_with_all_tests_that_launched_it() {
    let known = [("pgd", "f32"), ("pgd", "f16"), ("copy", "f32"), ("unused", "f32")];
    let known = known.map(|(kernel, element)| (kernel.to_owned(), element.to_owned())).into();
    let launch = |kernel: &str, element: &str, test: &str| {
        serde_json::json!({ "kernel": kernel, "element": element, "test": test }).to_string() + "\n"
    };
    let launches = [
        launch("pgd", "f32", "steps"),
        launch("pgd", "f32", "edges"),
        launch("pgd", "f16", "steps"),
        launch("copy", "f32", "cut_off"),
        launch("conv_fprop", "f32", "steps"),
    ];
    let output = "running 2 tests\ntest steps ... ok\ntest edges ... FAILED\n\ntest result: FAILED. 1 passed";
    let entries = kernels::entries(&launches.concat(), output, &known, &machine(), "2026-01-01T00:00:00Z");
    let verdicts: Vec<_> = entries.iter().map(|entry| (entry.kernel.as_str(), entry.element.as_str(), entry.pass)).collect();
    // Nothing is known of what was not launched; a library call is no kernel; a test that did not end has not passed.
    assert_eq!(verdicts, [("copy", "f32", false), ("pgd", "f16", true), ("pgd", "f32", false)]);

    let mut status = Status { schema: 1, kernels: Vec::new() };
    assert_eq!(status.summary(), "not yet run on a GPU");
    status.update(entries.clone());
    assert_eq!(status.summary(), "2 kernels have run on sm_90, last on Some Card (2026-01-01T00:00:00Z); failing: copy, pgd");
    let repaired = entries.iter().map(|entry| rocl::device::kernel_status::KernelStatus { pass: true, ..entry.clone() });
    status.update(repaired.collect());
    assert_eq!(status.kernels.len(), 3, "replaced, not added");
    assert!(!status.summary().contains("failing"));
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(Status::parse(&json).unwrap(), status);
    assert!(Status::parse("{").unwrap_err().to_string().contains("status.json cannot be read"));
}

/// The recorded state is about kernels that there are.
#[test]
fn the_recorded_kernels_exist() {
    for status in Status::recorded().unwrap().kernels {
        let kernel = KERNELS.iter().find(|kernel| kernel.name == status.kernel).unwrap_or_else(|| panic!("{status:?}"));
        assert!(gpu_elements(kernel).contains(&status.element.as_str()), "{status:?}");
    }
    let of = |name: &str| gpu_elements(KERNELS.iter().find(|kernel| kernel.name == name).unwrap());
    assert_eq!(of("bn_apply"), ["f32", "f16", "bf16"]);
    assert_eq!(of("pgd_linf_step"), ["f32"]);
}
