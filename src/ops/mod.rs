//! One safe function per operation: checks shapes, states the logical shape of the launch, calls the device.
//!
//! The only place that launches kernels and calls the libraries. Tensors are handles on device memory, so inputs and outputs alike are
//! passed by reference; what an operation writes comes last, or first where it works in place.

mod activation;
mod augment;
mod ball;
mod batch_norm;
mod cast;
pub mod check;
mod clock;
mod conv;
mod conv_direct;
mod cross_entropy;
mod embedding_distance;
mod filter;
mod image;
mod kl_divergence;
#[cfg(feature = "ladder")]
pub mod ladder;
mod layout;
mod linear;
mod loss_scale;
mod margin;
mod normalize;
mod nt_xent;
mod optim;
mod pgd;
mod pool;
mod random;
mod reduce;
mod restart;
mod rows;
mod scale;
mod stem;
mod stem_pgd;
mod sup_con;
mod transform;

pub use activation::{activation_backward, bias_activation, bias_gradient};
pub use augment::augment;
pub use ball::{L1_STEP_SUPPORT, pgd_l1_step, pgd_l2_step, random_start_l1, random_start_l2};
pub use batch_norm::{
    BnParameters, BnRunning, BnSaved, bn_apply, bn_backward, bn_eval, bn_eval_backward, bn_fold, bn_keep_running,
    bn_kept_backward, bn_statistics,
};
pub use cast::{cast_from_real, cast_to_real, copy};
pub use clock::record_step;
pub use conv::{ConvShape, Epilogue, conv_dgrad, conv_fprop, conv_wgrad};
pub use conv_direct::{conv_direct_dgrad, conv_direct_fprop, conv_direct_wgrad};
pub use cross_entropy::cross_entropy;
pub use embedding_distance::{Distance, embedding_distance};
pub use filter::{FilterForms, Filters, GradientTail, add_filter_gradient, turn_filter};
pub use image::{gather_labels, gather_rows, unit_range};
pub use kl_divergence::kl_divergence;
pub use layout::{nchw_to_nhwc, nhwc_to_nchw};
pub use linear::{linear, linear_dgrad, linear_wgrad};
pub use loss_scale::{LossScale, LossScaleState, undo_if_skipped};
pub use margin::margin_loss;
pub use normalize::{normalize, normalize_backward};
pub use nt_xent::{NtXent, NtXentWorkspace, nt_xent};
pub use optim::{AdamWSettings, CHUNK, ChunkTable, LarsSettings, LarsWorkspace, SgdSettings, adamw, lars, sgd};
pub use pgd::{LinfStep, Norm, PgdStep, pgd_linf_step, pgd_linf_step_unfused};
pub use pool::{average_pool, average_pool_backward};
pub use random::random_start;
pub use reduce::weighted_sum;
pub use restart::{Outcome, keep_worse};
pub use scale::{scale_by_loss_scale, scale_rows};
pub use stem::{STEM_CHANNELS, stem_filters, stem_filters_backward, stem_images, stem_images_backward};
pub use stem_pgd::{StemStep, stem_pgd_step};
pub use sup_con::sup_con;
pub use transform::{transform_views, transform_views_backward};
