//! What a user asks for: the recipe of a run.

pub mod settings;

pub use settings::Recipe;
