//! Every gradient against differences of the function it is the gradient of.
//!
//! The engine is generic over the element type, and `f64` runs the very kernels of `f32`: with sixteen digits a difference
//! quotient is exact enough to judge a gradient by.

mod classifiers;
#[path = "../common/mod.rs"]
mod common;
mod difference;
mod layers;
mod networks;
mod preactivation;
