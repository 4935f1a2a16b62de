//! A CUDA driver that runs on the CPU, and devices on it: for tests of everything that a GPU's device does but the GPU itself.
//!
//! `driver.cpp` is compiled when a test first asks for it and loaded under the name that the program looks for. A launch comes back
//! here and runs on the host's SIMT scheduler, on exactly the grid that it was launched on.

#![allow(dead_code)]

use rocl::Device;
use rocl::device::host::run_grid;
use rocl::device::launch::kernels;
use rocl::device::{CudaOptions, Kernel, Schedule};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The name that is tried first, and wins over a driver of the machine's own.
const NAME: &str = "libcuda.so";
/// Carried along, so that test programs need no source tree.
const SOURCE: &str = include_str!("driver.cpp");
/// Suffixes of symbols, by the slot of the element type.
const SUFFIXES: [&str; 4] = ["_f32", "_f16", "_bf16", "_f64"];

thread_local! {
    static KERNELS_RUN: Cell<usize> = const { Cell::new(0) };
}

/// `Host` of `driver.cpp`.
#[repr(C)]
struct Host {
    parameters: extern "C" fn(*const c_char) -> c_int,
    run: extern "C" fn(*const c_char, c_uint, c_uint, *const u64, c_int) -> c_int,
}

/// A device on the fake driver, with convolutions by kernels.
pub fn device() -> Device {
    device_with(CudaOptions { direct_convolution: true, ..CudaOptions::default() }).unwrap()
}

/// As [`device`], with some options; and with what [`set`] has asked for.
pub fn device_with(options: CudaOptions) -> rocl::Result<Device> {
    load();
    Device::cuda_with(CudaOptions { simulated: true, ..options })
}

/// What the driver pretends to be on this thread, as `driver.cpp` says: "" for a machine with one GPU where nothing fails.
pub fn set(settings: &str) {
    let settings = CString::new(settings).unwrap();
    let function = symbol(c"fake_cuda_set");
    // SAFETY: the function's signature in `driver.cpp`; it copies the text.
    unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(*const c_char)>(function)(settings.as_ptr()) };
}

/// Has `task` done in the order of a stream, each time it is launched or replayed. A task that returns false fails like a kernel.
pub fn put(stream: *mut c_void, task: impl Fn() -> bool + 'static) {
    extern "C" fn run(task: *mut c_void) -> c_int {
        // SAFETY: leaked below, so it lives as long as any graph.
        let task = unsafe { &*task.cast::<Box<dyn Fn() -> bool>>() };
        c_int::from(!task())
    }
    let task: Box<dyn Fn() -> bool> = Box::new(task);
    let task: *mut Box<dyn Fn() -> bool> = Box::leak(Box::new(task));
    type Put = extern "C" fn(*mut c_void, extern "C" fn(*mut c_void) -> c_int, *mut c_void) -> c_uint;
    // SAFETY: the function's signature in `driver.cpp`.
    let status = unsafe { std::mem::transmute::<*mut c_void, Put>(symbol(c"fake_cuda_put"))(stream, run, task.cast()) };
    assert_eq!(status, 0);
}

/// Whether so many bytes are allocated there.
pub fn holds(address: u64, bytes: usize) -> bool {
    // SAFETY: the function's signature in `driver.cpp`.
    unsafe {
        std::mem::transmute::<*mut c_void, extern "C" fn(u64, usize) -> c_int>(symbol(c"fake_cuda_holds"))(address, bytes) != 0
    }
}

/// What a thread asks of the driver's memory.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Counts {
    allocated: usize,
    /// Since it was last asked for.
    most_allocated: usize,
    reads: usize,
}

fn counts() -> Counts {
    let mut counts = Counts::default();
    // SAFETY: the function's signature in `driver.cpp`, and room for what it writes.
    unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(*mut Counts)>(symbol(c"fake_cuda_count"))(&mut counts) };
    counts
}

/// The most bytes that this thread has allocated at a time in `work`, not counting what was there before.
pub fn most_allocated(work: impl FnOnce()) -> usize {
    let before = counts().allocated;
    work();
    counts().most_allocated - before
}

/// How often this thread has copied something from the device in `work`, for which it waits.
pub fn reads(work: impl FnOnce()) -> usize {
    let before = counts().reads;
    work();
    counts().reads - before
}

