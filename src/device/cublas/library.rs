//! cuBLASLt's functions and objects.

use crate::device::libraries::{self, CudaLibrary, functions};
use crate::{Error, Result};
use cudarc::cublaslt::sys::{
    cublasComputeType_t as ComputeType, cublasLtMatmulDescAttributes_t as ProductAttribute,
    cublasLtMatmulPreferenceAttributes_t as PreferenceAttribute, cudaDataType_t as DataType,
};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

/// An object, to the library.
pub(super) type Raw = *mut c_void;

/// What a function returns: newer versions have more values than the bindings know.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status(i32);

/// An algorithm, as the library writes it down for itself.
pub(super) type Algorithm = [u64; 8];

/// What the library proposes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Proposal {
    pub algorithm: Algorithm,
    pub workspace_bytes: usize,
    pub state: Status,
    waves: f32,
    reserved: [c_int; 4],
}

functions! {
    /// What products need.
    struct Functions {
        status_text = "cublasLtGetStatusString": fn(Status) -> *const c_char;
        create_handle = "cublasLtCreate": fn(*mut Raw) -> Status;
        destroy_handle = "cublasLtDestroy": fn(Raw) -> Status;
        create_layout = "cublasLtMatrixLayoutCreate": fn(*mut Raw, DataType, u64, u64, i64) -> Status;
        destroy_layout = "cublasLtMatrixLayoutDestroy": fn(Raw) -> Status;
        create_product = "cublasLtMatmulDescCreate": fn(*mut Raw, ComputeType, DataType) -> Status;
        destroy_product = "cublasLtMatmulDescDestroy": fn(Raw) -> Status;
        set_product = "cublasLtMatmulDescSetAttribute": fn(Raw, ProductAttribute, *const c_void, usize) -> Status;
        create_preference = "cublasLtMatmulPreferenceCreate": fn(*mut Raw) -> Status;
        destroy_preference = "cublasLtMatmulPreferenceDestroy": fn(Raw) -> Status;
        set_preference = "cublasLtMatmulPreferenceSetAttribute": fn(Raw, PreferenceAttribute, *const c_void, usize) -> Status;
        propose = "cublasLtMatmulAlgoGetHeuristic":
            fn(Raw, Raw, Raw, Raw, Raw, Raw, Raw, c_int, *mut Proposal, *mut c_int) -> Status;
        multiply = "cublasLtMatmul": fn(
            Raw, Raw, *const c_void, *const c_void, Raw, *const c_void, Raw, *const c_void, *const c_void, Raw, *mut c_void, Raw,
            *const Algorithm, *mut c_void, usize, *mut c_void,
        ) -> Status;
    }
}

/// The library, loaded once and for good.
pub(super) struct Library {
    functions: Functions,
}

impl std::ops::Deref for Library {
    type Target = Functions;
    fn deref(&self) -> &Functions {
        &self.functions
    }
}

impl Library {
    /// # Errors
    /// [`Error::Device`] when there is no cuBLASLt.
    pub fn load() -> Result<&'static Self> {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        if let Some(library) = LIBRARY.get() {
            return Ok(library);
        }
        let functions = Functions::load(libraries::open(CudaLibrary::CublasLt)?)?;
        Ok(LIBRARY.get_or_init(|| Self { functions }))
    }

    /// `Ok` where `status` is, and otherwise what the library calls it.
    pub fn check(&self, step: &str, status: Status) -> Result<()> {
        if status == Status::default() {
            return Ok(());
        }
        // SAFETY: the function knows every status of its own library, and returns a literal.
        let text = unsafe { CStr::from_ptr((self.status_text)(status)) }.to_string_lossy();
        let number = status.0;
        Err(Error::Device(format!(
            "cuBLASLt refused {step}: {text} ({number}); check that the driver is new enough for it and that the GPU has memory left"
        )))
    }
}

/// An object of the library's.
pub(super) struct Object {
    raw: Raw,
    destroy: unsafe extern "C" fn(Raw) -> Status,
}

impl Object {
    pub fn raw(&self) -> Raw {
        self.raw
    }

    pub fn handle(library: &Library) -> Result<Self> {
        // SAFETY: the function writes one pointer.
        Self::create(library, "a handle", library.destroy_handle, |raw| unsafe { (library.create_handle)(raw) })
    }

    /// A matrix by columns, `distance` elements from one to the next.
    pub fn layout(library: &Library, data_type: DataType, (rows, columns): (usize, usize), distance: usize) -> Result<Self> {
        // SAFETY: the function writes one pointer.
        let create = |raw| unsafe { (library.create_layout)(raw, data_type, rows as u64, columns as u64, distance as i64) };
        Self::create(library, "a matrix", library.destroy_layout, create)
    }

    /// A product with factors α and β in `f32`.
    pub fn product(library: &Library, compute: ComputeType) -> Result<Self> {
        // SAFETY: the function writes one pointer.
        let create = |raw| unsafe { (library.create_product)(raw, compute, DataType::CUDA_R_32F) };
        Self::create(library, "a product", library.destroy_product, create)
    }

    pub fn preference(library: &Library) -> Result<Self> {
        // SAFETY: the function writes one pointer.
        let create = |raw| unsafe { (library.create_preference)(raw) };
        Self::create(library, "preferences", library.destroy_preference, create)
    }

    fn create(
        library: &Library,
        what: &str,
        destroy: unsafe extern "C" fn(Raw) -> Status,
        create: impl FnOnce(*mut Raw) -> Status,
    ) -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        library.check(what, create(&mut raw))?;
        Ok(Self { raw, destroy })
    }

    /// Sets an attribute of a product.
    pub fn set<V: Copy>(&self, library: &Library, attribute: ProductAttribute, value: V) -> Result<()> {
        // SAFETY: the library reads as many bytes as it is told, and refuses another number than the attribute has.
        let status = unsafe { (library.set_product)(self.raw, attribute, (&raw const value).cast(), size_of::<V>()) };
        library.check("a product's attribute", status)
    }

    /// Sets an attribute of preferences.
    pub fn prefer<V: Copy>(&self, library: &Library, attribute: PreferenceAttribute, value: V) -> Result<()> {
        // SAFETY: as in `set`.
        let status = unsafe { (library.set_preference)(self.raw, attribute, (&raw const value).cast(), size_of::<V>()) };
        library.check("a preference", status)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the object is alive, and nothing refers to it any more. A failure leaves nothing to be done.
        let _ = unsafe { (self.destroy)(self.raw) };
    }
}
