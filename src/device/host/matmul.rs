//! Placeholder until the host products are merged.
/// gemm dispatch
pub trait Gemm {}
impl Gemm for f32 {}
impl Gemm for f64 {}
