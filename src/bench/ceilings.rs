//! What this device can do at most, measured at the start of every run: how fast it copies, and how fast it multiplies.

use super::measure::{Repetitions, short};
use crate::element::{Element, Real};
use crate::{Device, Result, Tensor, ops};
use serde::{Deserialize, Serialize};

/// The two ceilings of a roofline (Williams et al. 2009). Nothing runs faster than the higher of its two times against them, unless its data are in cache.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Bytes a second, read and written together, by a kernel that copies more than any cache holds.
    pub bytes_per_second: f64,
    /// Floating-point operations a second of a large matrix product, in the storage type of the run.
    pub flops_per_second: f64,
}

impl Ceilings {
    /// Measures them with `T` as storage type.
    ///
    /// # Errors
    /// Those of the device, such as too little memory for a buffer of 512 MiB.
    pub fn measure<T: Element>(device: &Device) -> Result<Self> {
        Ok(Self { bytes_per_second: copy_rate(device)?, flops_per_second: product_rate::<T>(device)? })
    }

    /// Takes what [`measure`](Self::measure) takes, on a device that only plans.
    ///
    /// # Errors
    /// Those of the device.
    pub fn rehearse<T: Element>(dry: &Device) -> Result<()> {
        copied(dry)?;
        let [x, weight, y] = multiplied::<T>(dry)?;
        ops::linear(&x, &weight, None, false, &y)
    }

    /// The least time for this much traffic and arithmetic, in seconds.
    pub fn floor(&self, bytes: u64, flops: u64) -> f64 {
        (bytes as f64 / self.bytes_per_second).max(flops as f64 / self.flops_per_second)
    }

    /// Which of the two binds.
    pub fn bound(&self, bytes: u64, flops: u64) -> Bound {
        if bytes as f64 / self.bytes_per_second >= flops as f64 / self.flops_per_second {
            Bound::Memory
        } else {
            Bound::Arithmetic
        }
    }
}

/// What keeps a call from being faster than its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Its traffic.
    Memory,
    /// Its arithmetic.
    Arithmetic,
}

const REPETITIONS: Repetitions = Repetitions { warmup: 3, samples: 9 };

/// The best of several: a ceiling is what can be reached, not what is usual.
fn copy_rate(device: &Device) -> Result<f64> {
    let [from, to] = copied(device)?;
    let time = short(device, REPETITIONS, None, || ops::copy(&from, &to))?;
    Ok((2 * from.len() * size_of::<f32>()) as f64 / time.min)
}

fn product_rate<T: Element>(device: &Device) -> Result<f64> {
    let [x, weight, y] = multiplied::<T>(device)?;
    let n = x.rows_len();
    let half = T::from_real(T::Real::from_f64(0.5));
    [&x, &weight].into_iter().try_for_each(|factor| factor.write(&vec![half; n * n]))?;
    let time = short(device, REPETITIONS, None, || ops::linear(&x, &weight, None, false, &y))?;
    Ok(2.0 * (n as f64).powi(3) / time.min)
}

/// What is copied, and where to.
fn copied(device: &Device) -> Result<[Tensor<f32>; 2]> {
    let buffer = || Tensor::zeros(device, [64 << 20]);
    Ok([buffer()?, buffer()?])
}

/// Factors, and where their product goes.
fn multiplied<T: Element>(device: &Device) -> Result<[Tensor<T>; 3]> {
    let n = if device.is_host() { 1024 } else { 8192 };
    let square = || Tensor::zeros(device, [n, n]);
    Ok([square()?, square()?, square()?])
}
