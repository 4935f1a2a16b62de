//! One safe function per operation: checks shapes, states the logical shape of the launch, calls the device.

mod check;
mod conv;
mod linear;
mod pgd;

pub use conv::{Epilogue, conv_dgrad, conv_fprop, conv_wgrad};
pub use linear::{linear, linear_dgrad, linear_wgrad};
pub use pgd::pgd_linf_step;
