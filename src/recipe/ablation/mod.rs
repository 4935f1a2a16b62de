//! Ablations: a grid of recipes, each pretrained, given a linear head and attacked, and what came of them.
//!
//! A cell has a folder with the log, checkpoint, head and `per_image.json` of `rocl pretrain`, `linear-eval` and `evaluate`, and `recipe.toml`, by which the folder is found
//! again, whatever the grid then is. What is there already is not done again.

pub mod cell;
pub mod document;
pub mod grid;
pub mod study;
mod view;

pub use grid::{Cell, Grid};
