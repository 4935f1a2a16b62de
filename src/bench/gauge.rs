//! What a GPU says of itself at work, by NVML: clocks, power, and what holds it back.
//!
//! NVML comes with the driver. Where it is missing or a card tells it nothing, figures are left out.

use super::summary::median;
use crate::{Device, Error, Result};
use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Long enough for clocks to settle, and for an energy counter that moves ten times a second.
pub const LOAD: Duration = Duration::from_secs(2);
/// Runs that are launched before the GPU is waited for: the clocks are read while the last of them computes. A step's uploads wait for the step before,
/// so the energy of one holds its gaps as well.
const QUEUED: usize = 8;

/// A GPU at work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    /// The driver's version, `580.159.03`.
    pub driver: Option<String>,
    /// How often the work was done.
    pub runs: usize,
    /// How long that took.
    pub seconds: f64,
    /// Clock of the multiprocessors, MHz.
    pub sm_mhz: Option<Spread>,
    /// Clock of the memory, MHz.
    pub memory_mhz: Option<Spread>,
    /// Power, W.
    pub watts: Option<Spread>,
    /// Temperature of the chip, °C.
    pub celsius: Option<Spread>,
    /// Energy of one run, J.
    pub joules_per_run: Option<f64>,
    /// What held the clocks back, by NVML's names; empty when they were as high as they go.
    pub held_back_by: Option<Vec<String>>,
}

/// Values of one quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one reading.
    pub fn of(readings: &[f64]) -> Option<Self> {
        let (min, max) = (readings.iter().copied().reduce(f64::min)?, readings.iter().copied().reduce(f64::max)?);
        Some(Self { min, median: median(readings), max })
    }
}

/// The readings taken so far.
#[derive(Default)]
struct Readings {
    sm: Vec<f64>,
    memory: Vec<f64>,
    watts: Vec<f64>,
    celsius: Vec<f64>,
    reasons: Option<ThrottleReasons>,
}

impl Readings {
    /// A card that does not tell one thing may tell another.
    fn take(&mut self, gpu: &nvml_wrapper::Device) {
        fn note(readings: &mut Vec<f64>, scale: f64, reading: Result<u32, NvmlError>) {
            readings.extend(reading.ok().map(|value| f64::from(value) * scale));
        }
        note(&mut self.sm, 1.0, gpu.clock_info(Clock::SM));
        note(&mut self.memory, 1.0, gpu.clock_info(Clock::Memory));
        note(&mut self.watts, 1e-3, gpu.power_usage());
        note(&mut self.celsius, 1.0, gpu.temperature(TemperatureSensor::Gpu));
        if let Ok(reasons) = gpu.current_throttle_reasons() {
            self.reasons = Some(self.reasons.unwrap_or(ThrottleReasons::NONE) | reasons);
        }
    }

    /// Idling between two launches is no reason to distrust a time.
    fn held_back_by(&self) -> Option<Vec<String>> {
        let reasons = self.reasons? - ThrottleReasons::GPU_IDLE;
        Some(reasons.iter_names().map(|(name, _)| name.to_lowercase().replace('_', " ")).collect())
    }
}

/// NVML, and the GPU that is asked about.
pub struct Gauge {
    nvml: Nvml,
    bus_id: String,
    device: Device,
}

impl Gauge {
    /// For a GPU; nothing for a CPU.
    ///
    /// # Errors
    /// [`Error::Device`] where NVML is missing, does not start, or does not know the GPU.
    pub fn open(device: &Device) -> Result<Option<Self>> {
        let Device::Cuda(cuda) = device else { return Ok(None) };
        let (nvml, bus_id) = (Nvml::init().map_err(unknown)?, cuda.gpu().bus_id.clone());
        nvml.device_by_pci_bus_id(bus_id.as_str()).map_err(unknown)?;
        Ok(Some(Self { nvml, bus_id, device: device.clone() }))
    }

    /// The GPU while it does `work` again and again for as long as `duration`.
    ///
    /// # Errors
    /// Those of `work` and of the device; [`Error::Device`] where NVML does not know the GPU.
    pub fn load(&self, duration: Duration, mut work: impl FnMut() -> Result<()>) -> Result<Load> {
        let Self { nvml, bus_id, device } = self;
        let gpu = nvml.device_by_pci_bus_id(bus_id.as_str()).map_err(unknown)?;
        let mut readings = Readings::default();
        let mut runs = 0;
        device.synchronize()?;
        let energy = || gpu.total_energy_consumption().ok();
        let (start, before) = (Instant::now(), energy());
        while start.elapsed() < duration {
            (0..QUEUED).try_for_each(|_| work())?;
            readings.take(&gpu);
            device.synchronize()?;
            runs += QUEUED;
        }
        let seconds = start.elapsed().as_secs_f64();
        let joules = before.zip(energy()).map(|(before, after)| after.saturating_sub(before) as f64 * 1e-3);
        Ok(Load {
            driver: nvml.sys_driver_version().ok(),
            runs,
            seconds,
            sm_mhz: Spread::of(&readings.sm),
            memory_mhz: Spread::of(&readings.memory),
            watts: Spread::of(&readings.watts),
            celsius: Spread::of(&readings.celsius),
            joules_per_run: joules.map(|joules| joules / runs as f64),
            held_back_by: readings.held_back_by(),
        })
    }
}

fn unknown(error: NvmlError) -> Error {
    Error::Device(format!("clocks and power are not known, since NVML says: {error}"))
}

impl Load {
    /// One line for people, about work of that name.
    pub fn line(&self, work: &str) -> String {
        let spread = |spread: Option<Spread>, unit: &str| {
            spread.map(|Spread { min, median, max }| format!("{median:.0} {unit} ({min:.0} to {max:.0})"))
        };
        let energy = self.joules_per_run.map(|joules| format!("{joules:.2} J {work}"));
        let parts = [spread(self.sm_mhz, "MHz"), spread(self.watts, "W"), spread(self.celsius, "°C"), energy];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let held = match self.held_back_by.as_deref().unwrap_or_default() {
            [] => String::new(),
            reasons => format!("; the card was held back by {}, so it can be faster than these figures", reasons.join(", ")),
        };
        format!("under load: {}{held}", parts.join(", "))
    }
}
