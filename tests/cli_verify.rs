//! `rocl verify` as a program: what it prints, and its exit codes.

mod common;

use common::altered::Altered;
use common::{committed, root};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const RECORDING: &str = "resnet18_w8_b4.safetensors";

fn verify(file: &Path, more: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(common::program());
    let output = command.arg("verify").arg(file).args(more).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The columns that do not depend on the machine: quantity, measure, allowed and verdict; other lines as they are.
fn columns(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().filter(|line| !line.starts_with('─'));
    rows.map(|line| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        match cells[..] {
            [quantity, measure, _found, allowed, verdict, ..] => vec![quantity, measure, allowed, verdict],
            _ => vec![line],
        }
    })
    .collect()
}

#[test]
fn a_recording_passes_and_the_documentation_shows_its_rows() {
    let (code, stdout, stderr) = verify(&committed(RECORDING), &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let page = std::fs::read_to_string(root().join("docs/verify.md")).unwrap();
    let shown = page.split("<!-- verify output -->\n```\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(columns(shown), columns(&stdout));
    assert!(stdout.contains(", 49 of 64 tensors\n") && stdout.contains("  1 of 20 steps\n"));
    assert!(stdout.contains("attack/grad") && !stdout.contains("FAILS"));
}

#[test]
fn json_has_a_row_for_each_quantity() {
    let (code, stdout, stderr) = verify(&committed(RECORDING), &["--json"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["schema"], &report["passed"], &report["exact"]), (&1.into(), &true.into(), &false.into()));
    assert!(report["absent"].as_array().unwrap().contains(&"step2/*".into()));
    let rows = report["rows"].as_array().unwrap();
    let worst = rows.iter().find(|row| row["name"] == "step1/grad" && row["measure"] == "worst").unwrap();
    assert!(worst["tensor"].as_str().unwrap().starts_with("model/") && worst["passed"] == true);
    assert_eq!(worst["coverage"], serde_json::json!({"compared": 49, "of": 64, "unit": "tensors"}));
    assert!(worst["found"].as_f64().unwrap() <= worst["allowed"].as_f64().unwrap());
}

#[test]
fn what_is_too_far_off_fails_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("altered.safetensors");
    Altered::of(&committed(RECORDING)).changed("eval/x1/feat", |_, value| value * 1.001).save(&path);
    let (code, stdout, stderr) = verify(&path, &[]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: 1 of ") && stderr.contains("further from the recording than allowed"), "{stderr}");
    let failed: Vec<_> = stdout.lines().filter(|line| line.contains("FAILS")).collect();
    assert!(failed.len() == 1 && failed[0].starts_with("eval/x1/feat"), "{failed:?}");

    // JSON has no infinity.
    Altered::of(&committed(RECORDING)).zeros("eval/x1/feat", &[0]).save(&path);
    let (code, stdout, _) = verify(&path, &["--json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let row = report["rows"].as_array().unwrap().iter().find(|row| row["name"] == "eval/x1/feat").unwrap();
    assert_eq!((&report["passed"], &row["passed"], &row["found"]), (&false.into(), &false.into(), &Value::Null));
}

#[test]
fn sixteen_bits_of_a_narrow_network_are_referred_to_fp32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("altered.safetensors");
    for (name, width) in [("resnet18_w2_b2", 8), ("resnet50_w2_b2", 4)] {
        Altered::of(&committed(&format!("{name}.safetensors"))).changed("eval/x1/feat", |_, value| 2.0 * value).save(&path);
        let (code, _, stderr) = verify(&path, &["--precision", "bf16"]);
        let expected = format!("in 16 bits are for a width from {width} on, and this network's is 2: verify it in fp32");
        assert!(code == 1 && stderr.contains(&expected), "{name}: {stderr}");
        let (code, _, stderr) = verify(&path, &[]);
        assert!(code == 1 && stderr.ends_with("; the report says which\n"), "{name}: {stderr}");
    }
}

/// The first line on standard error, behind nothing on standard output.
#[track_caller]
fn refused(file: &Path, more: &[&str], code: i32, expected: &str) {
    let (got, stdout, stderr) = verify(file, more);
    assert!(stderr.starts_with("error: ") && stderr.contains(expected) && !stderr.contains("panicked"), "{stderr}");
    assert_eq!((got, stdout.as_str()), (code, ""), "{stderr}");
}

#[test]
fn unusable_files_and_flags_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.safetensors");
    let whole = std::fs::read(committed(RECORDING)).unwrap();
    for kept in [0, 5, 1000, whole.len() - 1] {
        std::fs::write(&path, &whole[..kept]).unwrap();
        refused(&path, &[], 1, "damaged.safetensors: is not a recording in safetensors format");
    }
    refused(&folder.path().join("absent"), &["--json"], 1, "give the path of a recording");
    Altered::of(&committed(RECORDING)).set("lr", "0").save(&path);
    refused(&path, &[], 1, "`lr` in its metadata is 0");
    refused(&path, &["--precision", "fp8"], 2, "fp16");
    refused(&committed(RECORDING), &["--precision", "tf32"], 2, "choose fp32, fp16 or bf16");
}
