//! Plans: a product described to the library, with the algorithm it is computed by.

use super::library::{Algorithm, Library, Object, Proposal};
use super::product::{Gemm, Product, ProductKind};
use crate::device::{Arithmetic, Workspace};
use crate::{Error, Result};
use cudarc::cublaslt::sys::{
    cublasComputeType_t as ComputeType, cublasLtEpilogue_t as Epilogue, cublasLtMatmulDescAttributes_t as ProductAttribute,
    cublasLtMatmulPreferenceAttributes_t as PreferenceAttribute, cublasLtReductionScheme_t as Reduction,
    cudaDataType_t as DataType,
};
use cudarc::driver::sys::CUstream;
use std::ffi::c_void;
use std::rc::Rc;

/// What every address is a multiple of.
const ALIGNMENT: u64 = 16;

/// The workspace that the library's documentation recommends for the cards that want most.
const MOST_WORKSPACE: usize = 32 << 20;

/// A product as the library describes it; needs no card.
pub(super) struct Description {
    gemm: Gemm,
    product: Object,
    a: Object,
    b: Object,
    d: Object,
}

impl Description {
    pub fn new(library: &Library, product: &Product) -> Result<Self> {
        use ProductAttribute::*;
        let gemm = product.gemm();
        let operands = match product.arithmetic {
            Arithmetic::F32 | Arithmetic::Tf32 => DataType::CUDA_R_32F,
            Arithmetic::F16 => DataType::CUDA_R_16F,
            Arithmetic::Bf16 => DataType::CUDA_R_16BF,
        };
        let result = if product.kind == ProductKind::WeightGradient { DataType::CUDA_R_32F } else { operands };
        let compute = match product.arithmetic {
            Arithmetic::Tf32 => ComputeType::CUBLAS_COMPUTE_32F_FAST_TF32,
            _ => ComputeType::CUBLAS_COMPUTE_32F,
        };
        let [stored_a, stored_b] = gemm.stored();
        let description = Self {
            gemm,
            product: Object::product(library, compute)?,
            a: Object::layout(library, operands, stored_a, gemm.lda)?,
            b: Object::layout(library, operands, stored_b, gemm.ldb)?,
            d: Object::layout(library, result, (gemm.m, gemm.n), gemm.ldd)?,
        };
        // The library's `cublasOperation_t` is 0 for a matrix as it is and 1 for its transpose.
        description.product.set(library, CUBLASLT_MATMUL_DESC_TRANSA, i32::from(gemm.transpose_a))?;
        description.product.set(library, CUBLASLT_MATMUL_DESC_TRANSB, i32::from(gemm.transpose_b))?;
        if let ProductKind::Forward { bias, relu } = product.kind {
            let epilogue = match (bias, relu) {
                (false, false) => Epilogue::CUBLASLT_EPILOGUE_DEFAULT,
                (false, true) => Epilogue::CUBLASLT_EPILOGUE_RELU,
                (true, false) => Epilogue::CUBLASLT_EPILOGUE_BIAS,
                (true, true) => Epilogue::CUBLASLT_EPILOGUE_RELU_BIAS,
            };
            description.product.set(library, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue)?;
            if bias {
                // The alignment that algorithms are chosen for; it is never read.
                description.set_bias(library, ALIGNMENT)?;
            }
        }
        Ok(description)
    }

    fn set_bias(&self, library: &Library, address: u64) -> Result<()> {
        self.product.set(library, ProductAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, address as *const c_void)
    }
}

/// What algorithms may do. Sums that are split are added up in `f32`, in a fixed order, in the workspace.
pub(super) fn preference(library: &Library) -> Result<Object> {
    use PreferenceAttribute::*;
    let preference = Object::preference(library)?;
    preference.prefer(library, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, MOST_WORKSPACE)?;
    let reductions = Reduction::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
    preference.prefer(library, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions)?;
    for operand in [
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    ] {
        preference.prefer(library, operand, ALIGNMENT as u32)?;
    }
    Ok(preference)
}

/// A product that is ready to run.
pub struct ProductPlan {
    product: Product,
    engine: Engine,
}

/// What runs it.
enum Engine {
    Library(Prepared),
    Simulated(Rc<Simulation>),
}

/// What multiplies in the library's place: given a product, the stream that it is to be put on, its factors, its bias and its result.
#[doc(hidden)]
pub type Simulation = dyn Fn(&Product, CUstream, [u64; 2], Option<u64>, u64) -> Result<()>;

/// A product with its algorithm.
struct Prepared {
    library: &'static Library,
    handle: Rc<Object>,
    description: Description,
    algorithm: Algorithm,
    workspace_bytes: usize,
}

impl Prepared {
    fn new(library: &'static Library, handle: &Rc<Object>, product: &Product) -> Result<Self> {
        let description = Description::new(library, product)?;
        let Description { product: raw, a, b, d, .. } = &description;
        let preference = preference(library)?;
        let (mut proposal, mut count) = (Proposal::default(), 0);
        // SAFETY: all objects are alive, and there is room for the one proposal that is asked for.
        let status = unsafe {
            (library.propose)(
                handle.raw(),
                raw.raw(),
                a.raw(),
                b.raw(),
                d.raw(),
                d.raw(),
                preference.raw(),
                1,
                &mut proposal,
                &mut count,
            )
        };
        library.check(&format!("an algorithm for {product}"), status)?;
        if count == 0 {
            return Err(Error::Device(format!(
                "cuBLASLt has no algorithm for {product}; choose another precision or install a newer version"
            )));
        }
        library.check(&format!("the algorithm for {product}"), proposal.state)?;
        let Proposal { algorithm, workspace_bytes, .. } = proposal;
        Ok(Self { library, handle: handle.clone(), description, algorithm, workspace_bytes })
    }

