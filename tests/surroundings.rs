//! What is around the program: pipes that are closed, disks that are full, signals.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A job of each command that trains or evaluates, in a [`folder`]; each writes into `new`, and prints.
const PRETRAIN: &str = "pretrain --recipe demo --width 2 --epochs 1 --batch-size 4 --out new --device cpu --threads 1 --limit 8";
const TRAIN: &str =
    "train --recipe demo --method ce --width 2 --epochs 1 --batch-size 4 --out new --device cpu --threads 1 --limit 8";
const FINETUNE: &str = "finetune --checkpoint run/checkpoint.safetensors --recipe demo --method ce --epochs 1 --batch-size 4 \
                        --out new --device cpu --threads 1 --limit 8";
const FIT: &str = "linear-eval --checkpoint run/checkpoint.safetensors --epochs 1 --out new --device cpu --threads 1 --limit 8";
const EVALUATE: &str = "evaluate --checkpoint run/checkpoint.safetensors --head run/head.safetensors --steps 1 --out new \
                        --device cpu --threads 1 --limit 8";
const TRANSFER: &str = "transfer --checkpoint run/checkpoint.safetensors --epochs 1 --attack pgd:linf:8/255:1 --out new --device cpu \
                        --threads 1 --limit 8";
const ABLATE: &str = "ablate grid.toml --out new --device cpu --threads 1 --limit 8";
const GRID: &str = "schema = 1\nrecipe = 'demo'\nattacks = ['pgd:linf:8/255:1']\n[fixed]\nnetwork.width = 2\ntrain.epochs = 1\n\
                    train.batch_size = 4\n[grid]\ntrain.seed = [0]\n";
const DEMO: &str = "demo --width 2 --epochs 1 --batch-size 4 --out new --device cpu --threads 1 --limit 8";

/// A folder with a small run.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fit = FIT.replace("--out new", "--out run");
    fs::write(folder.path().join("grid.toml"), GRID).unwrap();
    for job in [&PRETRAIN.replace("--out new", "--out run"), &fit] {
        let (code, _, stderr) = shell(folder.path(), job, "");
        assert_eq!(code, Some(0), "{job}: {stderr}");
    }
    folder
}

/// The program as a shell runs it, between `before` and `after`; the exit code is its own, whatever it is piped into.
fn within(folder: &Path, before: &str, job: &str, redirected: &str, pipe: &str) -> (Option<i32>, String, String) {
    let program = common::program();
    let script = format!("{{ ({before} LANG=C TERM=dumb '{}' {job} {redirected}); echo $? >code; }} {pipe}", program.display());
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (fs::read_to_string(folder.join("code")).unwrap().trim().parse().ok(), stdout, stderr)
}

fn shell(folder: &Path, job: &str, redirected: &str) -> (Option<i32>, String, String) {
    within(folder, "", job, redirected, "")
}

/// Another folder to write into, since none writes over a run.
fn anew(folder: &Path) {
    let new = folder.join("new");
    if new.exists() {
        fs::remove_dir_all(new).unwrap();
    }
}

#[test]
fn surroundings_do_not_matter() {
    let folder = folder();
    for job in [
        "recipe",
        "recipe paper",
        "doctor",
        "bench model --gpu h200",
        PRETRAIN,
        TRAIN,
        FINETUNE,
        FIT,
        EVALUATE,
        TRANSFER,
        ABLATE,
        DEMO,
    ] {
        let around = [("2>&-", ""), (">&- 2>&-", ""), ("", "| true"), ("2>&1", "| true"), ("</dev/null", ""), ("<&-", "")];
        for (redirected, pipe) in around {
            anew(folder.path());
            let (code, _, stderr) = within(folder.path(), "", job, redirected, pipe);
            assert!(code == Some(0) && !stderr.contains("panicked"), "{job} {redirected} {pipe}: {code:?} {stderr}");
        }
    }
}

/// Results that nobody can read are a failure; progress that nobody can read is none.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_is_a_failure() {
    let folder = folder();
    let json = format!("{EVALUATE} --json");
    for job in [
        "recipe",
        "doctor --json",
        "bench model --gpu h200",
        PRETRAIN,
        TRAIN,
        FINETUNE,
        FIT,
        EVALUATE,
        &json,
        TRANSFER,
        ABLATE,
        DEMO,
    ] {
        anew(folder.path());
        let (code, _, stderr) = shell(folder.path(), job, ">/dev/full");
        assert_eq!(code, Some(1), "{job}: {stderr}");
        let sentence = "error: standard output: cannot be written (No space left on device";
        assert!(stderr.lines().any(|line| line.starts_with(sentence)), "{job}: {stderr}");
        anew(folder.path());
        assert_eq!(shell(folder.path(), job, "2>/dev/full").0, Some(0), "{job}");
    }
}

