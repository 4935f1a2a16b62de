//! cuDNN's functions, and what it says when it refuses.

use crate::device::libraries::{self, CudaLibrary, functions};
use crate::{Error, Result};
use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as AttributeType, cudnnBackendDescriptorType_t as Kind,
};
use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::sync::OnceLock;

/// A descriptor, to the library.
pub(super) type RawDescriptor = *mut c_void;
/// A handle, to the library.
pub(super) type RawHandle = *mut c_void;

/// What a function returns: newer versions have more values than the bindings know.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(i32);

/// `CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH`.
const MIXED_PARTS: Status = Status(1002);

functions! {
    /// Of the graph API, what plans need.
    struct Functions {
        version = "cudnnGetVersion": fn() -> usize;
        cuda_version = "cudnnGetCudartVersion": fn() -> usize;
        status_name = "cudnnGetErrorString": fn(Status) -> *const c_char;
        last_error = "cudnnGetLastErrorString": fn(*mut c_char, usize) -> ();
        create_handle = "cudnnCreate": fn(*mut RawHandle) -> Status;
        destroy_handle = "cudnnDestroy": fn(RawHandle) -> Status;
        set_stream = "cudnnSetStream": fn(RawHandle, *mut c_void) -> Status;
        create = "cudnnBackendCreateDescriptor": fn(Kind, *mut RawDescriptor) -> Status;
        destroy = "cudnnBackendDestroyDescriptor": fn(RawDescriptor) -> Status;
        set = "cudnnBackendSetAttribute": fn(RawDescriptor, Attribute, AttributeType, i64, *const c_void) -> Status;
        get = "cudnnBackendGetAttribute": fn(RawDescriptor, Attribute, AttributeType, i64, *mut i64, *mut c_void) -> Status;
        finalize = "cudnnBackendFinalize": fn(RawDescriptor) -> Status;
        execute = "cudnnBackendExecute": fn(RawHandle, RawDescriptor, RawDescriptor) -> Status;
    }
}

/// The library, loaded once and for good.
pub(super) struct Library {
    functions: Functions,
    version: usize,
}

impl std::ops::Deref for Library {
    type Target = Functions;
    fn deref(&self) -> &Functions {
        &self.functions
    }
}

impl Library {
    /// # Errors
    /// [`Error::Device`] when there is no cuDNN 9.
    pub fn load() -> Result<&'static Self> {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        if let Some(library) = LIBRARY.get() {
            return Ok(library);
        }
        let open = libraries::open(CudaLibrary::Cudnn)?;
        let functions = Functions::load(open)?;
        // SAFETY: the function has no preconditions.
        let version = unsafe { (functions.version)() };
        if version / 10_000 != 9 {
            let file = open.path().display();
            return Err(Error::Device(format!("{file} is of version {version}, which is not 9.x; install cuDNN 9")));
        }
        Ok(LIBRARY.get_or_init(|| Self { functions, version }))
    }

    /// 10000 · major + 100 · minor + patch.
    pub fn version(&self) -> usize {
        self.version
    }

    /// The major version of CUDA that it was built for: its engines differ from one to another.
    pub fn cuda_major(&self) -> usize {
        // SAFETY: the function has no preconditions.
        unsafe { (self.functions.cuda_version)() / 1000 }
    }

    /// `Ok` where `status` is, and otherwise what the library has to say about `step`.
    pub fn check(&self, step: &'static str, status: Status) -> Result<(), Refusal> {
        if status == Status(0) {
            return Ok(());
        }
        // SAFETY: the function knows every status of its own library, and returns a literal.
        let name = unsafe { CStr::from_ptr((self.status_name)(status)) }.to_string_lossy().into_owned();
        let mut text = [0; 1024];
        // SAFETY: the library writes no more than the length it is given, terminated.
        let reason = unsafe {
            (self.last_error)(text.as_mut_ptr(), text.len());
            CStr::from_ptr(text.as_ptr())
        };
        Err(Refusal { step, status, name, reason: reason.to_string_lossy().trim().to_owned() })
    }
}

/// cuDNN's no.
#[derive(Clone)]
pub(super) struct Refusal {
    step: &'static str,
    status: Status,
    name: String,
    reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { step, status, name, reason } = self;
        write!(f, "cuDNN refused {step} with {name} ({})", status.0)?;
        if reason.is_empty() { Ok(()) } else { write!(f, ", because of `{reason}`") }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let remedy = match refusal.status {
            MIXED_PARTS => "its parts are of different versions, so set ROCL_CUDA_LIBS to the one folder that holds them all",
            _ => "CUDNN_LOGLEVEL_DBG=2 CUDNN_LOGDEST_DBG=stderr make it say more",
        };
        Self::Device(format!("{refusal}; {remedy}"))
    }
}
