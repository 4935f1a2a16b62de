//! From storage to computing types, a slice at a time.

use std::any::TypeId;

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::element::Element;

/// Writes the values of `source` to `target`, which has the same length.
///
/// `half` looks at the processor once per call, so converting a slice is many times faster than converting its elements.
#[inline]
pub(super) fn widen<T: Element>(source: &[T], target: &mut [T::Real]) {
    if let Some(source) = same::<T, T::Real>(source) {
        target.copy_from_slice(source);
    } else if let (Some(source), Some(target)) = (same::<T, f16>(source), same_mut::<T::Real, f32>(target)) {
        source.convert_to_f32_slice(target);
    } else if let (Some(source), Some(target)) = (same::<T, bf16>(source), same_mut::<T::Real, f32>(target)) {
        source.convert_to_f32_slice(target);
    } else {
        for (target, source) in target.iter_mut().zip(source) {
            *target = source.to_real();
        }
    }
}

fn same<A: Pod, B: Pod>(slice: &[A]) -> Option<&[B]> {
    (TypeId::of::<A>() == TypeId::of::<B>()).then(|| bytemuck::cast_slice(slice))
}

fn same_mut<A: Pod, B: Pod>(slice: &mut [A]) -> Option<&mut [B]> {
    (TypeId::of::<A>() == TypeId::of::<B>()).then(|| bytemuck::cast_slice_mut(slice))
}
