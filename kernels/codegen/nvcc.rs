//! Runs nvcc: one fatbin per translation unit, with code for every architecture.

use super::toolkit;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

/// What code is made for, as far as this nvcc knows it; the highest also as PTX, for cards that are newer.
const ARCHITECTURES: [u32; 7] = [75, 80, 86, 89, 90, 100, 120];
/// A file that has code for the features of sm_90 only asks for sm_90a by this guard.
const GUARD_90A: &str = "__CUDA_ARCH_FEAT_SM90_ALL";
/// The arithmetic stays as written, as on the host: no contraction, and nothing of fast-math.
const FLAGS: [&str; 10] = [
    "-std=c++17",
    "--fmad=false",
    "-lineinfo",
    "-Werror",
    "all-warnings",
    "-Xfatbin",
    "-compress-all",
    "-Ikernels",
    "-Ikernels/include",
    "-fatbin",
];
const OLDEST: u32 = 12;

/// A translation unit and the fatbin to be made of it.
pub struct Job {
    /// The kernel file, below `kernels/`.
    pub file: String,
    /// What nvcc is given.
    pub unit: PathBuf,
    /// What comes out.
    pub image: PathBuf,
}

/// A CUDA compiler that can be used.
pub struct Nvcc {
    pub path: PathBuf,
    /// As 13.0.88.
    pub version: String,
    /// What it will compile for, ascending: 80 for sm_80.
    pub architectures: Vec<u32>,
}

impl Nvcc {
    /// `NVCC`, or else the first in [`toolkit::programs`] that is not too old.
    ///
    /// # Errors
    /// A sentence that says what was found, and how to install one; `pins` are pip's requirements.
    pub fn find(pins: &str) -> Result<Self, String> {
        let wheels: Vec<&str> = pins.lines().filter(|line| !line.starts_with('#')).collect();
        let remedy = format!(
            "install a CUDA toolkit of version 12 or 13 and set CUDA_HOME or NVCC, or, in a Python environment that is \
            active during the build, run `pip install {}`",
            wheels.join(" ")
        );
        let candidates: Vec<PathBuf> = match env::var_os("NVCC") {
            Some(path) => vec![fs::canonicalize(&path).map_err(|e| format!("NVCC is {}: {e}; {remedy}", path.display()))?],
            None => toolkit::programs("nvcc").collect(),
        };
        let mut unfit = String::new();
        for path in candidates {
            let Some(version) = version(&path) else {
                unfit = format!("; {} does not tell its version", path.display());
                continue;
            };
            if version.split('.').next().and_then(|major| major.parse().ok()).is_none_or(|major: u32| major < OLDEST) {
                unfit = format!("; {} is too old: {version}", path.display());
                continue;
            }
            let architectures = architectures(&path, &version)?;
            return Ok(Self { path, version, architectures });
        }
        Err(format!("the feature `cuda` needs nvcc, and none was found{unfit}; {remedy}"))
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
        let mut source = String::new();
        read_with_includes(&job.unit, &mut Vec::new(), &mut source)?;
        let mut arguments: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        arguments.extend(self.targets(source.contains(GUARD_90A)));

        let stamp = job.image.with_extension("stamp");
        let mut hasher = DefaultHasher::new();
        (&self.version, &arguments, &source).hash(&mut hasher);
        let content = format!("{:016x}", hasher.finish());
        if job.image.is_file() && fs::read_to_string(&stamp).is_ok_and(|old| old == content) {
            return Ok(());
        }
        let output = Command::new(&self.path).args(&arguments).arg("-o").arg(&job.image).arg(&job.unit).output();
        let output = output.map_err(|e| format!("cannot run {}: {e}", self.path.display()))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            return Err(format!("nvcc {} refuses kernels/{}:\n{}", self.version, job.file, String::from_utf8_lossy(&said)));
        }
        fs::write(&stamp, content).map_err(|e| format!("cannot write {}: {e}", stamp.display()))
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

/// As 13.0.88, from `Cuda compilation tools, release 13.0, V13.0.88`.
fn version(nvcc: &Path) -> Option<String> {
    let output = Command::new(nvcc).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once(", V")?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// `ROCL_CUDA_ARCHS` ("80 90" or "80,90"), or those of [`ARCHITECTURES`] that this nvcc knows.
fn architectures(nvcc: &Path, version: &str) -> Result<Vec<u32>, String> {
    let output = Command::new(nvcc).arg("--list-gpu-code").output().map_err(|e| format!("cannot run {}: {e}", nvcc.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let known: Vec<u32> = text.split_whitespace().filter_map(|word| word.strip_prefix("sm_")?.parse().ok()).collect();
    let Ok(wanted) = env::var("ROCL_CUDA_ARCHS") else {
        return Ok(ARCHITECTURES.into_iter().filter(|a| known.contains(a)).collect());
    };
    let mut chosen = Vec::new();
    for word in wanted.split([' ', ',']).filter(|word| !word.is_empty()) {
        let architecture = word.parse().ok().filter(|a| known.contains(a));
        let numbers: Vec<String> = known.iter().map(u32::to_string).collect();
        chosen.push(architecture.ok_or_else(|| {
            format!("ROCL_CUDA_ARCHS names {word}, which nvcc {version} does not compile for; choose from {}", numbers.join(", "))
        })?);
    }
    chosen.sort_unstable();
    chosen.dedup();
    if chosen.is_empty() {
        Err("ROCL_CUDA_ARCHS is empty; unset it, or name architectures, as 80,90".to_owned())
    } else {
        Ok(chosen)
    }
}

/// The text of a unit and of all files of this project that it includes.
fn read_with_includes(path: &Path, seen: &mut Vec<PathBuf>, text: &mut String) -> Result<(), String> {
    let own = fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    for name in own.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"')) {
        let found = [Path::new("kernels").join(name), Path::new("kernels/include").join(name)].into_iter().find(|p| p.is_file());
        if let Some(found) = found.filter(|found| !seen.contains(found)) {
            seen.push(found.clone());
            read_with_includes(&found, seen, text)?;
        }
    }
    text.push_str(&own);
    Ok(())
}
