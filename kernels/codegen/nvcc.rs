//! Runs nvcc: one fatbin per translation unit, with code for every architecture.

use super::toolkit;
use super::unit::{self, Stamp};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

/// What code is made for, as far as this nvcc knows it; the highest also as PTX, for cards that are newer.
const ARCHITECTURES: [u32; 7] = [75, 80, 86, 89, 90, 100, 120];
/// A file that has code for the features of sm_90 only asks for sm_90a by this guard.
const GUARD_90A: &str = "__CUDA_ARCH_FEAT_SM90_ALL";
/// The arithmetic stays as written, as on the host: no contraction, and nothing of fast-math.
const FLAGS: [&str; 11] = [
    "-std=c++17",
    "--fmad=false",
    "-lineinfo",
    "-Werror",
    "all-warnings",
    "-Xfatbin",
    "-compress-all",
    "-I.",
    "-Ikernels",
    "-Ikernels/include",
    "-fatbin",
];
const OLDEST: u32 = 12;

/// A translation unit and the fatbin to be made of it.
pub struct Job {
    /// The kernel file, for people.
    pub file: String,
    /// What nvcc is given.
    pub unit: PathBuf,
    /// What comes out.
    pub image: PathBuf,
}

/// A CUDA compiler that can be used.
pub struct Nvcc {
    pub path: PathBuf,
    /// As 12.9.41.
    pub version: String,
    /// What it will compile for, ascending: 80 for sm_80.
    pub architectures: Vec<u32>,
}

impl Nvcc {
    /// `NVCC`, or else the first in [`toolkit::programs`] that is not too old; for `ROCL_CUDA_ARCHS`, or else all of [`ARCHITECTURES`]
    /// that it knows.
    ///
    /// # Errors
    /// A sentence that says what was found, and how to install one; `pins` are pip's requirements.
    pub fn find(pins: &str) -> Result<Self, String> {
        let candidates: Vec<PathBuf> = match env::var_os("NVCC") {
            Some(path) => vec![fs::canonicalize(&path).map_err(|e| missing(&format!("NVCC is {}: {e}", path.display()), pins))?],
            None => toolkit::programs("nvcc").collect(),
        };
        let mut unfit = "there is none".to_owned();
        for path in candidates {
            match version(&path) {
                Ok(version) => return Self::new(path, version, env::var("ROCL_CUDA_ARCHS").ok().as_deref()),
                Err(reason) => unfit = reason,
            }
        }
        Err(missing(&unfit, pins))
    }

    /// The nvcc at `path`, of that version, for the architectures that `wanted` names ("80 90" or "80,90").
    pub fn new(path: PathBuf, version: String, wanted: Option<&str>) -> Result<Self, String> {
        let known: Vec<u32> = run(&path, "--list-gpu-code")?.split_whitespace().filter_map(number_of).collect();
        let architectures = match wanted {
            None => ARCHITECTURES.into_iter().filter(|a| known.contains(a)).collect(),
            Some(wanted) => choose(&known, wanted).map_err(|e| format!("ROCL_CUDA_ARCHS {e} (nvcc {version})"))?,
        };
        Ok(Self { path, version, architectures })
    }

    /// Compiles what has changed since the last build, as many at a time as cargo allows.
    ///
    /// # Errors
    /// What nvcc said about the first file that did not compile.
    pub fn compile(&self, jobs: &[Job]) -> Result<(), String> {
        let workers = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(message) = self.compile_one(job) {
                    next.store(jobs.len(), Ordering::Relaxed);
                    return Err(message);
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
        })
    }

    fn compile_one(&self, job: &Job) -> Result<(), String> {
        let source = unit::with_includes(&job.unit)?;
        let mut arguments: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        arguments.extend(self.targets(source.contains(GUARD_90A)));

        let stamp = Stamp::new(&job.image, &(&self.version, &arguments, &source));
        if stamp.is_current() {
            return Ok(());
        }
        let output = Command::new(&self.path).args(&arguments).arg("-o").arg(&job.image).arg(&job.unit).output();
        let output = output.map_err(|e| format!("cannot run {}: {e}", self.path.display()))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            return Err(format!("nvcc {} refuses {}:\n{}", self.version, job.file, String::from_utf8_lossy(&said)));
        }
        stamp.renew()
    }

    fn targets(&self, with_90a: bool) -> Vec<String> {
        let mut targets: Vec<String> =
            self.architectures.iter().map(|a| format!("-gencode=arch=compute_{a},code=sm_{a}")).collect();
        if with_90a && self.architectures.contains(&90) {
            targets.push("-gencode=arch=compute_90a,code=sm_90a".to_owned());
        }
        targets.extend(self.architectures.last().map(|a| format!("-gencode=arch=compute_{a},code=compute_{a}")));
        targets
    }
}

fn missing(what: &str, pins: &str) -> String {
    let wheels: Vec<&str> = pins.lines().filter(|line| !line.starts_with('#')).collect();
    format!(
        "the feature `cuda` needs nvcc, but {what}; install a CUDA toolkit of version 12 or 13 and set CUDA_HOME or NVCC, or run \
         `pip install {}` in the Python environment that is active during the build",
        wheels.join(" ")
    )
}

fn run(nvcc: &Path, option: &str) -> Result<String, String> {
    let output = Command::new(nvcc).arg(option).output().map_err(|e| format!("{} does not run: {e}", nvcc.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// As 12.9.41, from `Cuda compilation tools, release 12.9, V12.9.41`; if it is new enough.
///
/// # Errors
/// What is wrong with this nvcc.
pub fn version(nvcc: &Path) -> Result<String, String> {
    let text = run(nvcc, "--version")?;
    let version = text.split_once(", V").and_then(|(_, rest)| rest.split_whitespace().next());
    let version = version.ok_or_else(|| format!("{} does not tell its version", nvcc.display()))?;
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(OLDEST..) => Ok(version.to_owned()),
        _ => Err(format!("{} is version {version}, which is too old", nvcc.display())),
    }
}

fn number_of(code: &str) -> Option<u32> {
    code.strip_prefix("sm_")?.parse().ok()
}

fn choose(known: &[u32], wanted: &str) -> Result<Vec<u32>, String> {
    let words = wanted.split([' ', ',']).filter(|word| !word.is_empty());
    let one = |word: &str| word.parse().ok().filter(|a| known.contains(a)).ok_or(word.to_owned());
    let mut chosen = words.map(one).collect::<Result<Vec<u32>, String>>().map_err(|word| {
        let known: Vec<String> = known.iter().map(u32::to_string).collect();
        format!("names `{word}`, but can be any of {}, or unset for those that are usual", known.join(", "))
    })?;
    chosen.sort_unstable();
    chosen.dedup();
    if chosen.is_empty() { Err("is empty; unset it, or name architectures, as 80,90".to_owned()) } else { Ok(chosen) }
}
