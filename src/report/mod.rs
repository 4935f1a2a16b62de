//! Results for people: text tables.

pub mod table;
