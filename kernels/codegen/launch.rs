//! Generates the Rust side: the kernel table and one typed launch function per kernel.

use super::host::symbol;
use super::signature::{Kernel, Parameter, Type, VARIANTS};
use std::fmt::Write;

/// The contents of `launch.rs`, included by `src/device/launch.rs`.
pub fn module(files: &[(String, Vec<Kernel>)]) -> String {
    let mut out = String::new();
    externs(&mut out, files);
    for (file, kernels) in files {
        for kernel in kernels {
            function(&mut out, file, kernel);
        }
    }
    let names: Vec<String> = files.iter().flat_map(|(_, kernels)| kernels).map(|k| format!("&{}", table_name(k))).collect();
    writeln!(out, "/// Every kernel, in the order of the files.\npub static KERNELS: &[&Kernel] = &[{}];", names.join(", "))
        .unwrap();
    out
}

fn table_name(kernel: &Kernel) -> String {
    kernel.name.to_uppercase()
}

fn externs(out: &mut String, files: &[(String, Vec<Kernel>)]) {
    out.push_str("unsafe extern \"C\" {\n");
    for kernel in files.iter().flat_map(|(_, kernels)| kernels) {
        for variant in VARIANTS.iter().filter(|v| kernel.exists_for(v)) {
            writeln!(out, "    fn {}(slots: *const u64);", symbol(kernel, variant)).unwrap();
        }
    }
    out.push_str("}\n\n");
}

fn function(out: &mut String, file: &str, kernel: &Kernel) {
    let entries: Vec<String> = VARIANTS
        .iter()
        .map(|v| if kernel.exists_for(v) { format!("Some({})", symbol(kernel, v)) } else { "None".to_owned() })
        .collect();
    let (table, name, cooperative) = (table_name(kernel), &kernel.name, kernel.cooperative);
    writeln!(
        out,
        "static {table}: Kernel = Kernel {{ name: \"{name}\", file: \"{file}\", cooperative: {cooperative}, host: [{}], cuda: [const {{ None }}; 4] }};",
        entries.join(", ")
    )
    .unwrap();

    let (generics, slot) = if kernel.is_typed() {
        ("<T: Element>", "T::SLOT")
    } else if kernel.is_real() {
        ("<R: Real>", "R::SLOT")
    } else {
        ("", "0")
    };
    let parameters: Vec<String> = kernel.parameters.iter().map(|p| format!("{}: {}", p.name, rust_type(kernel, p))).collect();
    writeln!(out, "/// Launches `{name}` of `kernels/{file}`.").unwrap();
    writeln!(out, "#[allow(clippy::too_many_arguments)]").unwrap();
    writeln!(out, "pub fn {name}{generics}(work: Work, {}) -> Result<()> {{", parameters.join(", ")).unwrap();
    writeln!(out, "    let mut arguments = Arguments::new(&{table});").unwrap();
    for p in &kernel.parameters {
        let access = match (p.constant, p.in_place) {
            (true, _) => "Read",
            (false, true) => "Update",
            (false, false) => "Write",
        };
        let name = &p.name;
        match (p.pointer, p.optional) {
            (true, false) => writeln!(out, "    arguments.tensor(\"{name}\", Some({name}), Access::{access});").unwrap(),
            (true, true) => writeln!(out, "    arguments.tensor(\"{name}\", {name}, Access::{access});").unwrap(),
            (false, _) => writeln!(out, "    arguments.scalar({name});").unwrap(),
        }
    }
    writeln!(out, "    arguments.launch({slot}, work)\n}}\n").unwrap();
}

fn rust_type(kernel: &Kernel, p: &Parameter) -> String {
    let element = match (p.ty, kernel.is_typed()) {
        (Type::Storage, _) => "T",
        (Type::Real, true) => "T::Real",
        (Type::Real, false) => "R",
        (Type::F32, _) => "f32",
        (Type::U8, _) => "u8",
        (Type::I32, _) => "i32",
        (Type::I64, _) => "i64",
        (Type::U64, _) => "u64",
    };
    match (p.pointer, p.optional) {
        (false, _) => element.to_owned(),
        (true, false) => format!("&Tensor<{element}>"),
        (true, true) => format!("Option<&Tensor<{element}>>"),
    }
}
