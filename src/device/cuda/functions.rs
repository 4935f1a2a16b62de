//! Kernels in the GPU's memory: each looked up once, in a module that is loaded when the first of its kernels is launched.

use super::{Cuda, Gpu, driver};
use crate::device::launch::Kernel;
use crate::{Error, Result};
use cudarc::driver::result::module;
use cudarc::driver::sys::{CUfunction, CUmodule, CUresult};
use cudarc::driver::{CudaContext, DriverError};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

/// Suffixes of the symbols, by [`Element::SLOT`](crate::element::Element::SLOT).
const SUFFIXES: [&str; 4] = ["f32", "f16", "bf16", "f64"];
/// Images are made of 64-bit words, and bytes embedded in the program lie anywhere.
const IMAGE_ALIGNMENT: usize = 8;
/// What stands for code under a driver that has its own.
static NO_CODE: &[u8] = &[0; 64];

pub(super) struct Functions {
    context: Arc<CudaContext>,
    /// The GPU as errors name it.
    gpu: String,
    simulated: bool,
    /// By the address of the image.
    modules: RefCell<HashMap<usize, CUmodule>>,
    /// By the address of the kernel's entry in the table, and slot.
    functions: RefCell<HashMap<(usize, usize), CUfunction>>,
}

impl Functions {
    pub(super) fn new(context: &Arc<CudaContext>, gpu: &Gpu, simulated: bool) -> Self {
        let (major, minor) = gpu.compute_capability;
        let gpu = format!("{} (sm_{major}{minor})", gpu.name);
        Self { context: context.clone(), gpu, simulated, modules: RefCell::default(), functions: RefCell::default() }
    }

    /// The kernel for an element type.
    pub(super) fn get(&self, cuda: &Cuda, kernel: &'static Kernel, slot: usize) -> Result<CUfunction> {
        let key = (std::ptr::from_ref(kernel) as usize, slot);
        if let Some(&function) = self.functions.borrow().get(&key) {
            return Ok(function);
        }
        cuda.outside_capture(&format!("load kernel {}", kernel.name))?;
        cuda.bind()?;
        let (image, symbol) = self.entry(kernel, slot)?;
        let module = self.module(kernel, image)?;
        // SAFETY: the module is loaded, and stays so while `self` lives.
        let function = unsafe { module::get_function(module, symbol) }.map_err(|error| self.unusable(kernel, error))?;
        self.functions.borrow_mut().insert(key, function);
        Ok(function)
    }

    fn entry(&self, kernel: &'static Kernel, slot: usize) -> Result<(&'static [u8], CString)> {
        let missing = || {
            let element = SUFFIXES[slot];
            Error::shape(kernel.name, format!("this kernel does not exist for {element} on a GPU; write it over `T`"))
        };
        if self.simulated {
            kernel.host[slot].ok_or_else(missing)?;
            let symbol = CString::new(format!("{}_{}", kernel.name, SUFFIXES[slot]));
            return Ok((NO_CODE, symbol.map_err(|_| missing())?));
        }
        let entry = kernel.cuda[slot].as_ref().ok_or_else(missing)?;
        Ok((entry.image, CStr::to_owned(entry.symbol)))
    }

    fn module(&self, kernel: &Kernel, image: &'static [u8]) -> Result<CUmodule> {
        let key = image.as_ptr() as usize;
        if let Some(&module) = self.modules.borrow().get(&key) {
            return Ok(module);
        }
        let image = aligned(image);
        // SAFETY: a complete image as the compiler wrote it; the driver copies what it keeps.
        let module = unsafe { module::load_data(image.as_ptr().cast()) }.map_err(|error| self.unusable(kernel, error))?;
        self.modules.borrow_mut().insert(key, module);
        Ok(module)
    }

    fn unusable(&self, kernel: &Kernel, error: DriverError) -> Error {
        let (file, gpu) = (kernel.file, &self.gpu);
        Error::Device(match error.0 {
            CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            | CUresult::CUDA_ERROR_INVALID_PTX
            | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
                format!("this build has no code of {file} for {gpu}; build it with ROCL_CUDA_ARCHS naming that architecture")
            }
            _ => format!("kernel {} cannot be loaded on {gpu}: {}; build the program anew", kernel.name, driver::text(error)),
        })
    }
}

impl Drop for Functions {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and nothing has to be: the modules end with the context.
        let _ = self.context.bind_to_thread();
        for (_, module) in self.modules.get_mut().drain() {
            // SAFETY: loaded by `module`, and its functions go with `self`.
            let _ = unsafe { module::unload(module) };
        }
    }
}

fn aligned(image: &'static [u8]) -> Cow<'static, [u64]> {
    if image.as_ptr().align_offset(IMAGE_ALIGNMENT) == 0 && image.len().is_multiple_of(size_of::<u64>()) {
        return Cow::Borrowed(bytemuck::cast_slice(image));
    }
    let mut words = vec![0; image.len().div_ceil(size_of::<u64>())];
    bytemuck::cast_slice_mut(&mut words)[..image.len()].copy_from_slice(image);
    Cow::Owned(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_aligned_wherever_it_lies() {
        static BYTES: [u8; 41] = *b"0123456789abcdef0123456789abcdef012345678";
        for start in 0..9 {
            let image = &BYTES[start..];
            let words = aligned(image);
            assert_eq!(&bytemuck::cast_slice::<u64, u8>(&words)[..image.len()], image);
        }
    }
}
