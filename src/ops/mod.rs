//! One safe function per operation: checks shapes, states the logical shape of the launch, calls the device.

mod activation;
mod batch_norm;
mod cast;
mod augment;
mod check;
mod conv;
mod image;
mod linear;
mod conv_direct;
mod layout;
mod pgd;
mod pool;
mod rows;

pub use augment::augment;
pub use conv::{Epilogue, conv_dgrad, conv_fprop, conv_wgrad};
pub use image::{gather_labels, gather_rows, unit_range};
pub use linear::{linear, linear_dgrad, linear_wgrad};
pub use batch_norm::{
    BnParameters, BnRunning, BnSaved, bn_apply, bn_backward, bn_eval, bn_eval_backward, bn_fold, bn_statistics,
};
mod clock;
mod cross_entropy;
mod nt_xent;
pub mod optim;
mod pgd;
mod random;
mod reduce;

pub use clock::record_step;
pub use cross_entropy::cross_entropy;
pub use nt_xent::{NtXent, NtXentWorkspace, nt_xent};
pub use optim::{AdamWSettings, ChunkTable, LarsSettings, LarsWorkspace, SgdSettings, adamw, lars, sgd};
pub use pgd::pgd_linf_step;
pub use random::random_start;
pub use reduce::weighted_sum;
pub use activation::{bias_activation, bias_gradient, relu_backward};
pub use batch_norm::{
    BnParameters, BnRunning, BnSaved, bn_apply, bn_backward, bn_eval, bn_eval_backward, bn_fold, bn_statistics,
};
pub use cast::{cast_from_real, cast_to_real};
pub use conv_direct::{conv_direct_dgrad, conv_direct_fprop, conv_direct_wgrad};
pub use layout::{nchw_to_nhwc, nhwc_to_nchw};
pub use pgd::pgd_linf_step;
pub use pool::{average_pool, average_pool_backward};
