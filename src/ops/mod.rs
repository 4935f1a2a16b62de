//! One safe function per operation: checks shapes, states the logical shape of the launch, calls the device.

mod augment;
mod check;
mod conv;
mod image;
mod linear;
mod pgd;

pub use augment::augment;
pub use conv::{Epilogue, conv_dgrad, conv_fprop, conv_wgrad};
pub use image::{gather_labels, gather_rows, unit_range};
pub use linear::{linear, linear_dgrad, linear_wgrad};
pub use pgd::pgd_linf_step;
