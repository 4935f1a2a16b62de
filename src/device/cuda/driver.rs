//! The NVIDIA driver: whether it is there, what it can reach, and its error codes as sentences.
//!
//! It is opened at run time, so a program with GPU code starts on a machine without one.

use crate::{Error, Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};

/// The oldest driver interface that has all that is called here, as the driver counts: 12.0.
const OLDEST: i32 = 12_000;
/// The oldest compute capability that kernels are compiled for.
pub const OLDEST_CAPABILITY: (i32, i32) = (7, 5);

/// What to do about too little memory.
pub(super) const NEED_LESS: &str = "a smaller --batch-size or --width needs less, and nvidia-smi shows who uses the rest";

/// A GPU as the driver describes it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Gpu {
    /// Its number, from 0.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Major and minor compute capability.
    pub compute_capability: (i32, i32),
    /// All its memory, in bytes.
    pub memory: usize,
    /// How many multiprocessors it has.
    pub multiprocessors: usize,
    /// Where it is, `00000000:01:00.0`: by this NVML knows it, whatever CUDA_VISIBLE_DEVICES says. Reports leave it out, since it says nothing of speed.
    #[serde(skip)]
    pub bus_id: String,
}

impl Gpu {
    fn describe(ordinal: usize) -> Result<Self, DriverError> {
        let device = result::device::get(ordinal as i32)?;
        // SAFETY: `device` comes from the driver.
        let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
        Ok(Self {
            ordinal,
            name: result::device::get_name(device)?,
            compute_capability: (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            // SAFETY: as above.
            memory: unsafe { result::device::total_mem(device)? },
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
            bus_id: format!(
                "{:08x}:{:02x}:{:02x}.0",
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?
            ),
        })
    }

    /// Refuses a GPU that no kernel is compiled for.
    pub(super) fn check(&self) -> Result<()> {
        if self.compute_capability >= OLDEST_CAPABILITY {
            return Ok(());
        }
        let ((major, minor), (least_major, least_minor)) = (self.compute_capability, OLDEST_CAPABILITY);
        Err(Error::Device(format!(
            "{} has compute capability {major}.{minor}, but the kernels need {least_major}.{least_minor} (2018) or later; give --device cpu",
            self.name
        )))
    }
}

/// Whether this machine has the driver's library. Nothing else here may be called before this has said so.
pub fn is_present() -> bool {
    // SAFETY: opens the library, whose constructors are the driver's own, and closes it.
    unsafe { sys::is_culib_present() }
}

/// Starts the driver, and returns the CUDA version it supports, major and minor.
///
/// # Errors
/// [`Error::Device`] when there is no driver, it is too old, or it finds no GPU.
pub fn start() -> Result<(i32, i32)> {
    if !is_present() {
        return Err(Error::Device(
            "there is no NVIDIA driver on this machine (libcuda.so.1 was not found); install it, or give --device cpu".to_owned(),
        ));
    }
    let mut version = 0;
    // SAFETY: a pointer to a live integer.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    asked.map_err(not_started)?;
    let (major, minor) = (version / 1000, version % 1000 / 10);
    if version < OLDEST {
        return Err(Error::Device(format!(
            "the NVIDIA driver supports CUDA {major}.{minor} at most, and 12.0 is needed; update it to 525 or later, or give --device cpu"
        )));
    }
    result::init().map_err(not_started)?;
    Ok((major, minor))
}

/// Refuses a driver that cannot load what this version of nvcc compiles: it loads code of its own major version of CUDA, of any minor one,
/// and of earlier ones.
pub(super) fn check_code((major, minor): (i32, i32), nvcc: &str) -> Result<()> {
    let of_code: i32 = nvcc.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if of_code <= major {
        return Ok(());
    }
    let (version, driver) = (nvcc, if of_code == 13 { " (580 or later)" } else { "" });
    Err(Error::Device(format!(
        "the NVIDIA driver supports CUDA {major}.{minor} at most, and this build's GPU code, made by nvcc {version}, needs one for CUDA \
         {of_code}{driver}; update the driver, build with an nvcc {major}, or give --device cpu"
    )))
}

/// All GPUs, after [`start`].
///
/// # Errors
/// [`Error::Device`] when there is none, or the driver fails.
pub fn gpus() -> Result<Vec<Gpu>> {
    let count = result::device::get_count().map_err(not_started)?;
    if count == 0 {
        return Err(not_started(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)));
    }
    (0..count as usize).map(|ordinal| Gpu::describe(ordinal).map_err(not_started)).collect()
}

/// The driver's own name and text for an error: `CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)`.
pub(super) fn text(error: DriverError) -> String {
    let read = |text: Result<&std::ffi::CStr, DriverError>| text.ok().map(|text| text.to_string_lossy().into_owned());
    match (read(error.error_name()), read(error.error_string())) {
        (Some(name), Some(text)) => format!("{name} ({text})"),
        _ => format!("error {}", error.0 as u32),
    }
}

fn not_started(error: DriverError) -> Error {
    Error::Device(match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => {
            "the NVIDIA driver finds no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES, or give --device cpu".to_owned()
        }
        CUresult::CUDA_ERROR_STUB_LIBRARY => {
            "the libcuda that was found is the toolkit's stub and no driver; take its folder out of LD_LIBRARY_PATH".to_owned()
        }
        CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "the NVIDIA driver's library and its kernel module are of different versions; restart the machine".to_owned()
        }
        _ => format!("the NVIDIA driver does not start: {}; see what nvidia-smi says, or give --device cpu", text(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_loads_code_of_its_own_major_version_and_earlier_ones() {
        for (driver, nvcc) in
            [((12, 0), "12.9.86"), ((12, 8), "12.0"), ((13, 0), "12.9.86"), ((13, 0), "13.2.51"), ((14, 1), "13.0")]
        {
            assert!(check_code(driver, nvcc).is_ok(), "{driver:?} {nvcc}");
        }
        let message = check_code((12, 8), "13.0.88").unwrap_err().to_string();
        assert!(
            message.contains("CUDA 12.8 at most") && message.contains("made by nvcc 13.0.88, needs one for CUDA 13"),
            "{message}"
        );
        assert!(message.contains("(580 or later); update the driver, build with an nvcc 12, or give --device cpu"), "{message}");
    }
}
