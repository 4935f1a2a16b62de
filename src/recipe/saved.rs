//! Models and their training state, to and from checkpoints.
//!
//! Tensors carry the reference's state-dict names behind `model/` and `projector/`, filters as OIHW; optimiser state has the parameter's
//! name behind `optimizer/<what>/`. Everything is stored as f32, bit for bit.

use crate::element::{Element, Real};
use crate::nn::{Classifier, LINEAR, MODEL, Parameters, Weights};
use crate::ops::{LossScale, LossScaleState};
use crate::optim::Optimizer;
use crate::run::checkpoint::Checkpoint;
use crate::{Result, Tensor};

/// Writes a network's parameters, those of what is on its encoder included, and running statistics.
pub fn save_network<T: Element>(checkpoint: &mut Checkpoint, network: &impl AsRef<Weights<T>>, steps: i64) -> Result<()> {
    let network = network.as_ref();
    save_arena(checkpoint, network.parameters(), network.parameters().values(), "")?;
    for (name, tensor) in network.running_statistics() {
        checkpoint.put_f32(&format!("{MODEL}{name}"), tensor.dims(), &to_f32(&tensor.to_vec()?))?;
        if let Some(bn) = name.strip_suffix("running_var") {
            checkpoint.put_i64(&format!("{MODEL}{bn}num_batches_tracked"), &[], &[steps])?;
        }
    }
    Ok(())
}

/// Reads what [`save_network`] wrote.
pub fn load_network<T: Element>(checkpoint: &Checkpoint, network: &impl AsRef<Weights<T>>) -> Result<()> {
    load_parts(checkpoint, network, &[""])
}

/// Reads the running statistics and, of the parameters, those whose names begin with one of `prefixes`; the others stay as they are.
pub fn load_parts<T: Element>(checkpoint: &Checkpoint, network: &impl AsRef<Weights<T>>, prefixes: &[&str]) -> Result<()> {
    let network = network.as_ref();
    load_some(checkpoint, network.parameters(), network.parameters().values(), "", prefixes)?;
    for (name, tensor) in network.running_statistics() {
        tensor.write(&from_f32(&checkpoint.finite(&format!("{MODEL}{name}"), tensor.dims())?))?;
    }
    network.parameters().refresh()
}

/// Writes the optimiser's state.
pub fn save_optimizer<T: Element>(
    checkpoint: &mut Checkpoint,
    optimizer: &Optimizer<T::Real>,
    parameters: &Parameters<T>,
) -> Result<()> {
    optimizer.state().iter().try_for_each(|(what, flat)| save_arena(checkpoint, parameters, flat, &format!("optimizer/{what}/")))
}

/// The program's own memory, in bytes, that saving both takes: what goes into the file, and two copies of the largest tensor on their way there.
pub fn saving_bytes<T: Element>(network: &impl AsRef<Weights<T>>, optimizer: &Optimizer<T::Real>) -> usize {
    let network = network.as_ref();
    let lens = || network.parameters().specs().iter().map(|spec| spec.dims.iter().product::<usize>());
    let statistics: usize = network.running_statistics().iter().map(|(_, tensor)| tensor.len()).sum();
    let file = size_of::<f32>() * (lens().sum::<usize>() * (1 + optimizer.state().len()) + statistics);
    file + 2 * size_of::<T::Real>() * lens().max().unwrap_or(0)
}

/// Reads what [`save_optimizer`] wrote.
pub fn load_optimizer<T: Element>(
    checkpoint: &Checkpoint,
    optimizer: &Optimizer<T::Real>,
    parameters: &Parameters<T>,
) -> Result<()> {
    optimizer.state().iter().try_for_each(|(what, flat)| load_arena(checkpoint, parameters, flat, &format!("optimizer/{what}/")))
}

/// Where a checkpoint keeps the loss scale, and its counters of good and skipped steps.
const LOSS_SCALE: [&str; 2] = ["run/loss_scale", "run/loss_scale_counters"];

/// Writes the state of the loss scale.
pub fn save_loss_scale<R: Real>(checkpoint: &mut Checkpoint, loss_scale: &LossScale<R>) -> Result<()> {
    let LossScaleState { scale, good_steps, skipped, skipped_in_epoch } = loss_scale.state()?;
    checkpoint.put_f32(LOSS_SCALE[0], &[1], &[scale as f32])?;
    checkpoint.put_i64(LOSS_SCALE[1], &[3], &[good_steps, skipped, skipped_in_epoch])
}

