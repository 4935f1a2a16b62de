//! Compiles the kernels of `kernels/`, and of the folders that `ROCL_KERNELS` names, and generates their typed launch functions.
//!
//! The signatures in the `.cu` files are the only registry: from them come the host's translation units (compiled here with the
//! C++ compiler, one per file and element type), with the feature `cuda` those for the GPU (compiled with nvcc into one fatbin each), and
//! `launch.rs` and `own.rs`, which `src/device/launch.rs` and `src/own.rs` include.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "kernels/codegen/mod.rs"]
mod codegen;
use codegen::launch::Compiled;
use codegen::nvcc::{Job, Nvcc};
use codegen::signature::VARIANTS;
use codegen::source::{self, Source};
use codegen::unit::Stamp;
use codegen::{host, toolkit, unit};

fn main() {
    if let Err(message) = build() {
        message.lines().for_each(|line| println!("cargo::error={line}"));
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR; build with it")?);
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-env-changed=ROCL_STRICT");
    println!("cargo::rerun-if-env-changed={}", source::VARIABLE);

    let mut sources = source::engine(Path::new("kernels"))?;
    if env::var_os("CARGO_FEATURE_LADDER").is_some() {
        sources.extend(source::engine(Path::new("kernels/ladder"))?);
    }
    let folders = source::folders(&env::var_os(source::VARIABLE).unwrap_or_default())?;
    folders.iter().for_each(|folder| println!("cargo::rerun-if-changed={}", folder.display()));
    let own = source::own(&folders, &sources)?;
    let engines = sources.len();
    sources.extend(own);

    let on_gpu = env::var_os("CARGO_FEATURE_CUDA").is_some() && compile_cuda(&sources, &out)?;
    let watched = env::var_os("CARGO_FEATURE_ACCESS").is_some();
    let compiled = Compiled { cuda: on_gpu, watched };
    let (engine, own) = sources.split_at(engines);
    for (name, sources) in [("launch.rs", engine), ("own.rs", own)] {
        unit::write(&out.join(name), &codegen::launch::module(sources, compiled))?;
    }
    compile_host(&sources, &out)?;
    if watched { compile_watched(&sources, &out) } else { Ok(()) }
}

/// The GPU's code; whether there is any. Where documentation is built, there need not be a compiler.
fn compile_cuda(sources: &[Source], out: &Path) -> Result<bool, String> {
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
    for source in sources {
        for variant in codegen::cuda::variants().filter(|v| source.exists_for(v)) {
            let name = source.image(variant);
            let path = folder.join(format!("{name}.cu"));
            unit::write(&path, &codegen::cuda::unit(source, variant))?;
            jobs.push(Job { file: source.path.clone(), unit: path, image: folder.join(format!("{name}.fatbin")) });
        }
    }
    nvcc.compile(&jobs)?;
    Ok(true)
}

/// The host library: always optimised, since it is the CPU device itself.
fn compile_host(sources: &[Source], out: &Path) -> Result<(), String> {
    // Of a static library the linker takes what is used: the probes end up in the unit tests only.
    let mut units = vec![PathBuf::from("kernels/host/simt.cpp"), PathBuf::from("kernels/host/simt_probes.cpp")];
    units.extend(host_units(host::HOST, sources, out)?);
    let mut build = host_compiler();
    build.opt_level(3);
    library("rocl_host", &[(build, units)], out).map_err(|e| format!("the kernels do not compile for the CPU: {e}"))
}

/// The kernels once more, with a call of `kernels/host/access.cpp` at every access to memory, which is all that is taken of ThreadSanitizer.
fn compile_watched(sources: &[Source], out: &Path) -> Result<(), String> {
    let mut units = host_units(host::WATCHED, sources, out)?;
    units.push(PathBuf::from("kernels/host/access_probes.cpp"));
    let mut build = host_compiler();
    build.opt_level(1).define("ROCL_ACCESS", None).flag("-fsanitize=thread");
    let mut hooks = host_compiler();
    hooks.opt_level(2);
    let parts = [(build, units), (hooks, vec![PathBuf::from("kernels/host/access.cpp")])];
    library("rocl_watched", &parts, out).map_err(|e| format!("the kernels do not compile with -fsanitize=thread: {e}"))
}

/// A static library of units, each with its compiler, of which those are compiled that have changed.
fn library(name: &str, parts: &[(cc::Build, Vec<PathBuf>)], out: &Path) -> Result<(), String> {
    let folder = out.join(format!("{name}.objects"));
    fs::create_dir_all(&folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
    let mut objects = Vec::new();
    for (build, units) in parts {
        let compiler = build.try_get_compiler().map_err(|e| e.to_string())?;
        let version = compiler.to_command().arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        let command = format!("{:?}", compiler.to_command());
        let mut stale = Vec::new();
        for unit in units {
            let object = folder.join(unit.file_name().unwrap_or_default()).with_extension("o");
            let stamp = Stamp::new(&object, &(&command, &version, unit::with_includes(unit)?));
            if !stamp.is_current() {
                stale.push((unit, object.clone(), stamp));
            }
            objects.push(object);
        }
        if stale.is_empty() {
            continue;
        }
        let made =
            build.clone().files(stale.iter().map(|(unit, ..)| unit)).try_compile_intermediates().map_err(|e| e.to_string())?;
        for ((_, object, stamp), made) in stale.iter().zip(made) {
            fs::rename(&made, object).map_err(|e| format!("cannot move {}: {e}", made.display()))?;
            stamp.renew()?;
        }
    }
    let mut archive = host_compiler();
    archive.objects(objects).try_compile(name).map_err(|e| e.to_string())
}

/// A translation unit for every kernel file and element type.
fn host_units(library: &str, sources: &[Source], out: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = out.join(library);
    fs::create_dir_all(&folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
    let mut units = Vec::new();
    for source in sources {
        for variant in VARIANTS.iter().filter(|v| source.exists_for(v)) {
            let path = folder.join(format!("{}.cpp", source.image(variant)));
            unit::write(&path, &host::unit(library, source, variant))?;
            units.push(path);
        }
    }
    Ok(units)
}

/// For x86-64-v3 where that exists, and without anything that would let the compiler change the arithmetic written in the source.
fn host_compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").debug(false).cpp_link_stdlib(None).include(".").include("kernels").include("kernels/include");
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
