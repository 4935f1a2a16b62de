//! Compiles `kernels/*.cu` and generates their typed launch functions.
//!
//! The signatures in the `.cu` files are the only registry: from them come the host's translation units (compiled here with the
//! C++ compiler, one per file and element type) and `launch.rs`, which `src/device/launch.rs` includes.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "kernels/codegen/mod.rs"]
mod codegen;
use codegen::signature::{self, VARIANTS};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-env-changed=ROCL_STRICT");

    let mut files = Vec::new();
    for path in kernel_files(Path::new("kernels")) {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        let kernels = signature::parse(&name, &source);
        assert!(!kernels.is_empty(), "kernels/{name} declares no KERNEL");
        files.push((name, kernels));
    }

    // Of a static library the linker takes what is used: the probes end up in the unit tests only.
    let mut units = vec![PathBuf::from("kernels/host/simt.cpp"), PathBuf::from("kernels/host/simt_probes.cpp")];
    for (name, kernels) in &files {
        for variant in VARIANTS.iter().filter(|v| kernels.iter().any(|k| k.exists_for(v))) {
            let unit = out.join(format!("{}_{}.cpp", name.trim_end_matches(".cu"), variant.suffix));
            write_if_changed(&unit, &codegen::host::unit(name, kernels, variant));
            units.push(unit);
        }
    }
    write_if_changed(&out.join("launch.rs"), &codegen::launch::module(&files));
    compile_host(&units);
}

fn kernel_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot list {}: {e}", folder.display()));
    let mut files: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == "cu")).collect();
    files.sort();
    files
}

/// Leaves an unchanged file alone, so that an unchanged kernel is not seen as new.
fn write_if_changed(path: &Path, contents: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == contents) {
        return;
    }
    fs::write(path, contents).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}

/// The host library: always optimised, since it is the CPU device itself; for x86-64-v3 where that exists, and without
/// anything that would let the compiler change the arithmetic written in the source.
fn compile_host(units: &[PathBuf]) {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3).debug(false).cpp_link_stdlib(None).include("kernels").include("kernels/include");
    build.flag("-ffp-contract=off").flag("-fno-math-errno").flag("-fno-trapping-math");
    build.flag("-fno-exceptions").flag("-fno-rtti").flag("-fno-threadsafe-statics").flag("-ftls-model=initial-exec");
    build.warnings(true).extra_warnings(true);
    build.flag("-Wno-unknown-pragmas").flag_if_supported("-Wno-interference-size");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        build.flag("-march=x86-64-v3");
    }
    if env::var_os("ROCL_STRICT").is_some() {
        build.warnings_into_errors(true);
    }
    build.files(units).compile("rocl_host");
}
