//! Generates the Rust side: the kernel table and one typed launch function per kernel.

use super::signature::{Kernel, Parameter, Type, VARIANTS, Variant};
use super::source::Source;
use super::{cuda, host};
use std::fmt::Write;

/// What was compiled beside the kernels as the host runs them.
#[derive(Clone, Copy, Default)]
pub struct Compiled {
    /// The GPU's code.
    pub cuda: bool,
    /// The watched kernels.
    pub watched: bool,
}

/// The contents of `launch.rs` and `own.rs`, which `src/device/launch.rs` and `src/own.rs` include.
pub fn module(sources: &[Source], compiled: Compiled) -> String {
    let mut out = String::new();
    if !sources.is_empty() {
        externs(&mut out, sources, host::HOST);
        if compiled.watched {
            externs(&mut out, sources, host::WATCHED);
        }
        if compiled.cuda {
            images(&mut out, sources);
        }
    }
    for source in sources {
        for kernel in &source.kernels {
            function(&mut out, source, kernel, compiled);
        }
    }
    let names: Vec<String> = sources.iter().flat_map(|source| &source.kernels).map(|k| format!("&{}", table_name(k))).collect();
    writeln!(out, "/// Every kernel, in the order of the files.\npub static KERNELS: &[&Kernel] = &[{}];", names.join(", "))
        .unwrap();
    out
}

fn table_name(kernel: &Kernel) -> String {
    kernel.name.to_uppercase()
}

fn externs(out: &mut String, sources: &[Source], library: &str) {
    out.push_str("unsafe extern \"C\" {\n");
    for kernel in sources.iter().flat_map(|source| &source.kernels) {
        for variant in VARIANTS.iter().filter(|v| kernel.exists_for(v)) {
            writeln!(out, "    fn {}(slots: *const u64);", host::symbol(library, kernel, variant)).unwrap();
        }
    }
    out.push_str("}\n\n");
}

/// One static per fatbin, aligned as the driver's own tools align it.
fn images(out: &mut String, sources: &[Source]) {
    out.push_str("#[repr(C, align(16))]\nstruct Image<Bytes: ?Sized>(Bytes);\n");
    for source in sources {
        for variant in cuda::variants().filter(|v| source.exists_for(v)) {
            let image = source.image(variant);
            let bytes = format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/cuda/{image}.fatbin\"))");
            writeln!(out, "static IMAGE_{}: &Image<[u8]> = &Image(*{bytes});", image.to_uppercase()).unwrap();
        }
    }
    out.push('\n');
}

/// An array by `Element::SLOT` of what each variant has.
fn by_variant(entry: impl Fn(&Variant) -> Option<String>) -> String {
    let entries = VARIANTS.iter().map(|v| entry(v).map_or("None".to_owned(), |entry| format!("Some({entry})")));
    format!("[{}]", entries.collect::<Vec<_>>().join(", "))
}

fn function(out: &mut String, source: &Source, kernel: &Kernel, compiled: Compiled) {
    let entries = |library| by_variant(|v| kernel.exists_for(v).then(|| host::symbol(library, kernel, v)));
    let on_host = entries(host::HOST);
    let watched = if compiled.watched { format!(", watched: {}", entries(host::WATCHED)) } else { String::new() };
    let on_gpu = by_variant(|v| {
        let exists = compiled.cuda && v.exists_on_gpu() && kernel.exists_for(v);
        let (image, symbol) = (source.image(v).to_uppercase(), cuda::symbol(kernel, v));
        exists.then(|| format!("CudaEntry {{ image: &IMAGE_{image}.0, symbol: c\"{symbol}\" }}"))
    });
    let (table, file, name, cooperative) = (table_name(kernel), &source.path, &kernel.name, kernel.cooperative);
    let parameters = kernel.parameters.len();
    writeln!(
        out,
        "static {table}: Kernel = Kernel {{ name: \"{name}\", file: \"{file}\", cooperative: {cooperative}, parameters: {parameters}, \
         host: {on_host}, cuda: {on_gpu}{watched} }};"
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
    writeln!(out, "/// Launches `{name}` of `{file}`.").unwrap();
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