/// Reads what [`save_loss_scale`] wrote.
pub fn load_loss_scale<R: Real>(checkpoint: &Checkpoint, loss_scale: &LossScale<R>) -> Result<()> {
    let (scale, counters) = (checkpoint.f32(LOSS_SCALE[0], &[1])?[0], checkpoint.i64(LOSS_SCALE[1], &[3])?);
    let (good_steps, skipped, skipped_in_epoch) = (counters[0], counters[1], counters[2]);
    loss_scale.restore(LossScaleState { scale: scale.into(), good_steps, skipped, skipped_in_epoch })
}

/// Writes a linear head.
pub fn save_head<T: Element>(checkpoint: &mut Checkpoint, head: &Classifier<T>) -> Result<()> {
    save_arena(checkpoint, head.parameters(), head.parameters().values(), "")
}

/// Reads what [`save_head`] wrote.
pub fn load_head<T: Element>(checkpoint: &Checkpoint, head: &Classifier<T>) -> Result<()> {
    load_some(checkpoint, head.parameters(), head.parameters().values(), "", &[LINEAR])?;
    head.parameters().refresh()
}

fn save_arena<T: Element>(
    checkpoint: &mut Checkpoint,
    parameters: &Parameters<T>,
    flat: &Tensor<T::Real>,
    prefix: &str,
) -> Result<()> {
    for spec in parameters.specs() {
        let values = to_f32(&parameters.view(flat, &spec.name)?.to_vec()?);
        let (dims, values) = to_oihw(&spec.dims, &values);
        checkpoint.put_f32(&format!("{prefix}{}", spec.name), &dims, &values)?;
    }
    Ok(())
}

fn load_arena<T: Element>(
    checkpoint: &Checkpoint,
    parameters: &Parameters<T>,
    flat: &Tensor<T::Real>,
    prefix: &str,
) -> Result<()> {
    load_some(checkpoint, parameters, flat, prefix, &[""])
}

/// Of the parameters, those whose names begin with one of `wanted`.
fn load_some<T: Element>(
    checkpoint: &Checkpoint,
    parameters: &Parameters<T>,
    flat: &Tensor<T::Real>,
    prefix: &str,
    wanted: &[&str],
) -> Result<()> {
    for spec in parameters.specs().iter().filter(|spec| wanted.iter().any(|part| spec.name.starts_with(part))) {
        let (oihw, _) = to_oihw(&spec.dims, &[]);
        let values = checkpoint.finite(&format!("{prefix}{}", spec.name), &oihw)?;
        parameters.view(flat, &spec.name)?.write(&from_f32(&from_oihw(&spec.dims, values)))?;
    }
    Ok(())
}

fn to_f32<R: Real>(values: &[R]) -> Vec<f32> {
    values.iter().map(|v| v.to_f64() as f32).collect()
}

fn from_f32<R: Real>(values: &[f32]) -> Vec<R> {
    values.iter().map(|&v| R::from_f64(f64::from(v))).collect()
}

/// Filters `[k, r, s, c]` as `[k, c, r, s]`; anything else as it is.
fn to_oihw(dims: &[usize], values: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let &[k, r, s, c] = dims else { return (dims.to_vec(), values.to_vec()) };
    (vec![k, c, r, s], permuted(values, [k, r * s, c]))
}

/// Filters `[k, c, r, s]` as `[k, r, s, c]`, given the latter's dimensions.
fn from_oihw(dims: &[usize], values: Vec<f32>) -> Vec<f32> {
    match *dims {
        [k, r, s, c] => permuted(&values, [k, c, r * s]),
        _ => values,
    }
}

/// Exchanges the last two of three dimensions.
fn permuted(values: &[f32], [outer, a, b]: [usize; 3]) -> Vec<f32> {
    if values.is_empty() {
        return Vec::new();
    }
    (0..outer * a * b).map(|i| values[i / (a * b) * a * b + i % a * b + i / a % b]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_stored_as_oihw() {
        let (k, r, s, c) = (2, 3, 1, 4);
        let krsc: Vec<f32> = (0..k * r * s * c).map(|i| i as f32).collect();
        let (dims, oihw) = to_oihw(&[k, r, s, c], &krsc);
        assert_eq!(dims, [k, c, r, s]);
        for (ki, ri, ci) in (0..k).flat_map(|ki| (0..r).flat_map(move |ri| (0..c).map(move |ci| (ki, ri, ci)))) {
            assert_eq!(oihw[(ki * c + ci) * r + ri], krsc[(ki * r + ri) * c + ci]);
        }
        assert_eq!(from_oihw(&[k, r, s, c], oihw), krsc);
    }
}
