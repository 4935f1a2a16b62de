//! An NVIDIA GPU: our kernels from the code embedded in the program, on one stream of one context.
//!
//! Nothing waits: launches, uploads and copies go onto the stream in program order. Only reading back, freeing memory and
//! [`Cuda::synchronize`] wait for it. A kernel that fails is therefore noticed later than it was launched, at the next of these.

mod clock;
mod driver;
mod functions;
mod graph;
pub(super) mod grid;
mod launched;
mod memory;
mod staging;

use super::cudnn::EngineSet;
use super::gpu_code;
use super::launch::{self, Kernel, Work};
use super::memory::Usage;
use super::workspace::{WORKSPACE, Workspace};
use crate::{Error, Result};
use cudarc::driver::sys;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};
pub use driver::{Gpu, gpus, is_present, start};
use functions::Functions;
pub(super) use graph::Pace;
use launched::Launched;
use memory::Allocation;
pub(super) use memory::CudaMemory;
use staging::Staging;
use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

/// What a CUDA device can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CudaOptions {
    /// Which GPU, from 0.
    pub ordinal: usize,
    /// Whether products and convolutions of 32-bit numbers may round their inputs to 10-bit mantissas, for tensor cores.
    pub tf32: bool,
    /// Whether convolutions and matrix products run as the portable kernels of `conv_direct.cu` instead of in libraries: slow, for finding faults.
    pub direct_convolution: bool,
    /// Whether every launch is waited for, so that a failure names its kernel: slow, for finding faults.
    pub synchronous: bool,
    /// For tests with a driver of their own: kernels are looked up by their symbols alone, in a module without code, and exist for f64 too.
    #[doc(hidden)]
    pub simulated: bool,
}

/// What a program without kernels for a GPU says when it is asked for one.
pub const NO_GPU_CODE: &str = "this build carries no GPU code; build it with --features cuda";

/// A GPU as a device.
pub struct Cuda {
    options: CudaOptions,
    gpu: Gpu,
    usage: Usage,
    functions: Functions,
    staging: Staging,
    /// What was launched last, for errors that are noticed later.
    last: Cell<Option<Launched>>,
    capturing: Cell<bool>,
    tunes: Cell<Option<EngineSet>>,
    libraries: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
    /// Whether a graph has ever been captured: it knows the addresses of what its launches use.
    has_graphs: Cell<bool>,
    /// By purpose; the last of each is lent out. Smaller ones before it stay if a graph may use them.
    scratch: RefCell<HashMap<&'static str, Vec<Rc<Allocation>>>>,
    stream: Arc<CudaStream>,
}

impl Cuda {
    pub(super) fn new(options: CudaOptions) -> Result<Self> {
        if !options.simulated && !launch::has_gpu_code() {
            return Err(Error::Device(NO_GPU_CODE.to_owned()));
        }
        let driver = start()?;
        if let Some(nvcc) = gpu_code::NVCC.filter(|_| !options.simulated) {
            driver::check_code(driver, nvcc)?;
        }
        let gpus = gpus()?;
        let Some(gpu) = gpus.get(options.ordinal).cloned() else {
            let (asked, count) = (options.ordinal, gpus.len());
            let there =
                if count == 1 { "is one GPU, cuda:0".to_owned() } else { format!("are {count}, cuda:0 to cuda:{}", count - 1) };
            return Err(Error::Device(format!("there is no GPU cuda:{asked}; there {there}")));
        };
        gpu.check()?;
        let opened =
            |error| Error::Device(format!("cannot open {}: {}; see what nvidia-smi says", gpu.name, driver::text(error)));
        let context = CudaContext::new(options.ordinal).map_err(opened)?;
        // SAFETY: all work goes to one stream, in program order, and nothing is allocated through the context.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(opened)?;
        let staging = Staging::new(&stream).map_err(opened)?;
        Ok(Self {
            options,
            functions: Functions::new(&context, &gpu, options.simulated),
            gpu,
            usage: Usage::default(),
            staging,
            last: Cell::default(),
            capturing: Cell::default(),
            tunes: Cell::default(),
            libraries: RefCell::default(),
            has_graphs: Cell::default(),
            scratch: RefCell::default(),
            stream,
        })
    }

