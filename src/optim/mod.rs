//! How the weights move: learning-rate schedules.

pub mod schedule;
