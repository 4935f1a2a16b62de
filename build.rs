//! Compiles `kernels/*.cu` and generates their typed launch functions.
//!
//! The signatures in the `.cu` files are the only registry: from them come the host's translation units (compiled here with the
//! C++ compiler, one per file and element type), with the feature `cuda` those for the GPU (compiled with nvcc into one fatbin each), and
//! `launch.rs`, which `src/device/launch.rs` includes.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "kernels/codegen/mod.rs"]
mod codegen;
use codegen::host;
use codegen::launch::Compiled;
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
    let watched = env::var_os("CARGO_FEATURE_ACCESS").is_some();
    let compiled = Compiled { cuda: on_gpu, watched };
    write_if_changed(&out.join("launch.rs"), &codegen::launch::module(&files, compiled))?;
    compile_host(&files, &out)?;
    if watched { compile_watched(&files, &out) } else { Ok(()) }
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

/// The host library: always optimised, since it is the CPU device itself.
fn compile_host(files: &[File], out: &Path) -> Result<(), String> {
    // Of a static library the linker takes what is used: the probes end up in the unit tests only.
    let mut units = vec![PathBuf::from("kernels/host/simt.cpp"), PathBuf::from("kernels/host/simt_probes.cpp")];
    units.extend(host_units(host::HOST, files, out)?);
    let mut build = host_compiler();
    build.opt_level(3).files(units);
    build.try_compile("rocl_host").map_err(|e| format!("the kernels do not compile for the CPU: {e}"))
}

/// The kernels once more, with a call of `kernels/host/access.cpp` at every access to memory, which is all that is taken of ThreadSanitizer.
fn compile_watched(files: &[File], out: &Path) -> Result<(), String> {
    let units = host_units(host::WATCHED, files, out)?;
    let mut build = host_compiler();
    build.opt_level(1).define("ROCL_ACCESS", None).flag("-fsanitize=thread");
    build.files(units).file("kernels/host/access_probes.cpp");
    build.try_compile("rocl_watched").map_err(|e| format!("the kernels do not compile with -fsanitize=thread: {e}"))?;
    let mut hooks = host_compiler();
    hooks.opt_level(2).file("kernels/host/access.cpp");
    hooks.try_compile("rocl_access").map_err(|e| format!("kernels/host/access.cpp does not compile: {e}"))
}

/// A translation unit for every kernel file and element type.
fn host_units(library: &str, files: &[File], out: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = out.join(library);
    fs::create_dir_all(&folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
    let mut units = Vec::new();
    for (name, kernels) in files {
        for variant in VARIANTS.iter().filter(|v| kernels.iter().any(|k| k.exists_for(v))) {
            let unit = folder.join(format!("{}.cpp", variant.image(name)));
            write_if_changed(&unit, &host::unit(library, name, kernels, variant))?;
            units.push(unit);
        }
    }
    Ok(units)
}

/// For x86-64-v3 where that exists, and without anything that would let the compiler change the arithmetic written in the source.
fn host_compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").debug(false).cpp_link_stdlib(None).include("kernels").include("kernels/include");
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
    build
}
