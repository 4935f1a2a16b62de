//! What a user asks for: pretraining, linear evaluation, accuracy under attack, and the settings of each.

pub mod accuracies;
pub mod adversaries;
pub mod attacked;
pub mod demo;
pub mod engines;
pub mod epoch;
pub mod evaluate;
pub mod linear_eval;
pub mod per_image;
pub mod pretrain;
pub mod rehearsal;
pub mod saved;
pub mod settings;
pub mod trained;
pub mod training;
pub mod transfer_matrix;
pub mod verify;

pub use settings::Recipe;