    /// # Safety
    /// As [`ProductPlan::run`].
    unsafe fn run(
        &self,
        stream: CUstream,
        product: &Product,
        factors: [u64; 2],
        bias: Option<u64>,
        result: u64,
        workspace: Workspace,
    ) -> Result<()> {
        let Self { library, .. } = self;
        if let Some(bias) = bias {
            self.description.set_bias(library, bias)?;
        }
        let Description { gemm, product: raw, a, b, d } = &self.description;
        let [first, second] = product.operands(factors);
        let one = 1f32;
        // SAFETY: all objects are alive, the scalars are on the host and in `f32`; of the device's memory, the caller promises it.
        let status = unsafe {
            (library.multiply)(
                self.handle.raw(),
                raw.raw(),
                (&raw const one).cast(),
                first as *const c_void,
                a.raw(),
                second as *const c_void,
                b.raw(),
                (&raw const gemm.beta).cast(),
                result as *const c_void,
                d.raw(),
                result as *mut c_void,
                d.raw(),
                &self.algorithm,
                workspace.address as *mut c_void,
                workspace.bytes,
                stream.cast(),
            )
        };
        library.check(&format!("to run {product}"), status)
    }
}

impl ProductPlan {
    pub(super) fn new(library: &'static Library, handle: &Rc<Object>, product: Product) -> Result<Self> {
        Ok(Self { engine: Engine::Library(Prepared::new(library, handle, &product)?), product })
    }

    pub(super) fn simulated(simulation: &Rc<Simulation>, product: Product) -> Self {
        Self { engine: Engine::Simulated(simulation.clone()), product }
    }

    /// What was asked for.
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// The memory it needs besides its matrices.
    pub fn workspace_bytes(&self) -> usize {
        match &self.engine {
            Engine::Library(prepared) => prepared.workspace_bytes,
            Engine::Simulated(_) => 0,
        }
    }

    /// Runs on `stream`; returns when the work has been queued. The factors are x and W for y, dy and W for dx, x and dy for dW, which is added to.
    ///
    /// # Errors
    /// [`Error::Shape`] when an address is not aligned, a bias is missing or superfluous, or the workspace is too small; [`Error::Device`] when the
    /// library fails.
    ///
    /// # Safety
    /// The addresses are those of device memory, as large as the product says, in the context that the plan was made in; nothing else writes it,
    /// and it lives, until the work is done. The result and the workspace overlap nothing.
    pub unsafe fn run(
        &self,
        stream: CUstream,
        factors: [u64; 2],
        bias: Option<u64>,
        result: u64,
        workspace: Workspace,
    ) -> Result<()> {
        let product = &self.product;
        let refuse = |message: String| Err(Error::shape("cublas", message));
        let wants_bias = matches!(product.kind, ProductKind::Forward { bias: true, .. });
        if wants_bias != bias.is_some() {
            return refuse(format!("the plan for {product} takes {}", if wants_bias { "a bias" } else { "no bias" }));
        }
        if [factors[0], factors[1], result].into_iter().chain(bias).any(|address| address == 0 || address % ALIGNMENT != 0) {
            return refuse(format!("an address for {product} is not a multiple of {ALIGNMENT} above 0; allocate it anew"));
        }
        let (needs, has) = (self.workspace_bytes(), workspace.bytes);
        if has < needs {
            return refuse(format!("the plan for {product} needs {needs} bytes of workspace but was given {has}"));
        }
        match &self.engine {
            // SAFETY: as the caller promises.
            Engine::Library(prepared) => unsafe { prepared.run(stream, product, factors, bias, result, workspace) },
            Engine::Simulated(simulation) => simulation(product, stream, factors, bias, result),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library takes every attribute that plans set; what it makes of them takes a card.
    #[test]
    fn every_product_can_be_described() {
        let Ok(library) = Library::load() else { return crate::skipped::missing("there is no cuBLASLt") };
        let forward = [(false, false), (false, true), (true, false), (true, true)];
        let kinds = forward.map(|(bias, relu)| ProductKind::Forward { bias, relu }).into_iter();
        for kind in kinds.chain([ProductKind::InputGradient, ProductKind::WeightGradient]) {
            for arithmetic in Arithmetic::ALL {
                let product = Product { kind, rows: 768, inputs: 512, outputs: 2048, arithmetic };
                assert!(Description::new(library, &product).is_ok(), "{product}");
            }
        }
        assert!(preference(library).is_ok());
    }

    #[test]
    fn a_wrong_attribute_is_an_error() {
        let Ok(library) = Library::load() else { return crate::skipped::missing("there is no cuBLASLt") };
        let preference = Object::preference(library).unwrap();
        let message = preference.prefer(library, PreferenceAttribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 1u8).unwrap_err();
        assert!(message.to_string().starts_with("cuBLASLt refused a preference:"), "{message}");
    }

    #[test]
    fn a_card_that_is_not_there_is_an_error() {
        let Ok(library) = Library::load() else { return crate::skipped::missing("there is no cuBLASLt") };
        match Object::handle(library) {
            Err(error) => assert!(error.to_string().starts_with("cuBLASLt refused a handle:"), "{error}"),
            Ok(_) => crate::skipped::skipped("this machine has a card"),
        }
    }
}
