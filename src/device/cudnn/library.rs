//! cuDNN's functions, and what it says when it refuses.

use crate::device::libraries::{self, CudaLibrary, functions};
use crate::{Error, Result};
use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as AttributeType, cudnnBackendDescriptorType_t as Kind,
};
use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

/// A descriptor, to the library.
pub(super) type RawDescriptor = *mut c_void;
/// A handle, to the library.
pub(super) type RawHandle = *mut c_void;

/// What a function returns: newer versions have more values than the bindings know.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(i32);

functions! {
    /// Of the graph API, what plans need.
    struct Functions {
        version = "cudnnGetVersion": fn() -> usize;
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

impl Refusal {
    /// Whether the request was sound, but there is no engine for it: another may do.
    pub fn is_unsupported(&self) -> bool {
        (3000..4000).contains(&self.status.0)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { step, status, name, reason } = refusal;
        let reason = if reason.is_empty() { String::new() } else { format!(", because of `{reason}`") };
        Self::Device(format!(
            "cuDNN refused {step} with {name} ({}){reason}; CUDNN_LOGLEVEL_DBG=2 CUDNN_LOGDEST_DBG=stderr make it say more",
            status.0
        ))
    }
}
