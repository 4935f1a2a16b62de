//! What is run, in which order, and for how long.

use crate::stage::Stage;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The parts of a check, by the names that the command line takes.
pub const PARTS: [&str; 3] = ["correctness", "sanitizer", "speed"];

const PRECISIONS: [&str; 4] = ["fp32", "tf32", "fp16", "bf16"];
/// Test programs that run on the device, with seconds. The first is the one of the kernels.
const TESTS: [(&str, u64); 8] = [
    ("kernels", 240),
    ("cuda_device", 180),
    ("linear", 60),
    ("epilogues", 60),
    ("precision", 180),
    ("training", 180),
    ("own", 60),
    ("verify", 240),
];

/// PyTorch's contenders: the plain one, and the best that it has been seen to do in each mode. All of them, five times, would take an hour.
const PEERS: [&str; 4] = [
    "reference+channels-last",
    "ours+fold+channels-last",
    "ours+fold+channels-last+compile",
    "ours+fold+channels-last+compile-graph",
];

/// Where everything is.
pub struct Bundle {
    /// `bin/`, `tests/golden/` and the rest, as packed.
    pub root: PathBuf,
    /// For logs and reports.
    pub out: PathBuf,
    /// `cuda`, `cuda:N`, `simulated` or `cpu`.
    pub device: String,
    /// A Python, for the peer.
    pub python: String,
}

impl Bundle {
    fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// What tests note about kernels.
    pub fn launches(&self) -> PathBuf {
        self.out.join("launches.jsonl")
    }

    /// The device as the program takes it, which knows nothing of a simulated one.
    fn rocl_device(&self) -> &str {
        if self.device == "simulated" { "cpu" } else { &self.device }
    }

    fn test(&self, stage: &str, program: &str, arguments: &[&str], seconds: u64) -> Stage {
        let path = self.program(program);
        let missing = (!path.exists()).then(|| format!("{} was not packed", path.display()));
        let folder = |path: &Path| path.display().to_string();
        Stage::new(stage, path, arguments, seconds)
            .with("ROCL_TEST_DEVICES", &*self.device)
            .with("ROCL_ROOT", folder(&self.root))
            .with("ROCL_SHARED", folder(&self.root.join("shared")))
            .with("ROCL_BIN", folder(&self.program("rocl")))
            .unless(missing)
    }

    fn rocl(&self, stage: &str, arguments: &[&str], seconds: u64) -> Stage {
        let on = [arguments, &["--device", self.rocl_device()]].concat();
        Stage::new(stage, self.program("rocl"), &on, seconds)
    }

    /// The stages of a part.
    pub fn stages(&self, part: &str) -> Vec<Stage> {
        match part {
            "correctness" => self.correctness(),
            "sanitizer" => self.sanitizer(),
            _ => self.speed(),
        }
    }

    fn correctness(&self) -> Vec<Stage> {
        let mut stages = vec![Stage::new("doctor", self.program("rocl"), &["doctor"], 60)];
        stages.extend(TESTS.map(|(name, seconds)| {
            let stage = self.test(name, name, &[], seconds);
            // The tests run in threads of their names, by which their launches are told apart.
            if name == "kernels" { stage.with("ROCL_TEST_LAUNCHES", self.launches().display().to_string()) } else { stage }
        }));
        stages.push(self.test("cuda_device-direct", "cuda_device", &["recipes"], 180).with("ROCL_CONV", "direct"));
        for recording in self.recordings() {
            let name = recording.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let path = recording.display().to_string();
            // The tolerances of 16 bits are for recordings with a measured error of plain PyTorch; narrower networks are further off.
            let narrow = self.root.join(format!("tests/golden/{name}_plain.json")).exists();
            stages.extend(PRECISIONS.iter().filter(|precision| narrow || precision.ends_with("32")).map(|precision| {
                self.rocl(&format!("verify-{name}-{precision}"), &["verify", &path, "--precision", precision], 120)
            }));
        }
        stages
    }

