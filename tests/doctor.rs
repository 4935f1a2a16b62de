//! `rocl doctor`, and which device commands take: the program as a process, on machines whose driver is as a test wants it.

#[path = "fake_cuda/mod.rs"]
mod fake_cuda;
#[path = "common/skipped.rs"]
mod skipped;

use rocl::device::{cuda, launch};
use skipped::skipped;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program, on a machine whose driver is `machine` (see `fake_cuda/driver.cpp`).
fn rocl(machine: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rocl"));
    command.env("LD_LIBRARY_PATH", fake_cuda::folder()).env("FAKE_CUDA", machine);
    // A real cuDNN is vocal about what the fake driver lacks.
    command.env_remove("ROCL_CUDA_LIBS").env_remove("VIRTUAL_ENV");
    output(command.args(arguments))
}

fn output(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The check of that name, as `--json` prints it: whether all is well, and the text.
fn check(machine: &str, name: &str) -> (bool, String) {
    let (code, stdout, stderr) = rocl(machine, &["doctor", "--json"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{machine}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["schema"], &report["version"]), (&1.into(), &env!("CARGO_PKG_VERSION").into()));
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"));
    (check["ok"].as_bool().unwrap(), check["text"].as_str().unwrap().to_owned())
}

#[test]
fn every_line_is_fine_or_says_what_to_do() {
    let (code, stdout, stderr) = rocl("devices=0", &["doctor"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let (lines, last) = stdout.trim_end().rsplit_once("\n\n").unwrap();
    assert_eq!(last, "Without --device, commands compute on cpu.");
    for name in ["program", "CPU", "memory", "GPU code", "kernels", "driver", "cuDNN 9", "cuBLASLt", "data", "recipes"] {
        let line = lines.lines().find(|line| line[4..].starts_with(name)).unwrap_or_else(|| panic!("no {name}: {stdout}"));
        assert!(line.starts_with("ok  ") || line.starts_with("no  ") && line.contains("; "), "{line}");
    }
    for fine in ["program", "CPU", "data", "recipes"] {
        assert!(stdout.contains(&format!("ok  {fine}")), "{stdout}");
    }
    assert!(stdout.contains("presets, which `rocl recipes` lists") && stdout.contains("textures: 4000 images"), "{stdout}");
}

#[test]
fn the_driver_is_judged() {
    for (machine, ok, part) in [
        ("version=12080", true, "supports CUDA 12.8"),
        ("version=11040", false, "supports CUDA 11.4 at most, and 12.0 is needed; update it"),
        ("devices=0", false, "finds no GPU; check nvidia-smi"),
        ("cuInit=34", false, "is the toolkit's stub and no driver; take its folder"),
        ("cuInit=999", false, "does not start: CUDA_ERROR_OF_THE_FAKE"),
    ] {
        let (found, text) = check(machine, "driver");
        assert!(found == ok && text.contains(part), "{machine}: {text}");
    }
}

#[test]
fn gpus_are_listed_and_tried() {
    let (ok, text) = check("devices=2,capability=86", "cuda:1");
    assert!(text.starts_with("Fake GPU, compute capability 8.6, 8 GiB of memory"), "{text}");
    // This driver runs no kernel here, so that even with GPU code the sum is wrong.
    assert!(!ok && text.contains(": "), "{text}");
    // Of a driver that loads what any nvcc makes.
    let (ok, text) = check("version=13020,capability=50", "cuda:0");
    let reason = if launch::has_gpu_code() { "but the kernels need 7.5" } else { cuda::NO_GPU_CODE };
    assert!(!ok && text.contains(reason), "{text}");
}

/// They change results without a trace in the recipe.
#[test]
fn variables_that_change_precision_are_warned_of() {
    for (name, value, warned) in
        [("NVIDIA_TF32_OVERRIDE", "0", true), ("CUBLAS_EMULATE_SINGLE_PRECISION", "1", true), ("NVIDIA_TF32_OVERRIDE", "", false)]
    {
        let (code, stdout, _) = output(Command::new(env!("CARGO_BIN_EXE_rocl")).arg("doctor").env(name, value));
        let warning = stdout.lines().any(|line| line.starts_with("no  ") && line.contains(&format!("unset {name}")));
        assert_eq!((code, warning), (0, warned), "{name}={value}: {stdout}");
    }
}

/// With cuDNN but no GPU, what it would compute at once on some cards.
#[test]
fn fusions_are_listed() {
    let (code, stdout, _) = output(Command::new(env!("CARGO_BIN_EXE_rocl")).arg("doctor"));
    assert_eq!(code, 0, "{stdout}");
    if !stdout.contains("ok  cuDNN 9") || stdout.contains("cuda:0") {
        return skipped("this machine has no cuDNN, or a GPU");
    }
    for card in ["sm_80", "sm_90"] {
        let line =
            stdout.lines().find(|line| line.starts_with(&format!("ok  fused, {card}"))).unwrap_or_else(|| panic!("{stdout}"));
        assert!(line.contains("wgrad + accumulate: all (f32, tf32), 16-bit dw (f16, bf16)"), "{line}");
    }
}

#[test]
fn data_are_opened() {
    let (code, stdout, _) = rocl("", &["doctor", "--data", "/nonexistent/images"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("no  data") && stdout.contains("there is no such file or folder"), "{stdout}");
}

/// The shortest training there is.
fn train(out: &Path) -> Vec<String> {
    let flags = "pretrain --recipe demo --width 2 --epochs 1 --limit 8 --batch-size 8 --quiet --out";
    flags.split(' ').map(str::to_owned).chain([out.to_str().unwrap().to_owned()]).collect()
}

#[test]
fn a_gpu_that_was_asked_for_is_missed_and_one_that_was_not_is_noted() {
    let expected = if launch::has_gpu_code() { "finds no GPU" } else { cuda::NO_GPU_CODE };
    let folder = tempfile::tempdir().unwrap();
    let arguments = train(&folder.path().join("run"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let (code, _, stderr) = rocl("devices=0", &[&arguments[..], &["--device", "cuda"]].concat());
    assert!(code == 1 && stderr.starts_with("error: ") && stderr.contains(expected), "{stderr}");

    // With a driver there, the user may well expect the GPU to be used.
    let (code, stdout, stderr) = rocl("devices=0", &arguments);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.starts_with("note: computing on the CPU, since ") && stderr.contains(expected), "{stderr}");
    assert!(stdout.contains("1 step in "), "{stdout}");
}

#[test]
fn without_driver_and_gpu_code_the_cpu_needs_no_word() {
    // Asked of the program, since this process may have loaded a driver.
    let (_, stdout, _) = output(Command::new(env!("CARGO_BIN_EXE_rocl")).arg("doctor"));
    if launch::has_gpu_code() || !stdout.contains("there is no NVIDIA driver") {
        return skipped("this machine has a driver, or this build GPU code");
    }
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = output(Command::new(env!("CARGO_BIN_EXE_rocl")).args(train(&folder.path().join("run"))));
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn variables_that_cannot_be_meant_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rocl"));
    let (code, _, stderr) =
        output(command.args(train(&folder.path().join("run"))).args(["--device", "cpu"]).env("ROCL_CONV", "fast"));
    assert!(code == 2 && stderr.contains("ROCL_CONV is \"fast\", but can only be direct; set it so, or unset it"), "{stderr}");
}
