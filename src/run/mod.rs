//! What surrounds a run: checkpoints, the metrics log, progress, interruption.

pub mod atomic;
pub mod checkpoint;
pub mod file;
pub mod interrupt;
pub mod metrics;
pub mod progress;
