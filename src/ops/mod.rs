//! One safe function per operation: checks shapes, states the logical shape of the launch, calls the device.

mod check;
mod pgd;

pub use pgd::pgd_linf_step;
