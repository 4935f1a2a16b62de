//! What the program says a job needs, held against what the system says it took.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

struct Job {
    code: i32,
    stderr: String,
    /// The most memory that the process had resident, in bytes.
    peak: usize,
}

/// Runs the program to its end, and takes its bill.
#[expect(clippy::zombie_processes, reason = "waited for by `wait`")]
fn rocl(arguments: &[&str]) -> Job {
    let mut command = Command::new(common::program());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    let (code, peak) = wait(&child);
    assert!(!stderr.contains("panicked"), "{stderr}");
    Job { code, stderr, peak }
}

/// Waits for a child. The standard library would not say what it has used.
fn wait(child: &Child) -> (i32, usize) {
    let mut status = 0;
    // SAFETY: all zeros are a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let process = i32::try_from(child.id()).unwrap();
    // SAFETY: the process is our child, nothing else waits for it, and both pointers are to live memory.
    assert_eq!(unsafe { libc::wait4(process, &mut status, 0, &mut usage) }, process);
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    // Linux counts in KiB.
    (libc::WEXITSTATUS(status), usize::try_from(usage.ru_maxrss).unwrap() << 10)
}

/// The MiB of `needs 812 MiB on …`.
fn announced(job: &Job) -> usize {
    assert_eq!(job.code, 0, "{}", job.stderr);
    let (_, rest) = job.stderr.split_once("needs ").unwrap_or_else(|| panic!("{}", job.stderr));
    rest.split_once(" MiB on CPU, 2 threads").unwrap_or_else(|| panic!("{}", job.stderr)).0.parse().unwrap()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// `pretrain` on the CPU with these flags.
fn pretrain<'a>(out: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["pretrain", "--recipe", "demo", "--epochs", "1", "--device", "cpu", "--threads", "2", "--out", out];
    [&fixed[..], flags].concat()
}

/// Asserts that a job has taken what it announced, within 10 %, on top of what the program takes without tensors worth mentioning.
#[track_caller]
fn takes_what_was_announced(job: &Job, idle: usize) {
    let announced = announced(job);
    let taken = (job.peak >> 20) - idle;
    assert!(taken.abs_diff(announced) * 10 <= announced, "{announced} MiB were announced and {taken} taken, besides {idle}");
}

/// The MiB that a run without large tensors takes: by its own account, since a child's bill begins with what its parent had.
fn idle() -> usize {
    let tiny =
        ["bench", "step", "--json", "--device", "cpu", "--threads", "2", "--width", "2", "--batch-size", "4", "--repeat", "1"];
    let output = Command::new(common::program()).args(tiny).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = |name: &str| report["peak_memory"][name].as_u64().unwrap();
    ((bytes("resident_bytes") - bytes("device_bytes")) >> 20) as usize
}

/// Two steps of networks that are large enough for their tensors to be nearly all of it, and what follows them.
#[test]
#[cfg(target_os = "linux")]
fn jobs_take_the_memory_that_they_announce() {
    let folder = TempDir::new().unwrap();
    let out = |name| path(folder.path(), name);
    let idle = idle();
    for (name, flags) in [
        ("batch", ["--width", "16", "--batch-size", "64", "--limit", "128", "--precision", "fp32"]),
        // Where what is saved is as large as a step.
        ("parameters", ["--width", "64", "--batch-size", "4", "--limit", "8", "--precision", "fp32"]),
        ("bf16", ["--width", "16", "--batch-size", "96", "--limit", "96", "--precision", "bf16"]),
    ] {
        takes_what_was_announced(&rocl(&pretrain(&out(name), &flags)), idle);
    }
    let [checkpoint, head] =
        ["checkpoint", "head"].map(|name| path(&folder.path().join("batch"), &format!("{name}.safetensors")));
    let shared = ["--checkpoint", &checkpoint, "--limit", "256", "--device", "cpu", "--threads", "2"];
    takes_what_was_announced(&rocl(&[&["linear-eval", "--epochs", "1"], &shared[..]].concat()), idle);
    takes_what_was_announced(&rocl(&[&["evaluate", "--steps", "1", "--head", &head], &shared[..]].concat()), idle);

    // Adversaries that are kept outweigh a narrow network.
    let narrow = path(folder.path(), "narrow");
    rocl(&pretrain(&narrow, &["--width", "2", "--batch-size", "8", "--limit", "8"]));
    let of = |name: &str| path(Path::new(&narrow), name);
    let [encoder, classifier, kept] = ["checkpoint.safetensors", "head.safetensors", "kept.safetensors"].map(of);
    let model = ["--checkpoint", &encoder, "--device", "cpu", "--threads", "2"];
    rocl(&[&["linear-eval", "--epochs", "1", "--limit", "64"], &model[..]].concat());
    let attacks = "fgsm:linf:1/255,fgsm:linf:2/255,fgsm:linf:3/255,fgsm:linf:4/255,fgsm:linf:5/255,fgsm:linf:6/255";
    let keep = ["evaluate", "--head", &classifier, "--batch-size", "64", "--attack", attacks, "--save-adversaries", &kept];
    takes_what_was_announced(&rocl(&[&keep, &model[..]].concat()), idle);

    let recipe = short_attack(folder.path());
    let out = |name| ["--recipe", recipe.as_str(), "--out", name];
    let [classifier, tuned, robust] = ["classifier", "tuned", "robust"].map(|name| path(folder.path(), name));
    let train = ["train", "--method", "trades", "--width", "16", "--batch-size", "64", "--limit", "64", "--epochs", "1"];
    let on_cpu = ["--device", "cpu", "--threads", "2"];
    takes_what_was_announced(&rocl(&[&train[..], &out(&classifier), &on_cpu].concat()), idle);
    // [x, x2, x_adv] in one pass.
    let finetune = ["finetune", "--method", "at-ss", "--batch-size", "32", "--epochs", "1"];
    takes_what_was_announced(&rocl(&[&finetune[..], &out(&tuned), &shared].concat()), idle);
    let fit = ["linear-eval", "--robust", "--batch-size", "256", "--epochs", "1"];
    takes_what_was_announced(&rocl(&[&fit[..], &out(&robust), &shared].concat()), idle);
    // One fit after the other, and then the attacks, take no more than the largest of them.
    let (transfer, transferred) = (["transfer", "--batch-size", "128", "--epochs", "1"], path(folder.path(), "transferred"));
    takes_what_was_announced(&rocl(&[&transfer[..], &out(&transferred), &shared].concat()), idle);
}

