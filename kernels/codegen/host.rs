//! Generates what the host compiler sees: one translation unit per kernel file and variant, with an entry point per kernel. The kernels are compiled
//! once to run, and with the feature `access` once more to be watched; `library` tells the symbols of the two apart.

use super::signature::{Kernel, Variant};
use super::source::Source;
use std::fmt::Write;

/// The kernels as the host runs them.
pub const HOST: &str = "host";
/// The kernels with a call at every access to memory.
pub const WATCHED: &str = "watched";

/// The C symbol of a kernel's entry point.
pub fn symbol(library: &str, kernel: &Kernel, variant: &Variant) -> String {
    format!("rocl_{library}_{}_{}", kernel.name, variant.suffix)
}

/// The translation unit of one kernel file for one variant.
pub fn unit(library: &str, source: &Source, variant: &Variant) -> String {
    let mut out = String::new();
    let Variant { storage, real, .. } = variant;
    // A namespace per library, file and type: device code of one name in two of them must not be merged by the linker.
    writeln!(out, "#include \"host/simt.h\"\nnamespace rocl_{library}_{} {{", source.image(variant)).unwrap();
    writeln!(out, "using T = {storage};\nusing Real = {real};\n#include \"{}\"", source.path).unwrap();
    writeln!(out, "template <typename V> static inline V argument(const uint64_t& slot) {{ V v; std::memcpy(&v, &slot, sizeof(V)); return v; }}")
        .unwrap();
    for kernel in source.kernels.iter().filter(|k| k.exists_for(variant)) {
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
        let (symbol, name) = (symbol(library, kernel, variant), &kernel.name);
        writeln!(out, "extern \"C\" void {symbol}(const uint64_t* slots) {{ {name}({}); }}", arguments.join(", ")).unwrap();
    }
    out.push_str("}\n");
    out
}
