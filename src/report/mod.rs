//! Results for people: text tables, plots, and the statistics in them.

pub mod plot;
pub mod statistics;
pub mod table;
