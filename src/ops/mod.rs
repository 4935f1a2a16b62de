//! One safe function per operation: checks shapes, states the logical shape of the launch, calls the device.

mod batch_norm;
mod check;
mod conv;
mod linear;
mod pgd;
mod rows;

pub use conv::{Epilogue, conv_dgrad, conv_fprop, conv_wgrad};
pub use linear::{linear, linear_dgrad, linear_wgrad};
pub use batch_norm::{
    BnParameters, BnRunning, BnSaved, bn_apply, bn_backward, bn_eval, bn_eval_backward, bn_fold, bn_statistics,
};
pub use pgd::pgd_linf_step;