    /// Every recording that was packed; those in f64 and of the augmentation are companions.
    fn recordings(&self) -> Vec<PathBuf> {
        let folders = ["tests/golden", "shared/golden"].map(|folder| self.root.join(folder));
        let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        let mut files: Vec<PathBuf> = files.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let is_recording = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.ends_with(".safetensors") && !name.ends_with("_f64.safetensors") && !name.starts_with("augment")
        };
        files.retain(is_recording);
        files.sort();
        files
    }

    fn sanitizer(&self) -> Vec<Stage> {
        let tool = "compute-sanitizer";
        let missing = (!starts(tool, "--version")).then(|| format!("{tool} is not on the path; it comes with the CUDA toolkit"));
        let program = self.program("kernels").display().to_string();
        let stage = |check: &str| {
            let arguments = ["--tool", check, "--error-exitcode", "9", &program, "--test-threads", "1"];
            let environment = self.test(check, tool, &[], 540).variables;
            // In sandboxes that keep debuggers away from the device.
            let refusal = Some("Device not supported");
            Stage { variables: environment, refusal, ..Stage::new(check, tool, &arguments, 540) }.unless(missing.clone())
        };
        vec![stage("memcheck"), stage("racecheck")]
    }

    fn speed(&self) -> Vec<Stage> {
        // On a CPU, for trying this out, as little as there is.
        let small: &[&str] =
            if self.rocl_device() == "cpu" { &["--width", "2", "--batch-size", "4", "--repeat", "1"] } else { &[] };
        let json = |stage: &str, arguments: &[&str]| self.rocl(stage, &[&["bench"], arguments, small, &["--json"]].concat(), 120);
        let mut stages = vec![json("bench-attack", &["attack"])];
        for precision in PRECISIONS {
            stages.push(json(&format!("bench-step-{precision}"), &["step", "--precision", precision]));
            stages.push(json(&format!("bench-kernels-{precision}"), &["kernels", "--precision", precision]));
        }
        if self.rocl_device() != "cpu" {
            for (how, precision, seconds) in [("quick", "tf32", 240), ("quick", "fp16", 240), ("thorough", "fp16", 1800)] {
                let tuned = ["bench", "step", "--precision", precision, &format!("--tune={how}"), "--json"];
                stages.push(self.rocl(&format!("bench-step-{precision}-{how}"), &tuned, seconds));
            }
        }
        let missing = (!imports_torch(&self.python)).then(|| format!("{} has no PyTorch; name another by --python", self.python));
        let peer = |precision: &str| {
            let (script, engine) = (self.root.join("benches/peer/compare.py"), self.program("rocl"));
            let out = self.out.join(format!("peer-{precision}.json"));
            let paths = [script, engine, out].map(|path| path.display().to_string());
            let on_gpu = self.rocl_device() != "cpu";
            let mut arguments = vec![&*paths[0], "--engine", &paths[1], "--out", &paths[2], "--precision", precision];
            arguments.extend(["--rounds", "5", "--timeout", "120", "--device", if on_gpu { "cuda" } else { "cpu" }]);
            if on_gpu {
                arguments.extend(["--batch-size", "256"]);
                arguments.extend(PEERS.iter().flat_map(|peer| ["--peer", peer]));
            } else {
                arguments.extend(&small[..4]);
            }
            let stage = Stage::new(format!("peer-{precision}"), &self.python, &arguments, 540).unless(missing.clone());
            // The peers know no other than the first.
            match self.device.strip_prefix("cuda:") {
                Some(number) => stage.with("CUDA_VISIBLE_DEVICES", number),
                None => stage,
            }
        };
        stages.extend(["fp32", "fp16"].map(peer));
        stages
    }
}

fn quietly(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn starts(program: &str, flag: &str) -> bool {
    quietly(program, &[flag])
}

fn imports_torch(python: &str) -> bool {
    quietly(python, &["-c", "import torch"])
}
