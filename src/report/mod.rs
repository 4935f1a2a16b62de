//! Results for people: text tables, and the statistics in them.

pub mod statistics;
pub mod table;
