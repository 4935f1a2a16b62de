//! What the kernel tests share: devices, random data, comparison.

#![allow(dead_code, reason = "each test program uses a part")]

use crate::common::devices::{self, TestDevice};
use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::device::record::{self, Call};
use rocl::device::{Geometry, HostOptions, Schedule};
use rocl::element::{Element, Real};
use rocl::{Device, Tensor};
use std::collections::BTreeSet;
use std::io::Write;

/// The CPU in both launch geometries, with several thread counts and schedules. The first is what all others have to equal.
fn hosts() -> impl Iterator<Item = Device> {
    let options = [
        (Geometry::Ranges, Schedule::InOrder, 1),
        (Geometry::Ranges, Schedule::Shuffled(7), 3),
        (Geometry::Gpu, Schedule::InOrder, 2),
        (Geometry::Gpu, Schedule::Shuffled(11), 2),
    ];
    let open = |(geometry, schedule, threads)| {
        Device::host_with(HostOptions { threads, geometry, schedule, ..HostOptions::default() }).unwrap()
    };
    options.into_iter().map(open)
}

/// The same on the CPU while accesses to memory are watched, of which none may race; without the feature `access`, nothing.
fn without_races(test: impl Fn(&Device)) {
    #[cfg(feature = "access")]
    {
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
    #[cfg(not(feature = "access"))]
    let _ = test;
}

/// Runs a test on every device chosen; on the CPU in both launch geometries, with several thread counts and schedules, and watched for races.
pub fn for_each_device(test: impl Fn(&Device)) {
    for &device in devices::chosen() {
        match device {
            TestDevice::Cpu => {
                hosts().for_each(|device| test(&device));
                without_races(&test);
            }
            TestDevice::Simulated => test(&device.open()),
            TestDevice::Cuda(_) => noted(&device.open(), |device| test(device)),
        }
    }
}

/// Asserts that `run` gives the same bits on every device, and returns them. On a GPU that holds for kernels without exponential and logarithm;
/// the others are for [`answers`].
pub fn same_bits_everywhere<E: bytemuck::Pod + PartialEq + std::fmt::Debug>(run: impl Fn(&Device) -> Vec<E>) -> Vec<E> {
    let (first, others) = host_and_gpus(run);
    others.iter().for_each(|(device, values)| assert_same_bits(device, &first, values));
    first
}

/// What `run` gives on the CPU, with the same bits on every device that computes there, and on each GPU, whose exponential and logarithm are
/// rounded in other places: all of them are to be held against an oracle.
pub fn answers<E: bytemuck::Pod + PartialEq + std::fmt::Debug>(run: impl Fn(&Device) -> Vec<E>) -> Vec<Vec<E>> {
    let (first, others) = host_and_gpus(run);
    std::iter::once(first).chain(others.into_iter().map(|(_, values)| values)).collect()
}

/// The CPU's answer, which is that of the simulated device too, and those of GPUs; a GPU has no kernels for `f64`.
#[allow(clippy::type_complexity, reason = "a device's description with its values")]
fn host_and_gpus<E: bytemuck::Pod + PartialEq + std::fmt::Debug>(
    run: impl Fn(&Device) -> Vec<E>,
) -> (Vec<E>, Vec<(String, Vec<E>)>) {
    let chosen = devices::chosen();
    let mut hosts = hosts();
    // Needed in any case: it is what a GPU is compared with.
    let first = run(&hosts.next().unwrap());
    let mut gpus = Vec::new();
    for &device in chosen.iter().filter(|device| device.computes_in::<E>()) {
        match device {
            TestDevice::Cpu => {
                hosts.by_ref().for_each(|device| assert_same_bits(&device.description(), &first, &run(&device)));
                without_races(|device| assert_same_bits("the watched CPU", &first, &run(device)));
            }
            TestDevice::Simulated => assert_same_bits("the simulated device", &first, &run(&device.open())),
            TestDevice::Cuda(_) => {
                let device = device.open();
                gpus.push((device.description(), noted(&device, &run)));
            }
        }
    }
    (first, gpus)
}

/// Equal bits; but a NaN is any NaN: CPUs keep a sign and a payload that GPUs do not.
fn assert_same_bits<E: bytemuck::Pod + PartialEq + std::fmt::Debug>(device: &str, expected: &[E], found: &[E]) {
    assert_eq!(expected.len(), found.len(), "{device}: lengths");
    #[allow(clippy::eq_op, reason = "true of NaN only")]
    let is_nan = |x: &E| x != x;
    for (i, (e, f)) in expected.iter().zip(found).enumerate() {
        let same = bytemuck::bytes_of(e) == bytemuck::bytes_of(f) || is_nan(e) && is_nan(f);
        assert!(same, "bits differ on {device} at {i}: {f:?} instead of {e:?}");
    }
}

/// Runs a test on a GPU, and adds the kernels that it launched there to the file that `ROCL_TEST_LAUNCHES` names: a line of JSON for each with its element
/// type, the GPU and the test. A test that fails later has its lines all the same; whether it passed, its program says.
fn noted<V>(device: &Device, test: impl Fn(&Device) -> V) -> V {
    let Some(path) = std::env::var_os("ROCL_TEST_LAUNCHES") else { return test(device) };
    let mut value = None;
    let calls = record::record(|| {
        value = Some(test(device));
        Ok(())
    });
    let kinds: BTreeSet<_> = calls.unwrap().iter().map(|Call { name, element, .. }| (*name, *element)).collect();
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let lines: String = kinds
        .into_iter()
        .map(|(kernel, element)| format!("{}\n", serde_json::json!({ "kernel": kernel, "element": element, "test": test })))
        .collect();
    // One write each, so that tests that run at the same time do not mix their lines.
    std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(lines.as_bytes()).unwrap();
    value.unwrap()
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
pub fn relative_l2(found: &[f64], expected: &[f64]) -> f64 {
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| (f - e) * (f - e)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    (difference / norm.max(f64::MIN_POSITIVE)).sqrt()
}
