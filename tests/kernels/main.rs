//! Every kernel against a plain f64 oracle: over many shapes, in each element type, in both launch geometries, under shuffled
//! schedules. One body per test; `for_each_device` runs it on every device and geometry there is.

mod support;

mod clock;
mod cross_entropy;
mod nt_xent;
mod optim;
mod pgd;
mod random;
mod reduce;
