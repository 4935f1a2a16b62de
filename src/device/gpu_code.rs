//! The GPU's code that this build carries: what `build.rs` compiled and embedded with the feature `cuda`.

use super::launch::{CudaEntry, Kernel};
use std::ffi::CStr;

/// The version of the nvcc that made it, as `12.9.41`; none in a build without GPU code.
pub const NVCC: Option<&str> = option_env!("ROCL_NVCC_VERSION");

/// The architectures it was made for, ascending, 80 being sm_80; none in a build without GPU code. The last is there as PTX too, which a
/// driver can compile for newer cards.
pub fn architectures() -> Vec<u32> {
    let words = option_env!("ROCL_GPU_ARCHITECTURES").unwrap_or_default().split(' ');
    words.filter_map(|word| word.parse().ok()).collect()
}

impl Kernel {
    /// The kernel's name in the GPU's code of an element type, given by [`Element::SLOT`](crate::element::Element::SLOT), and the fatbin
    /// that holds it; `None` where the kernel does not exist for the type, and in a build without GPU code.
    pub fn gpu_code(&self, slot: usize) -> Option<(&'static CStr, &'static [u8])> {
        self.cuda.get(slot)?.as_ref().map(|CudaEntry { image, symbol }| (*symbol, *image))
    }
}
