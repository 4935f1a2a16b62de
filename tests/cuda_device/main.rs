//! The CUDA device, on a driver that runs on the CPU: what reaches the driver is what the host executes, to the bit; and what the driver
//! refuses becomes a sentence.

#[path = "../fake_cuda/mod.rs"]
mod fake_cuda;

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
mod tuning;
