//! Generates what the host compiler sees: one translation unit per kernel file and variant, with an entry point per kernel.

use super::signature::{Kernel, Variant};
use std::fmt::Write;

/// The C symbol of a kernel's host entry point.
pub fn symbol(kernel: &Kernel, variant: &Variant) -> String {
    format!("rocl_host_{}_{}", kernel.name, variant.suffix)
}

/// The translation unit of one kernel file for one variant.
pub fn unit(path: &str, kernels: &[Kernel], variant: &Variant) -> String {
    let mut out = String::new();
    let Variant { suffix, storage, real } = variant;
    // A namespace per type: the device code of two variants has the same names and must not be merged by the linker.
    writeln!(out, "#include \"host/simt.h\"\nnamespace rocl_{suffix} {{\nusing T = {storage};\nusing Real = {real};").unwrap();
    writeln!(out, "#include \"{path}\"").unwrap();
    writeln!(out, "template <typename V> static inline V argument(const uint64_t& slot) {{ V v; std::memcpy(&v, &slot, sizeof(V)); return v; }}")
        .unwrap();
    for kernel in kernels.iter().filter(|k| k.exists_for(variant)) {
        let arguments: Vec<String> = kernel
            .parameters
            .iter()
            .enumerate()
            .map(|(i, p)| {
                let constant = if p.constant { "const " } else { "" };
                let star = if p.pointer { "*" } else { "" };
                format!("argument<{constant}{}{star}>(slots[{i}])", p.ty.c_name())
            })
            .collect();
        let (symbol, name) = (symbol(kernel, variant), &kernel.name);
        writeln!(out, "extern \"C\" void {symbol}(const uint64_t* slots) {{ {name}({}); }}", arguments.join(", ")).unwrap();
    }
    out.push_str("}\n");
    out
}
