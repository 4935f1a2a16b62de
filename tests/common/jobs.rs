//! The program as a process, on jobs at toy scale.

#![allow(dead_code, reason = "not every test needs everything")]

use crate::common;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Jobs small enough for a test: 64 images, 2 channels, batches of 16. On the CPU, GPU or not.
pub const TOY: [&str; 8] = ["--limit", "64", "--threads", "2", "--batch-size", "16", "--device", "cpu"];

pub struct Job {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(common::program());
    command.args(arguments).stdin(Stdio::null());
    command
}

pub fn finished(output: Output) -> Job {
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!stderr.contains("panicked") && !stdout.contains("panicked"), "{stderr}");
    Job { code: output.status.code(), stdout, stderr }
}

pub fn rocl(arguments: &[&str]) -> Job {
    finished(command(arguments).output().unwrap())
}

/// Runs to a good end, and returns what was printed.
#[track_caller]
pub fn succeeds(arguments: &[&str]) -> String {
    let job = rocl(arguments);
    assert_eq!(job.code, Some(0), "{arguments:?}: {}", job.stderr);
    job.stdout
}

/// The one line of JSON that is printed.
#[track_caller]
pub fn json(arguments: &[&str]) -> Value {
    let stdout = succeeds(&[arguments, &["--json"]].concat());
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// Ends with `code` and a sentence that contains `expected`.
#[track_caller]
pub fn refused(arguments: &[&str], code: i32, expected: &str) {
    let Job { code: found, stdout, stderr } = rocl(arguments);
    assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{arguments:?}: {stderr}");
    assert_eq!((found, stdout.as_str()), (Some(code), ""), "{arguments:?}: {stderr}");
}

pub fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// A recipe for toys: the demonstration's with a short attack.
pub fn recipe(folder: &Path) -> String {
    let mut recipe = rocl::recipe::Recipe::load("demo@1").unwrap();
    recipe.name = "toy".to_owned();
    recipe.network.width = 2;
    recipe.train.epochs = 1;
    recipe.attack.steps = 2;
    recipe.evaluate.steps = 2;
    recipe.linear_eval.epochs = 3;
    recipe.linear_eval.milestones = vec![2];
    let path = path(folder, "toy.toml");
    std::fs::write(&path, recipe.to_toml().unwrap()).unwrap();
    path
}

/// `pretrain` into `folder/run`.
pub fn pretrain<'a>(recipe: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["pretrain", "--recipe", recipe, "--out", out, "--quiet"], &TOY[..], more].concat()
}

pub fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {value}"))
}