    pub(super) fn description(&self) -> String {
        let Gpu { ordinal, name, memory, .. } = &self.gpu;
        format!("{name} (cuda:{ordinal}), {} GiB", memory >> 30)
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What the device was asked for.
    pub fn options(&self) -> &CudaOptions {
        &self.options
    }

    /// Which GPU this is.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The stream on which everything runs, for libraries.
    pub fn stream(&self) -> sys::CUstream {
        self.stream.cu_stream()
    }

    /// The handle of type `L` that belongs to this device: opened when first asked for, closed with the device.
    ///
    /// # Errors
    /// Those of `open`, which is tried again next time.
    pub fn library<L: 'static>(&self, open: impl FnOnce(&Self) -> Result<L>) -> Result<Rc<L>> {
        // What the library is asked for next is for this GPU too.
        self.bind()?;
        if let Some(library) = self.opened() {
            return Ok(library);
        }
        self.outside_capture("open a library")?;
        let library = Rc::new(open(self)?);
        self.libraries.borrow_mut().insert(TypeId::of::<L>(), library.clone());
        Ok(library)
    }

    /// The handle of type `L`, if it has been opened.
    pub(super) fn opened<L: 'static>(&self) -> Option<Rc<L>> {
        let found = self.libraries.borrow().get(&TypeId::of::<L>()).cloned();
        found.and_then(|library| library.downcast::<L>().ok())
    }

    /// From now on engines are measured.
    pub(super) fn start_tuning(&self, engines: EngineSet) {
        self.tunes.set(Some(engines));
    }

    /// The engines that are to be measured now: none while a step is captured.
    pub(super) fn tunes(&self) -> Option<EngineSet> {
        self.tunes.get().filter(|_| !self.capturing.get())
    }

    /// At least `bytes` of memory that all library calls share, one after the other.
    ///
    /// # Errors
    /// [`Error::Device`] when it has to grow and the GPU has no room, or a step is being captured.
    pub fn workspace(self: &Rc<Self>, bytes: usize) -> Result<Workspace> {
        let memory = self.scratch(WORKSPACE, bytes)?;
        Ok(Workspace { address: memory.address(), bytes: memory.bytes() })
    }

    /// Waits until everything launched has finished, and reports what failed.
    ///
    /// # Errors
    /// [`Error::Device`] when a kernel has failed, or a step is being captured.
    pub fn synchronize(&self) -> Result<()> {
        self.outside_capture("be waited for")?;
        self.check("waiting for it", self.stream.synchronize())
    }

    pub(super) fn launch(&self, kernel: &'static Kernel, slot: usize, work: Work, slots: &[u64]) -> Result<()> {
        let (blocks, threads) = grid::choose(kernel, slot, work, self.gpu.multiprocessors)?;
        if blocks == 0 {
            return Ok(());
        }
        let function = self.functions.get(self, kernel, slot)?;
        self.bind()?;
        // Every argument lies at the beginning of its slot; the driver knows how many of its bytes the kernel takes.
        let mut arguments: Vec<*mut c_void> = slots.iter().map(|slot| std::ptr::from_ref(slot).cast_mut().cast()).collect();
        // SAFETY: the function was looked up for this very kernel, whose generated launch function made the slots from its signature;
        // the driver copies the arguments before it returns, and `ops` vouches for the extents.
        let launched =
            unsafe { result::launch_kernel(function, (blocks, 1, 1), (threads, 1, 1), 0, self.stream(), &mut arguments) };
        launched.map_err(|error| {
            self.late(error).unwrap_or_else(|| {
                let (name, text) = (kernel.name, driver::text(error));
                Error::Device(format!("kernel {name} cannot be launched on {blocks} blocks: {text}; please report it"))
            })
        })?;
        self.after(Launched::Kernel(kernel.name), &"")
    }

    /// Makes the context that of this thread.
    fn bind(&self) -> Result<()> {
        self.check("selecting it", self.stream.context().bind_to_thread())
    }

    /// Refuses what a captured step must not do: the replayed step would not do it again.
    fn outside_capture(&self, what: &str) -> Result<()> {
        if !self.capturing.get() {
            return Ok(());
        }
        let after = self.last.get().map_or(String::new(), |last| format!(", as it does after {last}"));
        Err(Error::Device(format!("a step that is captured as a graph cannot {what}{after}; do so before the step")))
    }

    /// A failed call as a sentence: `doing` is what was asked of the GPU.
    fn check<V>(&self, doing: &str, outcome: Result<V, DriverError>) -> Result<V> {
        outcome.map_err(|error| {
            self.late(error).unwrap_or_else(|| {
                Error::Device(format!("{} failed while {doing}: {}; start again", self.gpu.name, driver::text(error)))
            })
        })
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // Libraries close what they have opened in the context of the thread. A failure leaves nothing to be done.
        let _ = self.bind();
    }
}
