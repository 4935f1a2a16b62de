//! What a user asks for: pretraining, training with labels, linear evaluation, accuracy under attack, and the settings of each.

pub mod ablation;
pub mod accuracies;
pub mod adversaries;
pub mod attacked;
pub mod demo;
pub mod engines;
pub mod epoch;
pub mod evaluate;
pub mod head;
pub mod labels;
pub mod linear_eval;
pub mod per_image;
pub mod pretrain;
pub mod rehearsal;
pub mod robust_linear_eval;
pub mod saved;
pub mod settings;
pub mod supervised;
pub mod trained;
pub mod training;
pub mod training_run;
pub mod transfer;
pub mod transfer_matrix;
pub mod verify;

pub use settings::Recipe;