/// A limit on the size of files stands for a disk that is full: from the first byte on, and in the middle of a checkpoint.
#[test]
fn what_cannot_be_written_is_a_failure() {
    let folder = folder();
    let keep = format!("{EVALUATE} --save-adversaries kept");
    let wide = PRETRAIN.replace("--width 2", "--width 8");
    for (blocks, job, what) in [
        (0, PRETRAIN, "new/metrics.jsonl"),
        (0, TRAIN, "new/metrics.jsonl"),
        (0, FINETUNE, "new/metrics.jsonl"),
        (0, FIT, "new/head.safetensors"),
        (0, EVALUATE, "new/evaluate.json"),
        (0, TRANSFER, "new/plain.safetensors"),
        (0, ABLATE, "new/ablate.json"),
        (0, DEMO, "new/simclr/metrics.jsonl"),
        (0, &keep, "kept"),
        (64, &wide, "new/checkpoint.safetensors"),
    ] {
        anew(folder.path());
        let (code, stdout, stderr) = within(folder.path(), &format!("trap '' XFSZ; ulimit -f {blocks};"), job, "", "");
        assert_eq!(code, Some(1), "{job}: {stderr}");
        let sentence = format!("error: {what}: cannot be written (File too large");
        assert!(stderr.lines().any(|line| line.starts_with(&sentence)), "{job}: {stderr}");
        assert!(stdout.is_empty() || job == DEMO, "{job}: {stdout:?}");
    }
    let left: Vec<_> = fs::read_dir(folder.path().join("new")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["metrics.jsonl"], "the log is kept, half a checkpoint is not");
}

fn lines(log: &Path) -> usize {
    fs::read_to_string(log).map_or(0, |text| text.lines().count())
}

/// Starts a job, and asks it to end when its log has more than `before` lines.
fn asked_to_end(folder: &Path, job: &str, log: &str, before: usize, signal: i32) -> (Option<i32>, String) {
    let mut child: Child = Command::new(common::program())
        .args(job.split_whitespace())
        .arg("--quiet")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while lines(&folder.join(log)) <= before {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            panic!("{job}: over before it was asked to end: {output:?}");
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // SAFETY: kill takes any two integers; the process is our child and has not been waited for.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) }, 0);
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// Each command that trains, under each signal: saved, and gone on with, twice.
#[test]
fn signals_leave_a_checkpoint() {
    let folder = folder();
    let long = |job: &str| job.replace("--epochs 1", "--epochs 100000");
    let again = |name: &str| format!("{name} --out new --device cpu --threads 1 --limit 8 --resume");
    for (job, resume) in [(PRETRAIN, "pretrain"), (TRAIN, "train"), (FINETUNE, "finetune")] {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            anew(folder.path());
            let mut before = 1;
            for job in [long(job), again(resume)] {
                let (code, stderr) = asked_to_end(folder.path(), &job, "new/metrics.jsonl", before, signal);
                assert_eq!(code, Some(130), "{job}: {stderr}");
                let saved = "the run is saved in new/checkpoint.safetensors, and --resume goes on";
                assert!(stderr.contains(saved), "{job}: {stderr}");
                before = lines(&folder.path().join("new/metrics.jsonl"));
            }
            let log = fs::read_to_string(folder.path().join("new/metrics.jsonl")).unwrap();
            for (epoch, line) in log.lines().skip(1).enumerate() {
                assert!(line.starts_with(&format!("{{\"epoch\":{epoch},")), "every epoch once: {log}");
            }
        }
    }
    anew(folder.path());
    let (code, stderr) = asked_to_end(folder.path(), &long(DEMO), "new/simclr/metrics.jsonl", 1, libc::SIGTERM);
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("a demonstration starts anew: delete new first"), "{stderr}");
}

/// Fits and evaluations have nothing to save: they end with a sentence, and leave no file.
#[test]
#[cfg(target_os = "linux")]
fn signals_end_what_cannot_be_gone_on_with() {
    let folder = folder();
    let fit = "linear-eval --checkpoint run/checkpoint.safetensors --robust --epochs 100000 --out new --device cpu --threads 1 --limit 8";
    let evaluate = "evaluate --checkpoint run/checkpoint.safetensors --head run/head.safetensors --attack pgd:linf:8/255:100 --seeds 1000 \
                    --out new --device cpu --threads 1 --limit 8";
    for job in [fit, evaluate] {
        anew(folder.path());
        fs::create_dir(folder.path().join("new")).unwrap();
        // The time a start takes is not known; the signal comes when the handler is there, which the system tells.
        let mut command = Command::new(common::program());
        command.args(job.split_whitespace()).current_dir(folder.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !catches(child.id(), libc::SIGTERM) {
            assert!(child.try_wait().unwrap().is_none(), "{job}: over before it was asked to end");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // SAFETY: kill takes any two integers; the process is our child and has not been waited for.
        assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGTERM) }, 0);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{job}: {stderr}");
        assert!(
            stderr.contains("error: stopped; what was being computed is not kept, so run the command again"),
            "{job}: {stderr}"
        );
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 0, "{job}: nothing is left");
    }
}

/// Whether a process has a handler for a signal.
#[cfg(target_os = "linux")]
fn catches(process: u32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the job is over before it was asked to end");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal - 1)) != 0
}

/// As `nohup` starts it: what the process was told to ignore does not end it.
#[test]
#[cfg(target_os = "linux")]
fn signals_that_were_ignored_stay_ignored() {
    let folder = folder();
    anew(folder.path());
    let job = PRETRAIN.replace("--epochs 1", "--epochs 100000");
    let script = format!("trap '' HUP; exec '{}' {job} --quiet", common::program().display());
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &script]).current_dir(folder.path()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let (id, log) = (i32::try_from(child.id()).unwrap(), folder.path().join("new/metrics.jsonl"));
    let mut wait_for = |epochs: usize| {
        while lines(&log) <= epochs {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    };
    // SAFETY: kill takes any two integers; the process is our child and has not been waited for.
    let send = |signal| assert_eq!(unsafe { libc::kill(id, signal) }, 0);
    wait_for(1);
    send(libc::SIGHUP);
    let before = lines(&log);
    wait_for(before + 1);
    send(libc::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("stopping").count(), 1, "of the second signal alone: {said}");
}
