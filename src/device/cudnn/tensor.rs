//! Tensors, as cuDNN describes them.

use super::descriptor::{Attribute, DataType, Descriptor, Draft, Kind};
use super::library::{Library, Refusal};
use crate::device::Arithmetic;
use std::rc::Rc;

/// What every address is a multiple of.
pub(super) const ALIGNMENT: u64 = 16;

impl From<Arithmetic> for DataType {
    fn from(arithmetic: Arithmetic) -> Self {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::Tf32 => Self::CUDNN_DATA_FLOAT,
            Arithmetic::F16 => Self::CUDNN_DATA_HALF,
            Arithmetic::Bf16 => Self::CUDNN_DATA_BFLOAT16,
        }
    }
}

/// A tensor of four dimensions.
#[derive(Clone, Copy)]
pub(super) struct TensorSpec {
    /// Tells the tensors of a graph apart.
    pub id: i64,
    /// Batch (or filters), channels, rows, columns: always in this order.
    pub dims: [i64; 4],
    /// Elements from one index to the next.
    pub strides: [i64; 4],
    pub data_type: DataType,
    /// Whether it exists within the graph only.
    pub is_virtual: bool,
}

impl TensorSpec {
    /// With the channels innermost: NHWC activations and KRSC filters alike.
    pub fn channels_last(id: i64, dims: [usize; 4], data_type: DataType) -> Self {
        let dims @ [_, c, h, w] = dims.map(|size| size as i64);
        Self { id, dims, strides: [h * w * c, 1, w * c, c], data_type, is_virtual: false }
    }

    /// The same, as an intermediate value in `f32` that is never stored.
    pub fn intermediate(id: i64, dims: [usize; 4]) -> Self {
        Self { is_virtual: true, ..Self::channels_last(id, dims, DataType::CUDNN_DATA_FLOAT) }
    }

    pub fn describe(&self, library: &'static Library) -> Result<Rc<Descriptor>, Refusal> {
        use Attribute::*;
        let draft = Draft::new(library, Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
            .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, &[self.id])?
            .set(CUDNN_ATTR_TENSOR_DATA_TYPE, &[self.data_type])?
            .set(CUDNN_ATTR_TENSOR_DIMENSIONS, &self.dims)?
            .set(CUDNN_ATTR_TENSOR_STRIDES, &self.strides)?
            .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[ALIGNMENT as i64])?
            .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, &[self.is_virtual])?;
        draft.finish("a tensor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: TensorSpec = TensorSpec {
        id: 1,
        dims: [2, 8, 4, 4],
        strides: [128, 1, 32, 8],
        data_type: DataType::CUDNN_DATA_HALF,
        is_virtual: false,
    };

    #[test]
    fn channels_are_innermost() {
        let spec = TensorSpec::channels_last(1, [2, 8, 4, 4], DataType::CUDNN_DATA_HALF);
        assert_eq!((spec.dims, spec.strides), (SPEC.dims, SPEC.strides));
    }

    /// What the library does not take comes back as an error with its reason.
    #[test]
    fn wrong_tensors_are_refused() {
        let Ok(library) = Library::load() else { return crate::skipped::missing("there is no cuDNN") };
        assert!(SPEC.describe(library).is_ok());
        let refusal = |spec: TensorSpec| spec.describe(library).map(|_| ()).map_err(crate::Error::from).unwrap_err().to_string();
        let message = refusal(TensorSpec { strides: [-128, 1, 32, 8], ..SPEC });
        assert!(message.starts_with("cuDNN refused a tensor with CUDNN_STATUS_BAD_PARAM (2000), because of `_str"), "{message}");
        let message = refusal(TensorSpec { dims: [2, -8, 4, 4], ..SPEC });
        assert!(message.contains("CUDNN_STATUS_BAD_PARAM"), "{message}");
        let message = Draft::new(library, Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)
            .and_then(|draft| draft.set(Attribute::CUDNN_ATTR_TENSOR_DATA_TYPE, &[1i64]))
            .map(|_| ())
            .map_err(|refusal| crate::Error::from(refusal).to_string());
        assert!(message.as_ref().is_err_and(|message| message.contains("ATTRIBUTE_TYPE")), "{message:?}");
    }
}
