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
