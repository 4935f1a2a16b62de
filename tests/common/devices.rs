//! On which devices tests run: `ROCL_TEST_DEVICES` lists `cpu`, `simulated` (the CUDA device on the driver of `tests/fake_cuda`), `cuda` and
//! `cuda:N`. Without it, `cpu,simulated`, which every machine has.
//!
//! A program has one CUDA driver, so the simulated one and a real one exclude each other. Kernels for a GPU are not compiled for `f64`: bodies in it
//! run on the first two only.

use super::fake_cuda;
use rocl::Device;
use rocl::device::CudaOptions;
use rocl::element::Element;
use std::io::Write;
use std::sync::OnceLock;

/// The variable's name.
pub const VARIABLE: &str = "ROCL_TEST_DEVICES";

/// A device that tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestDevice {
    /// The CPU.
    Cpu,
    /// The CUDA device, on a driver that runs kernels on the CPU.
    Simulated,
    /// A GPU, by its number.
    Cuda(usize),
}

impl TestDevice {
    /// Opens it, convolutions being kernels on the simulated one and library calls on a GPU.
    pub fn open(self) -> Device {
        match self {
            Self::Cpu => Device::host().unwrap(),
            Self::Simulated => fake_cuda::device(),
            Self::Cuda(ordinal) => Device::cuda(ordinal).unwrap(),
        }
    }

    /// As a CUDA device on which every launch is waited for, so that nothing is captured as a graph.
    pub fn open_eager(self) -> Device {
        match self {
            Self::Cpu => self.open(),
            Self::Simulated => {
                fake_cuda::device_with(CudaOptions { synchronous: true, direct_convolution: true, ..CudaOptions::default() })
                    .unwrap()
            }
            Self::Cuda(ordinal) => {
                let options = CudaOptions { ordinal, synchronous: true, ..CudaOptions::from_environment().unwrap() };
                Device::cuda_with(options).unwrap()
            }
        }
    }

    /// Whether kernels exist there for arithmetic in `E`.
    pub fn computes_in<E: 'static>(self) -> bool {
        !(matches!(self, Self::Cuda(_)) && std::any::TypeId::of::<E>() == std::any::TypeId::of::<f64>())
    }
}

/// What a list of devices names.
///
/// # Errors
/// A sentence, when a name is unknown, there is none, or two drivers would be needed.
pub fn parse(list: &str) -> Result<Vec<TestDevice>, String> {
    let mut devices = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        let device = match (name, number) {
            ("cpu", _) => TestDevice::Cpu,
            ("simulated", _) => TestDevice::Simulated,
            ("cuda", _) => TestDevice::Cuda(0),
            (_, Some(number)) => TestDevice::Cuda(number),
            _ => return Err(format!("{VARIABLE} names {name:?}; it can name cpu, simulated, cuda and cuda:N")),
        };
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    if devices.is_empty() {
        return Err(format!("{VARIABLE} names no device; unset it, or name cpu, simulated, cuda or cuda:N"));
    }
    if devices.contains(&TestDevice::Simulated) && devices.iter().any(|device| matches!(device, TestDevice::Cuda(_))) {
        return Err(format!(
            "{VARIABLE} is {list:?}, but a program has either the simulated driver or a real one; run the tests twice"
        ));
    }
    Ok(devices)
}

/// The devices chosen. What cannot be meant ends the program, instead of failing each of its tests.
pub fn chosen() -> &'static [TestDevice] {
    static CHOSEN: OnceLock<Vec<TestDevice>> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let list = std::env::var(VARIABLE).unwrap_or_else(|_| "cpu,simulated".to_owned());
        parse(&list).unwrap_or_else(|reason| {
            // Past the harness, which would keep it to itself.
            let _ = writeln!(std::io::stderr(), "error: {reason}");
            std::process::exit(2)
        })
    })
}

/// Those of the chosen devices that compute in `T`; says so where there is none.
pub fn in_type<T: Element>() -> Vec<Device> {
    let devices: Vec<Device> = chosen().iter().filter(|device| device.computes_in::<T>()).map(|device| device.open()).collect();
    if devices.is_empty() {
        super::skipped(format!("no device chosen computes in {}", T::NAME));
    }
    devices
}

/// As [`in_type`], for bodies of so many steps that the simulated device, which convolves number by number, would take minutes.
pub fn in_type_for_long<T: Element>() -> Vec<Device> {
    in_type::<T>().into_iter().filter(|device| device.is_host() || is_gpu(device)).collect()
}

/// The chosen devices with a CUDA driver, simulated or real; says so where there is none.
pub fn with_driver() -> impl Iterator<Item = TestDevice> {
    if chosen() == [TestDevice::Cpu] {
        super::skipped("no CUDA device is chosen");
    }
    chosen().iter().copied().filter(|device| *device != TestDevice::Cpu)
}

/// Whether the simulated driver is chosen, which tests can tell what to be; says so where it is not.
pub fn can_simulate() -> bool {
    let simulated = chosen().contains(&TestDevice::Simulated);
    if !simulated {
        super::skipped("the simulated driver is not chosen");
    }
    simulated
}

/// Whether a device is a GPU: libraries there add up in an order of their own, and `exp` and `log` are rounded differently.
pub fn is_gpu(device: &Device) -> bool {
    matches!(device, Device::Cuda(cuda) if !cuda.options().simulated)
}
