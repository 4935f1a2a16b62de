//! Optimisers over a flat parameter arena.
//!
//! All parameters of a network lie in one tensor, and so do their gradients and each kind of optimiser state. Every parameter tensor
//! begins at a multiple of [`CHUNK`] elements and is padded with zeros, which every update leaves zero. The learning rate is
//! `learning_rates[clock[0]]`, so that what varies from step to step lies in device memory.
//!
//! Where there is a [`LossScale`], the gradients carry it. An update then first decides whether they overflowed, in which case it changes nothing.

use super::check::{has_shape, same_shape};
use super::clock::is_clock;
use super::loss_scale::LossScale;
use crate::device::launch::{self, Work};
use crate::element::Real;
use crate::{Device, Error, Result, Tensor};

/// The granularity of an arena, in elements; as in `kernels/lars.cu`.
pub const CHUNK: usize = 1024;
/// The chunks of an item: few, so that items outnumber a GPU's multiprocessors; not one, so that a large tensor has few items to add up.
const ITEM_CHUNKS: usize = 16;
/// Threads a block, one block an item; as in `kernels/lars.cu`.
pub(super) const THREADS: usize = 128;

/// Where each parameter tensor lies in an arena, and how reductions over tensors are cut into items: up to 16 consecutive chunks of
/// one tensor each. Depends on the tensors' lengths only. A tensor without elements has one item without chunks.
#[derive(Clone)]
pub struct ChunkTable {
    /// The first chunk of each item, and the number of chunks, `[items + 1]`.
    pub item_chunks: Tensor<i32>,
    /// The tensor each item belongs to, `[items]`.
    pub item_tensor: Tensor<i32>,
    /// The first item of each tensor, and the number of items, `[tensors + 1]`.
    pub tensor_items: Tensor<i32>,
    offsets: Vec<usize>,
    len: usize,
}

impl ChunkTable {
    /// Lays out tensors of these lengths one after the other.
    pub fn new(device: &Device, lengths: &[usize]) -> Result<Self> {
        let (mut item_chunks, mut item_tensor, mut tensor_items) = (Vec::new(), Vec::new(), Vec::new());
        let mut offsets = Vec::new();
        let mut chunks = 0;
        for (tensor, length) in lengths.iter().enumerate() {
            offsets.push(chunks * CHUNK);
            tensor_items.push(item_chunks.len());
            let end = chunks + length.div_ceil(CHUNK);
            item_chunks.extend((chunks..end.max(chunks + 1)).step_by(ITEM_CHUNKS));
            item_tensor.resize(item_chunks.len(), tensor);
            chunks = end;
        }
        tensor_items.push(item_chunks.len());
        item_chunks.push(chunks);
        let upload = |values: &[usize]| {
            let values: Vec<i32> = values
                .iter()
                .map(|&v| i32::try_from(v))
                .collect::<Result<_, _>>()
                .map_err(|_| Error::shape("parameters", format!("{chunks} chunks are too many; use a smaller width")))?;
            Tensor::from_slice(device, [values.len()], &values)
        };
        Ok(Self {
            item_chunks: upload(&item_chunks)?,
            item_tensor: upload(&item_tensor)?,
            tensor_items: upload(&tensor_items)?,
            offsets,
            len: chunks * CHUNK,
        })
    }

    /// The first element of each tensor.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The elements of the arena, padding included.
    pub fn padded_len(&self) -> usize {
        self.len
    }

    /// The number of tensors.
    pub fn tensors(&self) -> usize {
        self.offsets.len()
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.item_tensor.len()
    }
}

/// Layer-wise adaptive rate scaling around SGD with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LarsSettings {
    /// The trust coefficient: how far a step may go, relative to the length of the tensor.
    pub trust: f64,
    /// Momentum of the inner SGD.
    pub momentum: f64,
    /// Weight decay, added to the gradient before scaling.
    pub weight_decay: f64,
    /// Keeps the scale's denominator from vanishing.
    pub epsilon: f64,
}

/// What [`lars`] keeps between its launches.
pub struct LarsWorkspace<R> {
    /// The sums of squares of parameters and of gradients over each item, `[2, items]`.
    squares: Tensor<R>,
    /// The scale of each tensor in the last step, `[tensors]`.
    pub scales: Tensor<R>,
}

impl<R: Real> LarsWorkspace<R> {
    /// Room for an arena of this layout.
    pub fn new(device: &Device, table: &ChunkTable) -> Result<Self> {
        Ok(Self { squares: Tensor::zeros(device, [2, table.items()])?, scales: Tensor::zeros(device, [table.tensors()])? })
    }
}

/// Plain SGD with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdSettings {
    /// Momentum; 0 for none.
    pub momentum: f64,
    /// Weight decay, added to the gradient.
    pub weight_decay: f64,
}

/// Adam with decoupled weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSettings {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Keeps the denominator from vanishing.
    pub epsilon: f64,
    /// Weight decay, times the learning rate, taken off the parameter itself.
    pub weight_decay: f64,
}

