//! Named ranges of time that profilers show (NVTX).

use super::Device;
use super::libraries::{self, CudaLibrary, OpenLibrary};
use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

/// NVTX's two functions, where its library is there. Nothing depends on it.
struct Nvtx {
    push: unsafe extern "C" fn(*const c_char) -> c_int,
    pop: unsafe extern "C" fn() -> c_int,
}

impl Nvtx {
    fn get() -> Option<&'static Self> {
        static NVTX: OnceLock<Option<Nvtx>> = OnceLock::new();
        let load = |library: &OpenLibrary| {
            // SAFETY: the types are those of NVTX's header.
            unsafe { Some(Self { push: library.function("nvtxRangePushA").ok()?, pop: library.function("nvtxRangePop").ok()? }) }
        };
        NVTX.get_or_init(|| libraries::open(CudaLibrary::Nvtx).ok().and_then(load)).as_ref()
    }
}

/// A range that ends when it is dropped.
#[must_use = "a range lasts as long as this"]
pub struct Range(Option<&'static Nvtx>);

impl Device {
    /// Shows what is launched from now on, until the range is dropped, under a name: to a profiler, on a GPU, where NVTX's library is
    /// there. Launches that are replayed as a graph are not launched again, and so in no range.
    pub fn range(&self, name: &CStr) -> Range {
        let nvtx = if matches!(self, Self::Cuda(_)) { Nvtx::get() } else { None };
        if let Some(nvtx) = nvtx {
            // SAFETY: a C string; NVTX copies it.
            unsafe { (nvtx.push)(name.as_ptr()) };
        }
        Range(nvtx)
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        if let Some(nvtx) = self.0 {
            // SAFETY: ends the range that was begun last, since ranges are dropped in reverse order.
            unsafe { (nvtx.pop)() };
        }
    }
}
