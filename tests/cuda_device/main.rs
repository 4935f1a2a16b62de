//! The CUDA device. On a driver that runs on the CPU, what reaches the driver is what the host executes, to the bit, and what the driver refuses
//! becomes a sentence. What does not depend on the driver is tested on a GPU too, where `ROCL_TEST_DEVICES` names one.

#[path = "../common/mod.rs"]
mod common;
use common::{devices, fake_cuda};

mod benchmarks;
mod convolutions;
mod errors;
mod graphs;
mod libraries;
mod memory;
#[path = "../plan_interpreter/mod.rs"]
mod plan_interpreter;
mod recipes;
mod seams;
mod supervised;
mod trials;
mod tuning;