/// A recipe of training with labels whose attack is short.
fn short_attack(folder: &Path) -> String {
    let mut recipe = rocl::recipe::Recipe::load("supervised@1").unwrap();
    recipe.supervised.steps = 1;
    let path = path(folder, "supervised.toml");
    std::fs::write(&path, recipe.to_toml().unwrap()).unwrap();
    path
}

/// Refused before anything is made, with this exit code; what is said.
#[track_caller]
fn refused(arguments: &[&str], code: i32) -> String {
    let job = rocl(arguments);
    assert_eq!(job.code, code, "{}", job.stderr);
    job.stderr
}

/// The number behind `--batch-size` in `--batch-size 17 would fit`.
fn fitting(message: &str) -> String {
    let (_, rest) = message.split_once("; --batch-size ").unwrap_or_else(|| panic!("{message}"));
    rest.split_once(" would fit").unwrap_or_else(|| panic!("{message}")).0.to_owned()
}

#[test]
fn a_job_above_the_limit_is_refused_with_the_batch_that_fits() {
    let folder = TempDir::new().unwrap();
    let out = path(folder.path(), "run");
    let sized = |batch, limit| pretrain(&out, &["--width", "4", "--limit", "64", "--batch-size", batch, "--max-memory", limit]);
    let message = refused(&sized("64", "20MiB"), 2);
    assert!(message.starts_with("error: the run needs ") && message.contains(", and --max-memory allows 20 MiB; "), "{message}");
    assert!(!Path::new(&out).exists(), "nothing was begun");
    let too_little = refused(&sized("64", "1MiB"), 2);
    assert!(too_little.ends_with("; no --batch-size would fit, and a narrower network needs less\n"), "{too_little}");
    // What is said to fit does, and one image more does not.
    let batch = fitting(&message);
    let more = (batch.parse::<u32>().unwrap() + 1).to_string();
    assert_eq!(fitting(&refused(&sized(&more, "20MiB"), 2)), batch);
    assert!(announced(&rocl(&sized(&batch, "20MiB"))) <= 20);

    // A run that is gone on with has its batch size.
    let message = refused(&[&sized(&batch, "2MiB")[..], &["--resume"]].concat(), 2);
    assert!(message.ends_with("; a resumed run keeps its batch size; free some memory, or raise --max-memory\n"), "{message}");

    // Encoder and head alike.
    let [checkpoint, head] = ["checkpoint", "head"].map(|name| path(Path::new(&out), &format!("{name}.safetensors")));
    let shared = ["--checkpoint", &checkpoint, "--limit", "64", "--device", "cpu", "--threads", "2"];
    let fit = [&["linear-eval", "--epochs", "1"], &shared[..]].concat();
    let evaluate = [&["evaluate", "--steps", "1", "--head", &head], &shared[..]].concat();
    for job in [fit, evaluate] {
        let message = refused(&[&job[..], &["--max-memory", "8MiB"]].concat(), 2);
        let batch = fitting(&message);
        let fits = rocl(&[&job[..], &["--max-memory", "8MiB", "--batch-size", &batch]].concat());
        assert!(announced(&fits) <= 8, "{}", fits.stderr);
    }
}

/// No machine has petabytes.
#[test]
#[cfg(target_os = "linux")]
fn a_job_that_the_machine_lacks_memory_for_is_refused() {
    let folder = TempDir::new().unwrap();
    let out = path(folder.path(), "run");
    let message = refused(&pretrain(&out, &["--width", "4096", "--limit", "2048", "--batch-size", "2048"]), 1);
    assert!(
        message.starts_with("error: the run needs ")
            && message.contains(" of memory, and ")
            && message.contains(" MiB are free; ")
    );
    assert!(!Path::new(&out).exists(), "nothing was begun");
    let message = refused(&pretrain(&out, &["--max-memory", "lots"]), 2);
    assert!(message.contains("sizes are such as 512MiB, 1.5GiB or 4G"), "{message}");
}
