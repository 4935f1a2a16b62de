//! The checks every operation makes before it launches. `op` is what a refusal names, a tensor's name what it calls the tensor.
//!
//! # Errors
//! All of them refuse with [`Error::Shape`].

use crate::{Error, Result, Tensor};
use bytemuck::Pod;

/// All tensors have the shape of the first.
pub fn same_shape<E: Pod>(op: &'static str, tensors: &[(&'static str, &Tensor<E>)]) -> Result<()> {
    let Some(((first, reference), others)) = tensors.split_first() else { return Ok(()) };
    for (name, tensor) in others {
        has_shape(op, name, tensor, reference.dims()).map_err(|_| {
            Error::shape(op, format!("`{name}` is {:?} but `{first}` is {:?}", tensor.shape(), reference.shape()))
        })?;
    }
    Ok(())
}

/// The tensor has exactly these dimensions.
pub fn has_shape<E: Pod>(op: &'static str, name: &'static str, tensor: &Tensor<E>, dims: &[usize]) -> Result<()> {
    if tensor.dims() == dims {
        return Ok(());
    }
    Err(Error::shape(op, format!("`{name}` is {:?} but must be {dims:?}", tensor.shape())))
}

/// A mean goes over some of the rows, and over no more than there are.
pub fn has_valid_rows<E: Pod>(op: &'static str, n_valid: usize, logits: &Tensor<E>) -> Result<()> {
    if (1..=logits.rows_len()).contains(&n_valid) && !logits.is_empty() {
        return Ok(());
    }
    let what = format!("{n_valid} valid rows cannot be averaged over in logits of {:?}", logits.shape());
    Err(Error::shape(op, format!("{what}; at least one row has to count, and no more than there are")))
}

/// The tensor, where there is one, has the shape of `like`.
pub fn like_or_none<E: Pod>(op: &'static str, name: &'static str, tensor: Option<&Tensor<E>>, like: &Tensor<E>) -> Result<()> {
    tensor.map_or(Ok(()), |tensor| has_shape(op, name, tensor, like.dims()))
}
