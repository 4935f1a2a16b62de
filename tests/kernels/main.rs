//! Every kernel against a plain f64 oracle: over many shapes, in each element type, in both launch geometries, under shuffled
//! schedules. One body per test; `for_each_device` runs it on every device and geometry there is, on a GPU too where `ROCL_TEST_DEVICES` names one.

#[path = "../common/mod.rs"]
mod common;
mod golden;
mod support;

mod activation;
mod augment;
mod ball;
mod batch_norm;
mod cast;
mod classifier_losses;
mod clock;
mod conv_direct;
mod cross_entropy;
mod embedding_losses;
mod filter;
mod image;
#[cfg(feature = "ladder")]
mod ladder;
mod layout;
mod loss_scale;
mod normalize;
mod nt_xent;
mod optim;
mod pgd;
mod pool;
mod random;
mod random_ball;
mod readme;
mod reduce;
mod restart;
mod scale;
mod stem;
mod stem_pgd;
mod transform;
