//! What cuDNN computes at once, and what runs as kernels afterwards.

use super::checks::Check;
use crate::device::Arithmetic;
use crate::device::conv::ConvShape;
use crate::device::cudnn::{CARDS, Cudnn, Operation, Problem};
use crate::{Device, Result};

/// What a network asks of a convolution: the attack forwards and backwards, training backwards.
const OPERATIONS: [Operation; 3] = [
    Operation::Fprop { bias: true, residual: true, relu: true },
    Operation::Dgrad { residual: true, mask: true },
    Operation::Wgrad { accumulate: true },
];

/// The convolution that ResNet-18 has most often, with the batch of an attack.
const SHAPE: ConvShape = ConvShape { n: 256, h: 32, w: 32, c: 64, k: 64, r: 3, s: 3, stride: 1, pad: 1 };

/// A line for each of these GPUs; where there are none, for cards that cuDNN is told of. None without cuDNN.
pub fn fusions(gpus: &[Device]) -> Vec<Check> {
    let there = gpus.iter().filter_map(of_gpu);
    let described = CARDS.iter().filter_map(|card| {
        let cudnn = Cudnn::for_described_card(card.name, card.properties).ok()?;
        Some((card.architecture.to_owned(), summary(&cudnn)))
    });
    let lines: Vec<_> = if gpus.is_empty() { described.collect() } else { there.collect() };
    lines.into_iter().map(|(name, summary)| Check::new(format!("fused, {name}"), summary)).collect()
}

/// The GPU as `--device` takes it, and what cuDNN does on it.
fn of_gpu(device: &Device) -> Option<(String, Result<String>)> {
    let Device::Cuda(cuda) = device else { return None };
    let cudnn = cuda.library(|cuda| Cudnn::on_current_card(&cuda.gpu().name));
    Some((format!("cuda:{}", cuda.gpu().ordinal), cudnn.and_then(|cudnn| summary(&cudnn))))
}

/// `fprop + bias + ReLU: all; dgrad + mask: dgrad (f32, tf32), all (f16, bf16)`.
fn summary(cudnn: &Cudnn) -> Result<String> {
    let operations = OPERATIONS.iter().map(|&operation| {
        let mut outcomes: Vec<(String, Vec<&str>)> = Vec::new();
        for arithmetic in Arithmetic::ALL {
            let outcome = cudnn.plan(Problem { operation, shape: SHAPE, arithmetic })?.extent();
            match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
                Some((_, arithmetics)) => arithmetics.push(arithmetic.name()),
                None => outcomes.push((outcome, vec![arithmetic.name()])),
            }
        }
        let parts: Vec<String> = match &outcomes[..] {
            [(outcome, _)] => vec![outcome.clone()],
            several => several.iter().map(|(outcome, in_what)| format!("{outcome} ({})", in_what.join(", "))).collect(),
        };
        Ok(format!("{operation}: {}", parts.join(", ")))
    });
    Ok(format!("{}; kernels do the rest", operations.collect::<Result<Vec<_>>>()?.join("; ")))
}
