//! One safe function per operation: checks shapes, states the logical shape of the launch, calls the device.

mod activation;
mod batch_norm;
mod cast;
mod check;
mod conv_direct;
mod layout;
mod pgd;
mod pool;
mod rows;

pub use activation::{bias_activation, bias_gradient, relu_backward};
pub use batch_norm::{
    BnParameters, BnRunning, BnSaved, bn_apply, bn_backward, bn_eval, bn_eval_backward, bn_fold, bn_statistics,
};
pub use cast::{cast_from_real, cast_to_real};
pub use conv_direct::{conv_direct_dgrad, conv_direct_fprop, conv_direct_wgrad};
pub use layout::{nchw_to_nhwc, nhwc_to_nchw};
pub use pgd::pgd_linf_step;
pub use pool::{average_pool, average_pool_backward};
