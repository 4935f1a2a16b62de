//! Memory that holds noise where it would hold zeros: inputs for a call that is timed without those that would have computed them.
//!
//! Zeros will not do. A GPU that multiplies them draws less power and clocks higher, and rectifiers and their masks would be all off.

use crate::{Result, Tensor};
use bytemuck::Pod;
use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::any::TypeId;
use std::cell::Cell;

thread_local! {
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Noise is the same again after this many numbers: more than are made at a time would only take time.
const PERIOD: usize = 1 << 18;

/// Does `work`; each floating-point tensor that it allocates is filled with numbers uniform in [-1, 1), copied from the program. Bytes and integers,
/// which kernels may count or index by, are zero as ever.
///
/// # Errors
/// Those of `work`.
pub fn filled<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    let outer = WANTED.replace(true);
    let done = work();
    WANTED.set(outer);
    done
}

/// Fills a new tensor, if that is wanted.
pub(crate) fn fill<E: Pod>(tensor: &Tensor<E>) -> Result<()> {
    if !WANTED.get() || tensor.device().is_dry() {
        return Ok(());
    }
    let Some(noise) = noise::<E>(tensor.len().min(PERIOD)) else { return Ok(()) };
    (0..tensor.len()).step_by(PERIOD).try_for_each(|at| {
        let length = noise.len().min(tensor.len() - at);
        tensor.slice(at, [length])?.write(&noise[..length])
    })
}

/// Some noise, if `E` is a floating-point type.
fn noise<E: Pod>(length: usize) -> Option<Vec<E>> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let values: Vec<f32> = (0..length).map(|_| rng.random_range(-1.0..1.0)).collect();
    let of = |id: TypeId| TypeId::of::<E>() == id;
    if of(TypeId::of::<f32>()) {
        Some(bytemuck::pod_collect_to_vec(&values))
    } else if of(TypeId::of::<f64>()) {
        Some(bytemuck::pod_collect_to_vec(&values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()))
    } else if of(TypeId::of::<f16>()) {
        Some(bytemuck::pod_collect_to_vec(&values.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>()))
    } else if of(TypeId::of::<bf16>()) {
        Some(bytemuck::pod_collect_to_vec(&values.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    /// Floating-point tensors, to their very end, within the scope and only there.
    #[test]
    fn what_is_allocated_within_holds_noise() {
        let device = Device::host().unwrap();
        let length = PERIOD + 7;
        let (floats, halves, integers) = filled(|| {
            Ok((
                Tensor::<f32>::zeros(&device, [length])?.to_vec()?,
                Tensor::<f16>::zeros(&device, [9])?.to_vec()?,
                Tensor::<i32>::zeros(&device, [9])?.to_vec()?,
            ))
        })
        .unwrap();
        assert!(floats.iter().all(|x| (-1.0..1.0).contains(x)) && floats[length - 7..].iter().all(|&x| x != 0.0));
        let mean = floats.iter().map(|&x| f64::from(x)).sum::<f64>() / length as f64;
        // The mean of that many uniform numbers has a standard deviation of 1/√(3 · 262,144), and this is six of them.
        assert!(mean.abs() < 7e-3, "{mean}");
        assert!(halves.iter().any(|x| x.to_f32() != 0.0) && integers == [0; 9]);
        assert_eq!(Tensor::<f32>::zeros(&device, [3]).unwrap().to_vec().unwrap(), [0.0; 3]);
        assert!(filled(|| Tensor::<f32>::zeros(&device, [0])).unwrap().is_empty());
    }
}
