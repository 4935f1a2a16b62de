//! The program, driven as a process: what it says to misuse, and its exit codes.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use rocl::recipe::Recipe;
use rocl::recipe::settings::presets;
use rocl::run::checkpoint::{Checkpoint, Kind, Meta};

fn rocl(arguments: &[&str]) -> Command {
    let mut command = Command::new(common::program());
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = rocl(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Refused with `code`, nothing on standard output, and a first line on standard error that contains `expected`.
#[track_caller]
fn refused(arguments: &[&str], code: i32, expected: &str) {
    let (got, stdout, stderr) = output(arguments);
    let first = stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("error: ") && stderr.contains(expected), "{arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!((got, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
}

#[test]
fn help_fits_a_screen_and_has_examples() {
    let alone = ["", "demo", "ablate", "fetch", "pretrain", "train", "recipe", "recipes", "doctor", "verify", "bench"];
    let of_encoders = ["linear-eval", "finetune", "evaluate", "transfer", "alf"];
    let benchmarks = ["bench step", "bench attack", "bench kernels", "bench model", "bench compare"];
    for command in alone.into_iter().chain(of_encoders).chain(benchmarks) {
        let help = |flag, columns: usize| {
            let arguments: Vec<&str> = command.split_whitespace().chain([flag]).collect();
            let found = rocl(&arguments).env("COLUMNS", columns.to_string()).output().unwrap();
            let text = String::from_utf8(found.stdout).unwrap();
            assert_eq!((found.status.code(), found.stderr.len()), (Some(0), 0), "{command}");
            assert!(text.contains("Examples:") && !text.contains('\u{1b}'), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{command}, {columns}: {text}");
            text
        };
        for columns in [80, 110] {
            let short = help("-h", columns);
            assert!(short.lines().count() <= 30, "{command} has {} lines:\n{short}", short.lines().count());
            // Only the long help of a command with many flags may scroll.
            let long = help("--help", columns);
            assert!(long == short || command == "evaluate", "{command}: {long}");
        }
    }
    assert!(output(&["--version"]).1.starts_with("rocl "));
}

#[test]
fn misuse_of_flags_is_explained() {
    refused(&["pretrian"], 2, "pretrain");
    refused(&["pretrain", "--batchsize", "3"], 2, "--batch-size");
    refused(&["pretrain", "--device", "gpu"], 2, "devices are auto, cpu, cuda and cuda:N");
    refused(&["pretrain", "--precision", "fp8"], 2, "fp16");
    refused(&["pretrain", "--method", "simcrl"], 2, "simclr");
    refused(&["pretrain", "--limit", "0"], 2, "--limit");
    refused(&["pretrain", "--seed=-1"], 2, "--seed");
    refused(&["pretrain", "--resume"], 2, "--out");
    refused(&["linear-eval"], 2, "--checkpoint");
    refused(&["evaluate", "--head", "x"], 2, "--checkpoint");
    refused(&["finetune"], 2, "--checkpoint");
    refused(&["evaluate", "--checkpoint", "x", "--head", "y", "--epsilon", "8/0"], 2, "a fraction such as 8/255");
    refused(&["evaluate", "--checkpoint", "x", "--head", "y", "--epsilon", "nan"], 2, "`nan` is not a number");
    // A flag that could do nothing does not exist.
    refused(&["evaluate", "--checkpoint", "x", "--head", "y", "--width", "8"], 2, "unexpected argument '--width'");
}

#[test]
fn misuse_of_recipes_is_explained() {
    refused(&["pretrain", "--recipe", "papre"], 2, "there is no recipe `papre`; did you mean paper");
    refused(&["pretrain", "--recipe", "missing.toml"], 1, "missing.toml: cannot be read as a recipe");
    refused(&["pretrain", "--epochs", "0"], 2, "train.epochs is 0, but must be at least 1");
    refused(&["demo", "--width", "0"], 2, "network.width is 0, but must be at least 1");
    refused(&["pretrain", "--recipe", "reference", "--batch-size", "300"], 2, "attack.group is 256");
    // What is quoted gives the terminal no orders.
    refused(&["pretrain", "--recipe", "\u{1b}[31mred"], 2, "there is no recipe `\\u{1b}[31mred`");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "schema = 1\nname = 'mine'\n[attack]\nepsilom = 1\n").unwrap();
    let expected = "attack.epsilom is not a recipe key; did you mean attack.epsilon?";
    refused(&["pretrain", "--recipe", path.to_str().unwrap()], 2, expected);
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    refused(&["recipe", path.to_str().unwrap()], 1, "cannot be read as a recipe");
}

fn checkpoint(folder: &Path, kind: Kind, recipe: &str) -> String {
    let path = folder.join("file.safetensors");
    Checkpoint::new(Meta::new(kind, recipe.to_owned(), 0, "textures")).save(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn unusable_checkpoints_are_explained() {
    refused(&["linear-eval", "--checkpoint", "nowhere"], 1, "there is no such checkpoint");
    let folder = tempfile::tempdir().unwrap();
    let head = checkpoint(folder.path(), Kind::LinearHead, "{}");
    refused(&["linear-eval", "--checkpoint", &head], 1, "give an encoder from `rocl pretrain` here");
    let newer = checkpoint(folder.path(), Kind::Pretrain, "{\"schema\": 2}");
    refused(&["linear-eval", "--checkpoint", &newer], 1, "file.safetensors: the checkpoint's recipe: schema 2 is newer");
    let encoder = checkpoint(folder.path(), Kind::Pretrain, "not json");
    refused(&["evaluate", "--checkpoint", &encoder, "--head", &encoder], 1, "give a head from `rocl linear-eval` here");
}

#[test]
fn recipes_are_listed_and_printed() {
    let (code, list, errors) = output(&["recipes"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(output(&["recipe"]).1, list);
    let lines = list.lines().skip(2).zip(presets());
    assert!(lines.clone().all(|(line, preset)| line.split_whitespace().take(2).eq([preset.name, preset.command])), "{list}");
    assert_eq!(lines.count() + 2, list.lines().count());
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let (code, text, _) = output(&["recipe", "paper"]);
    assert_eq!(code, 0);
    assert!(text.contains("# Temperature of NT-Xent"), "the preset comes with its comments");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, text.replace("paper@1", "mine")).unwrap();
    let (code, completed, _) = output(&["recipe", path.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert_eq!(Recipe::from_toml(&completed).unwrap().name, "mine");
    assert!(output(&["recipe", "paper-simclr"]).1.contains("base = \"paper@1\""), "short, as it is shipped");
    let (_, full, _) = output(&["recipe", "paper-simclr", "--full"]);
    assert!(!full.contains("base"), "{full}");
    assert_eq!(Recipe::from_toml(&full).unwrap(), Recipe::load("paper-simclr@1").unwrap());
    refused(&["recipes", "--full"], 2, "NAME|FILE");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output =
        rocl(&["recipe", "reference"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    // The same for errors: the exit code still tells.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(rocl(&["recipe", "nosuch"]).stderr(writer).status().unwrap().code(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = rocl(&["recipe"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("check where it is redirected to"));
}
