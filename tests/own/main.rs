//! Losses and attacks with kernels from outside `kernels/`: those of `examples/`, against oracles, and in training and evaluation.

#[path = "../common/mod.rs"]
mod common;
#[path = "../kernels/support.rs"]
mod support;

#[path = "../../examples/own_attack/attack.rs"]
mod attack;
#[path = "../../examples/own_loss/loss.rs"]
mod loss;

mod alignment_uniformity;
mod momentum;
mod toy;
