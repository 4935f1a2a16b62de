//! Every kernel against a plain f64 oracle: over many shapes, in each element type, in both launch geometries, under shuffled
//! schedules. One body per test; `for_each_device` runs it on every device and geometry there is.

mod golden;
mod support;

mod nt_xent;
mod activation;
mod batch_norm;
mod cast;
mod conv_direct;
mod layout;
mod augment;
mod image;
mod pgd;
mod pool;
