//! How long work takes on a device.

use super::summary::Summary;
use crate::{Device, Result, Tensor};
use std::time::{Duration, Instant};

/// How often something is done, and how often it is done before that without looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetitions {
    /// Runs before the first sample: caches fill, clocks rise.
    pub warmup: usize,
    /// Samples.
    pub samples: usize,
}

/// Seconds that `work` takes, until the device has finished it.
///
/// # Errors
/// Those of `work` and of the device.
pub fn seconds(device: &Device, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    device.synchronize()?;
    let start = Instant::now();
    work()?;
    device.synchronize()?;
    Ok(start.elapsed().as_secs_f64())
}

/// A sample holds at least this much work: the clock's own cost is then below a thousandth, and that of waiting for a GPU small.
const SHORTEST_SAMPLE: Duration = Duration::from_micros(500);
/// Of even the shortest work a sample holds no more than this, so that a GPU's launch queue does not fill.
const MOST_PER_SAMPLE: usize = 512;

/// Times short work, by the device's own clock: samples of as many runs as make up half a millisecond, divided by their number. Where there is a `sweep`, each
/// sample is a single run, with the caches filled by something else.
///
/// # Errors
/// Those of `work` and of the device.
pub fn short(device: &Device, repetitions: Repetitions, sweep: Option<&Sweep>, work: impl Fn() -> Result<()>) -> Result<Summary> {
    let Repetitions { warmup, samples } = repetitions;
    let mut shortest = f64::INFINITY;
    for _ in 0..warmup.max(1) {
        shortest = shortest.min(seconds(device, &work)?);
    }
    let fit = (SHORTEST_SAMPLE.as_secs_f64() / shortest.max(1e-9)).ceil() as usize;
    let runs = if sweep.is_some() { 1 } else { fit.clamp(1, MOST_PER_SAMPLE) };
    let sample = |_| -> Result<f64> {
        if let Some(sweep) = sweep {
            sweep.run()?;
        }
        device.synchronize()?;
        Ok(device.time(runs as u32, &work)?.as_secs_f64())
    };
    Ok(Summary::of((0..samples).map(sample).collect::<Result<_>>()?))
}

/// Fills the caches with something else.
pub struct Sweep {
    buffer: Tensor<f32>,
}

impl Sweep {
    /// Larger than the last-level cache of any processor now in use.
    const BYTES: usize = 512 << 20;

    /// Allocates what is swept over.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Self { buffer: Tensor::zeros(device, [Self::BYTES / size_of::<f32>()])? })
    }

    fn run(&self) -> Result<()> {
        self.buffer.clear()
    }
}
