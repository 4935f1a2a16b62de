//! Generates what nvcc sees: one translation unit per kernel file and element type.

use super::signature::{Kernel, VARIANTS, Variant};
use super::source::Source;
use std::fmt::Write;

/// The variants that GPU code exists for.
pub fn variants() -> impl Iterator<Item = &'static Variant> {
    VARIANTS.iter().filter(|v| v.exists_on_gpu())
}

/// The C symbol of a kernel in the GPU's code.
pub fn symbol(kernel: &Kernel, variant: &Variant) -> String {
    format!("{}_{}", kernel.name, variant.suffix)
}

/// The translation unit of one kernel file for one variant. What a kernel's signature begins with is defined here for each: an entry
/// point, or, where the kernel does not exist for the variant, a function that nothing calls and the compiler drops.
pub fn unit(source: &Source, variant: &Variant) -> String {
    let mut out = String::from("#include \"cuda_prelude.h\"\n");
    for kernel in &source.kernels {
        let name = &kernel.name;
        if kernel.exists_for(variant) {
            writeln!(out, "#define ROCL_ENTRY_{name} ROCL_GLOBAL {}", symbol(kernel, variant)).unwrap();
        } else {
            writeln!(out, "#define ROCL_ENTRY_{name} ROCL_UNUSED {name}").unwrap();
        }
    }
    let Variant { suffix, storage, real } = variant;
    // In a namespace, since CUDA's headers have global functions of common names.
    writeln!(out, "namespace rocl_{suffix} {{\nusing T = {storage};\nusing Real = {real};\n#include \"{}\"\n}}", source.path)
        .unwrap();
    out
}
