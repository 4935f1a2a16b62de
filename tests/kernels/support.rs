//! What the kernel tests share: devices, random data, comparison.

use crate::fake_cuda;
use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::device::{Geometry, HostOptions, Schedule};
use rocl::element::{Element, Real};
use rocl::{Device, Tensor};

/// Runs a test on the host in both launch geometries, with several thread counts and schedules; and through the CUDA device, on a driver
/// that runs the kernels here. With the feature `access` once more while accesses to memory are watched, of which none may race.
pub fn for_each_device(test: impl Fn(&Device)) {
    for (geometry, schedule, threads) in [
        (Geometry::Ranges, Schedule::InOrder, 1),
        (Geometry::Ranges, Schedule::Shuffled(7), 3),
        (Geometry::Gpu, Schedule::InOrder, 2),
        (Geometry::Gpu, Schedule::Shuffled(11), 2),
    ] {
        let device = Device::host_with(HostOptions { threads, geometry, schedule, ..HostOptions::default() }).unwrap();
        test(&device);
    }
    test(&fake_cuda::device());
    #[cfg(feature = "access")]
    without_races(test);
}

#[cfg(feature = "access")]
fn without_races(test: impl Fn(&Device)) {
    let device = Device::host_with(HostOptions { threads: 1, ..HostOptions::default() }).unwrap();
    let ((), launches) = rocl::device::access::watch(|| {
        test(&device);
        Ok(())
    })
    .unwrap();
    for launch in launches {
        let kernel = launch.kernel;
        assert_eq!(launch.races, 0, "{kernel} on {} blocks of {}: {:#?}", launch.blocks, launch.threads, launch.examples);
    }
}

/// Asserts that `run` gives the same bits on every host configuration, and returns them.
pub fn same_bits_everywhere<E: bytemuck::Pod + PartialEq + std::fmt::Debug>(run: impl Fn(&Device) -> Vec<E>) -> Vec<E> {
    let first = std::cell::RefCell::new(None::<Vec<E>>);
    for_each_device(|device| {
        let values = run(device);
        let mut first = first.borrow_mut();
        match &*first {
            None => *first = Some(values),
            Some(expected) => {
                assert_eq!(
                    bytemuck::cast_slice::<E, u8>(expected),
                    bytemuck::cast_slice::<E, u8>(&values),
                    "bits differ on {device:?}"
                )
            }
        }
    });
    first.into_inner().unwrap()
}

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Uniform values in [low, high), as f64.
pub fn uniform(seed: u64, n: usize, low: f64, high: f64) -> Vec<f64> {
    let mut rng = rng(seed);
    (0..n).map(|_| rng.random_range(low..high)).collect()
}

/// Rounds to the storage type, so that the oracle and the kernel start from the same numbers.
pub fn stored<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&v| T::from_real(T::Real::from_f64(v))).collect()
}

/// Back to f64, exactly.
pub fn widened<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_real().to_f64()).collect()
}

pub fn upload<T: Element, const N: usize>(device: &Device, shape: [usize; N], values: &[f64]) -> Tensor<T> {
    Tensor::from_slice(device, shape, &stored::<T>(values)).unwrap()
}

pub fn download<T: Element>(tensor: &Tensor<T>) -> Vec<f64> {
    widened(&tensor.to_vec().unwrap())
}

/// Half a unit in the last place of the storage type, relative: the error of one correct rounding.
pub fn rounding<T: Element>() -> f64 {
    match T::NAME {
        "f64" => f64::EPSILON / 2.0,
        "f32" => f64::from(f32::EPSILON) / 2.0,
        "f16" => f16::EPSILON.to_f64() / 2.0,
        "bf16" => bf16::EPSILON.to_f64() / 2.0,
        other => panic!("no such element type: {other}"),
    }
}

/// The sum with one rounding's error (Neumaier 1974): an oracle must be more exact than the f64 kernel it judges.
pub fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (total, lost) = values.fold((0.0f64, 0.0f64), |(total, lost), value| {
        let next = total + value;
        let error = if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        (next, lost + error)
    });
    total + lost
}

/// Asserts |found − expected| ≤ tolerance·max(|expected|, scale) for every element.
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64, scale: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        let allowed = tolerance * e.abs().max(scale);
        assert!((f - e).abs() <= allowed, "{what}[{i}]: found {f}, expected {e}, allowed difference {allowed:e}");
    }
}

/// |found − expected|₂ / |expected|₂.
#[allow(dead_code)]
pub fn relative_l2(found: &[f64], expected: &[f64]) -> f64 {
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| (f - e) * (f - e)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    (difference / norm.max(f64::MIN_POSITIVE)).sqrt()
}