/// The checks every optimiser makes; returns the arena's length and the number of learning rates.
fn check<R: Real>(
    op: &'static str,
    arenas: &[(&'static str, &Tensor<R>)],
    clock: &Tensor<i64>,
    learning_rates: &Tensor<R>,
) -> Result<(usize, i64)> {
    same_shape(op, arenas)?;
    is_clock(op, clock)?;
    if learning_rates.is_empty() {
        return Err(Error::shape(op, "`learning_rates` is empty; an epoch needs one for each step"));
    }
    Ok((arenas[0].1.len(), learning_rates.len() as i64))
}

/// One LARS step, in place (You et al. 2017; the inner optimiser is SGD). For each tensor, with a = trust·|p|/(|g| + weight_decay·|p| + ε),
/// or 1 where a norm is zero: buffer ← momentum·buffer + a·(g + weight_decay·p); p ← p − rate·buffer.
///
/// `p`, `g` and `buffer` are arenas laid out by `table`; the buffer starts as zeros. Leaves a of each tensor in `workspace.scales`.
#[allow(clippy::too_many_arguments)]
pub fn lars<R: Real>(
    p: &Tensor<R>,
    g: &Tensor<R>,
    buffer: &Tensor<R>,
    table: &ChunkTable,
    clock: &Tensor<i64>,
    learning_rates: &Tensor<R>,
    settings: &LarsSettings,
    workspace: &LarsWorkspace<R>,
    loss_scale: Option<&LossScale<R>>,
) -> Result<()> {
    const OP: &str = "lars";
    let (_, steps) = check(OP, &[("p", p), ("g", g), ("buffer", buffer)], clock, learning_rates)?;
    has_shape(OP, "p", p, &[table.padded_len()])?;
    has_shape(OP, "workspace.scales", &workspace.scales, &[table.tensors()])?;
    has_shape(OP, "workspace.squares", &workspace.squares, &[2, table.items()])?;
    let LarsSettings { trust, momentum, weight_decay, epsilon } = settings;
    let [trust, momentum, weight_decay, epsilon] = [trust, momentum, weight_decay, epsilon].map(|&v| R::from_f64(v));
    let LarsWorkspace { squares, scales } = workspace;
    let ChunkTable { item_chunks, item_tensor, tensor_items, .. } = table;
    let work = Work::Blocks(table.items(), THREADS);
    launch::lars_norms(work, p, g, item_chunks, squares)?;
    loss_scale.map_or(Ok(()), |scale| scale.judge(squares))?;
    launch::lars_update(
        work,
        p,
        buffer,
        g,
        squares,
        item_chunks,
        item_tensor,
        tensor_items,
        clock,
        learning_rates,
        steps,
        trust,
        momentum,
        weight_decay,
        epsilon,
        loss_scale.map(|scale| &scale.factors),
        loss_scale.map(|scale| &scale.counters),
        scales,
    )
}

/// One SGD step, in place, as PyTorch's: buffer ← momentum·buffer + (g + weight_decay·p); p ← p − rate·buffer. The buffer starts as zeros.
#[allow(clippy::too_many_arguments)]
pub fn sgd<R: Real>(
    p: &Tensor<R>,
    g: &Tensor<R>,
    buffer: &Tensor<R>,
    clock: &Tensor<i64>,
    learning_rates: &Tensor<R>,
    settings: &SgdSettings,
    loss_scale: Option<&LossScale<R>>,
) -> Result<()> {
    let (n, steps) = check("sgd", &[("p", p), ("g", g), ("buffer", buffer)], clock, learning_rates)?;
    let (momentum, weight_decay) = (R::from_f64(settings.momentum), R::from_f64(settings.weight_decay));
    loss_scale.map_or(Ok(()), |scale| scale.judge_gradients(g))?;
    launch::sgd_update(
        Work::Elements(n),
        p,
        buffer,
        g,
        clock,
        learning_rates,
        steps,
        momentum,
        weight_decay,
        loss_scale.map(|scale| &scale.factors),
        loss_scale.map(|scale| &scale.counters),
        n as i64,
    )
}

/// One AdamW step, in place, as PyTorch's (Loshchilov and Hutter 2019): decoupled weight decay, bias correction with
/// t = `clock[1]` + 1, less the steps that were skipped. `m` and `v` start as zeros.
#[allow(clippy::too_many_arguments)]
pub fn adamw<R: Real>(
    p: &Tensor<R>,
    g: &Tensor<R>,
    m: &Tensor<R>,
    v: &Tensor<R>,
    clock: &Tensor<i64>,
    learning_rates: &Tensor<R>,
    settings: &AdamWSettings,
    loss_scale: Option<&LossScale<R>>,
) -> Result<()> {
    let (n, steps) = check("adamw", &[("p", p), ("g", g), ("m", m), ("v", v)], clock, learning_rates)?;
    let AdamWSettings { beta1, beta2, epsilon, weight_decay } = *settings;
    let real = R::from_f64;
    loss_scale.map_or(Ok(()), |scale| scale.judge_gradients(g))?;
    launch::adamw_update(
        Work::Elements(n),
        p,
        m,
        v,
        g,
        clock,
        learning_rates,
        steps,
        real(beta1),
        real(beta2),
        real(1.0 - beta1),
        real(1.0 - beta2),
        real(beta1.ln()),
        real(beta2.ln()),
        real(epsilon),
        real(weight_decay),
        loss_scale.map(|scale| &scale.factors),
        loss_scale.map(|scale| &scale.counters),
        n as i64,
    )
}
