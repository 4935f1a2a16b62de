//! Compiles `kernels/*.cu` and generates their typed launch functions.
//!
//! The signatures in the `.cu` files are the only registry: from them come the host's translation units (compiled here with the
//! C++ compiler, one per file and element type), with the feature `cuda` those for the GPU (compiled with nvcc into one fatbin each), and
//! `launch.rs`, which `src/device/launch.rs` includes.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "kernels/codegen/mod.rs"]
mod codegen;
use codegen::nvcc::{Job, Nvcc};
use codegen::signature::{self, Kernel, VARIANTS};
use codegen::toolkit;

/// A kernel file's name and what it declares.
type File = (String, Vec<Kernel>);

fn main() {
    if let Err(message) = build() {
        message.lines().for_each(|line| println!("cargo::error={line}"));
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR; build with it")?);
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-env-changed=ROCL_STRICT");

    let mut files = kernel_files("")?;
    if env::var_os("CARGO_FEATURE_LADDER").is_some() {
        files.extend(kernel_files("ladder/")?);
    }
    let on_gpu = env::var_os("CARGO_FEATURE_CUDA").is_some() && compile_cuda(&files, &out)?;
    write_if_changed(&out.join("launch.rs"), &codegen::launch::module(&files, on_gpu))?;
    compile_host(&files, &out)
}

/// The kernel files of a folder below `kernels/`, named from there.
fn kernel_files(folder: &str) -> Result<Vec<File>, String> {
    let path = Path::new("kernels").join(folder);
    let entries = fs::read_dir(&path).map_err(|e| format!("cannot list {}: {e}", path.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == "cu")).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let name = format!("{folder}{}", path.file_name().unwrap_or_default().to_string_lossy());
        let source = fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let kernels = signature::parse(&name, &source)?;
        Ok((name, kernels))
    };
    paths.iter().map(read).collect()
}

/// Leaves an unchanged file alone, so that an unchanged kernel is not seen as new.
fn write_if_changed(path: &Path, contents: &str) -> Result<(), String> {
    if fs::read_to_string(path).is_ok_and(|old| old == contents) {
        return Ok(());
    }
    fs::write(path, contents).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The GPU's code; whether there is any. Where documentation is built, there need not be a compiler.
fn compile_cuda(files: &[File], out: &Path) -> Result<bool, String> {
    for variable in ["NVCC", "ROCL_CUDA_ARCHS", "NVCC_CCBIN", "DOCS_RS"].iter().chain(&toolkit::VARIABLES) {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if env::var_os("DOCS_RS").is_some() {
        return Ok(false);
    }
    let nvcc = Nvcc::find(include_str!("tools/cuda/nvcc.txt"))?;
    println!("cargo::rerun-if-changed={}", nvcc.path.display());
    let architectures: Vec<String> = nvcc.architectures.iter().map(u32::to_string).collect();
    println!("cargo::rustc-env=ROCL_NVCC_VERSION={}", nvcc.version);
    println!("cargo::rustc-env=ROCL_GPU_ARCHITECTURES={}", architectures.join(" "));

    let folder = out.join("cuda");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
    let mut jobs = Vec::new();
    for (file, kernels) in files {
        for variant in codegen::cuda::variants().filter(|v| kernels.iter().any(|k| k.exists_for(v))) {
            let name = variant.image(file);
            let unit = folder.join(format!("{name}.cu"));
            write_if_changed(&unit, &codegen::cuda::unit(file, kernels, variant))?;
            jobs.push(Job { file: file.clone(), unit, image: folder.join(format!("{name}.fatbin")) });
        }
    }
    nvcc.compile(&jobs)?;
    Ok(true)
}

/// The host library: always optimised, since it is the CPU device itself; for x86-64-v3 where that exists, and without
/// anything that would let the compiler change the arithmetic written in the source.
fn compile_host(files: &[File], out: &Path) -> Result<(), String> {
    // Of a static library the linker takes what is used: the probes end up in the unit tests only.
    let mut units = vec![PathBuf::from("kernels/host/simt.cpp"), PathBuf::from("kernels/host/simt_probes.cpp")];
    for (name, kernels) in files {
        for variant in VARIANTS.iter().filter(|v| kernels.iter().any(|k| k.exists_for(v))) {
            let unit = out.join(format!("{}.cpp", variant.image(name)));
            write_if_changed(&unit, &codegen::host::unit(name, kernels, variant))?;
            units.push(unit);
        }
    }
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
    build.files(units).try_compile("rocl_host").map_err(|e| format!("the kernels do not compile for the CPU: {e}"))
}
