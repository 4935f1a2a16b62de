//! What `rocl doctor` looks at, one line each.

use crate::data::{Source, Split};
use crate::device::kernel_status::Status;
use crate::device::libraries::CudaLibrary;
use crate::device::{CudaOptions, cuda, gpu_code, host, launch, library_version};
use crate::recipe::Recipe;
use crate::recipe::settings::presets;
use crate::{Device, Error, Result, trial};

/// Something that is there, or a sentence about what to do.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it can be used.
    pub ok: bool,
    /// What was found, or what is missing and the remedy.
    pub text: String,
}

impl Check {
    /// A check with this outcome.
    pub fn new(name: impl Into<String>, outcome: Result<String>) -> Self {
        let (ok, text) = match outcome {
            Ok(found) => (true, found),
            Err(error) => (false, error.to_string()),
        };
        Self { name: name.into(), ok, text }
    }
}

pub fn program() -> Check {
    use std::env::consts::{ARCH, OS};
    Check::new("program", Ok(format!("rocl {}, {ARCH} {OS}", env!("CARGO_PKG_VERSION"))))
}

pub fn processor() -> Check {
    let outcome =
        Device::host().map(|device| format!("{}, {}", device.description().trim_start_matches("CPU, "), host::instructions()));
    Check::new("CPU", outcome)
}

/// What the largest preset takes on a CPU is less than this.
const LITTLE_GIB: f64 = 1.0;

/// What there is for a job, where the system says so.
pub fn memory() -> Option<Check> {
    let (there, free) = (memory_gib()?, Device::host().ok()?.free_memory().ok()?? as f64 / f64::from(1 << 30));
    let found = format!("{there:.0} GiB, of which a job can have {free:.1} GiB");
    let outcome = if free < LITTLE_GIB {
        Err(Error::Device(format!("{found}; end other programs, or take a smaller --batch-size")))
    } else {
        Ok(found)
    };
    Some(Check::new("memory", outcome))
}

/// The machine's memory, where the system says so in this way.
fn memory_gib() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / f64::from(1 << 20))
}

pub fn gpu_code() -> Check {
    let outcome = if launch::has_gpu_code() {
        let architectures: Vec<String> = gpu_code::architectures().iter().map(|number| format!("sm_{number}")).collect();
        Ok(format!("{}, by nvcc {}", architectures.join(", "), gpu_code::NVCC.unwrap_or("of unknown version")))
    } else {
        Err(Error::Device(cuda::NO_GPU_CODE.to_owned()))
    };
    Check::new("GPU code", outcome)
}

/// Whether the kernels have been run on a GPU, by what is recorded in the repository.
pub fn kernels() -> Check {
    let outcome = Status::recorded().and_then(|status| match status.kernels.is_empty() {
        true => Err(Error::Device(format!("{}; tools/gpu_check.sh does so", status.summary()))),
        false => Ok(status.summary()),
    });
    Check::new("kernels", outcome)
}

pub fn driver() -> Check {
    Check::new("driver", cuda::start().map(|(major, minor)| format!("supports CUDA {major}.{minor}")))
}

/// A line for each GPU, named as `--device` takes it, with the GPU where it can be used; none where the driver does not start.
pub fn gpus() -> Vec<(Check, Option<Device>)> {
    if cuda::start().is_err() {
        return Vec::new();
    }
    let look_at = |gpu: &cuda::Gpu| {
        let (outcome, device) = match try_out(gpu) {
            Ok((found, device)) => (Ok(found), Some(device)),
            Err(error) => (Err(error), None),
        };
        (Check::new(format!("cuda:{}", gpu.ordinal), outcome), device)
    };
    match cuda::gpus() {
        Ok(gpus) => gpus.iter().map(look_at).collect(),
        Err(error) => vec![(Check::new("GPUs", Err(error)), None)],
    }
}

/// Opens the GPU and has it compute.
fn try_out(gpu: &cuda::Gpu) -> Result<(String, Device)> {
    let (major, minor) = gpu.compute_capability;
    let found = format!("{}, compute capability {major}.{minor}, {} GiB of memory", gpu.name, gpu.memory >> 30);
    let tried = CudaOptions::from_environment()
        .and_then(|options| Device::cuda_with(CudaOptions { ordinal: gpu.ordinal, ..options }))
        .and_then(|device| Ok((trial::try_out(&device)?, device)));
    match tried {
        Ok((count, device)) => Ok((format!("{found}; {count} kinds of work come out as on the CPU"), device)),
        Err(reason) => Err(Error::Device(format!("{found}: {reason}"))),
    }
}

/// Variables with which NVIDIA's libraries compute in another precision than they are asked for: what results rest on then is not in the recipe.
const OVERRIDES: [&str; 2] = ["NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION"];

/// A line for each of these that is set.
pub fn overrides() -> Vec<Check> {
    let set = OVERRIDES.iter().filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let warning = |name: &str| {
        let text =
            format!("it is set, and NVIDIA's libraries then compute in another precision than --precision says; unset {name}");
        Check::new(name, Err(Error::Device(text)))
    };
    set.map(|name| warning(name)).collect()
}

pub fn libraries() -> [Check; 3] {
    [CudaLibrary::Cudnn, CudaLibrary::CublasLt, CudaLibrary::Nvrtc].map(|library| {
        let found = library_version::find(library).map(|(path, version)| format!("{version}, {}", path.display()));
        Check::new(library.title(), found)
    })
}

pub fn data(source: &Source) -> Check {
    let len = |split| source.open(split, None).map(|data| (data.name.clone(), data.len()));
    let outcome = len(Split::Train).and_then(|(name, train)| {
        let (_, test) = len(Split::Test)?;
        let unlabeled = source.unlabeled_len()?.map_or_else(String::new, |n| format!(", and {n} without labels"));
        Ok(format!("{name}: {train} images to train on, {test} to test on{unlabeled}"))
    });
    Check::new("data", outcome)
}

pub fn recipes() -> Check {
    let outcome = presets().iter().try_for_each(|preset| Recipe::load(preset.name).map(drop));
    Check::new("recipes", outcome.map(|()| format!("{} presets, which `rocl recipes` lists", presets().len())))
}