/// Kernels that this thread has waited for, which is when they run.
pub fn kernels_run() -> usize {
    KERNELS_RUN.get()
}

/// The folder of the library, for the LD_LIBRARY_PATH of a program that is to find it.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| built(NAME, SOURCE))
}

/// Another library that is found under `name` from now on, compiled from `source`.
pub fn library(name: &str, source: &str) -> *mut c_void {
    let path = CString::new(built(name, source).join(name).to_str().unwrap()).unwrap();
    // SAFETY: a library of our own without constructors that matter.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{path:?} cannot be loaded");
    library
}

/// The folder of a library of that name, compiled if it is not there.
fn built(name: &str, source: &str) -> PathBuf {
    // The folder is named after the source, so that it is compiled once and an older one is never taken for this one.
    let mut hash = DefaultHasher::new();
    source.hash(&mut hash);
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let temporary = if built.is_dir() { built.to_owned() } else { std::env::temp_dir() };
    let folder = temporary.join(format!("fake_cuda-{:016x}", hash.finish()));
    let library = folder.join(name);
    if !library.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        // Under another name first: several test programs may get here at the same time.
        let fresh = folder.join(format!("{name}.{}", std::process::id()));
        compile(&fresh, name, source);
        std::fs::rename(fresh, library).unwrap();
    }
    folder
}

fn compile(library: &Path, name: &str, source: &str) {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"];
    let mut command = Command::new(compiler);
    command.args(flags).arg(format!("-Wl,-soname,{name}")).arg("-o").arg(library).args(["-x", "c++", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{command:?}");
}

/// Loads the driver into this process, where the program then finds it.
fn load() -> *mut c_void {
    static LIBRARY: OnceLock<usize> = OnceLock::new();
    *LIBRARY.get_or_init(|| {
        let devices = std::env::var("ROCL_TEST_DEVICES").unwrap_or_default();
        assert!(!devices.contains("cuda"), "a program on a GPU cannot have the simulated driver as well; skip this test there");
        let path = CString::new(folder().join(NAME).to_str().unwrap()).unwrap();
        // SAFETY: a library of our own without constructors that matter.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        assert!(!library.is_null(), "{path:?} cannot be loaded");
        // SAFETY: the function's signature in `driver.cpp`.
        unsafe {
            let function = libc::dlsym(library, c"fake_cuda_host".as_ptr());
            std::mem::transmute::<*mut c_void, extern "C" fn(Host)>(function)(Host { parameters, run });
        }
        library as usize
    }) as *mut c_void
}

fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: the library stays loaded.
    let symbol = unsafe { libc::dlsym(load(), name.as_ptr()) };
    assert!(!symbol.is_null(), "{name:?}");
    symbol
}

/// The kernel and the slot of the element type that a symbol names.
fn find(symbol: &str) -> Option<(&'static Kernel, usize)> {
    SUFFIXES.iter().enumerate().find_map(|(slot, suffix)| {
        let name = symbol.strip_suffix(suffix)?;
        Some((kernels().find(|kernel| kernel.name == name)?, slot))
    })
}

extern "C" fn parameters(symbol: *const c_char) -> c_int {
    // SAFETY: the driver gives a C string.
    let symbol = unsafe { CStr::from_ptr(symbol) }.to_str().unwrap_or_default();
    find(symbol).map_or(-1, |(kernel, _)| kernel.parameters as c_int)
}

extern "C" fn run(symbol: *const c_char, blocks: c_uint, threads: c_uint, arguments: *const u64, count: c_int) -> c_int {
    // SAFETY: the driver gives a C string, and as many arguments as `parameters` has said.
    let (symbol, arguments) =
        unsafe { (CStr::from_ptr(symbol).to_str().unwrap_or_default(), std::slice::from_raw_parts(arguments, count as usize)) };
    let Some((kernel, slot)) = find(symbol) else { return 1 };
    KERNELS_RUN.set(KERNELS_RUN.get() + 1);
    // SAFETY: these are the arguments that the kernel's launch function made.
    let outcome = unsafe { run_grid(kernel, slot, blocks, threads, arguments, Schedule::Shuffled(5)) };
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}
