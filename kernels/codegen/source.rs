//! The kernel files of a build: the engine's, below `kernels/`, and those in the folders that `ROCL_KERNELS` names.

use super::signature::{self, Kernel, Variant};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The variable that names folders with kernels from elsewhere, separated as in `PATH`.
pub const VARIABLE: &str = "ROCL_KERNELS";

/// A kernel file, and what it declares.
pub struct Source {
    /// For people and for `#include`: `kernels/pgd.cu`, or the whole path of a file from elsewhere.
    pub path: String,
    /// What is made of the file is named after this: `pgd`; no two files of a build share it.
    pub name: String,
    /// In the order of the file.
    pub kernels: Vec<Kernel>,
}

impl Source {
    fn read(path: &Path, name: String) -> Result<Self, String> {
        let shown = text(path)?;
        let source = fs::read_to_string(path).map_err(|e| format!("{shown} cannot be read ({e}); make it readable text"))?;
        let kernels = signature::parse(&shown, &source)?;
        Ok(Self { path: shown, name, kernels })
    }

    /// What is made of the file for a variant, as a name without an ending.
    pub fn image(&self, variant: &Variant) -> String {
        format!("{}_{}", self.name, variant.suffix)
    }

    /// Whether some kernel of the file exists for the variant.
    pub fn exists_for(&self, variant: &Variant) -> bool {
        self.kernels.iter().any(|kernel| kernel.exists_for(variant))
    }
}

/// The kernel files of a folder of the engine's, `kernels` or below.
///
/// # Errors
/// A sentence about the first file that cannot be used.
pub fn engine(folder: &Path) -> Result<Vec<Source>, String> {
    let name = |path: &Path| text(path.strip_prefix("kernels").unwrap_or(path)).map(|name| name.replace('/', "_"));
    kernel_files(folder)?.iter().map(|path| Source::read(path, name(&path.with_extension(""))?)).collect()
}

/// The folders that `list` names, each once, as whole paths.
///
/// # Errors
/// A sentence about the first that is not there.
pub fn folders(list: &OsStr) -> Result<Vec<PathBuf>, String> {
    let mut folders = Vec::new();
    for named in env::split_paths(list).filter(|path| !path.as_os_str().is_empty()) {
        let found = fs::canonicalize(&named).ok().filter(|path| path.is_dir());
        let folder = found.ok_or_else(|| {
            let here = env::current_dir().unwrap_or_default();
            format!(
                "{VARIABLE} names `{}`, but there is no such folder, seen from {}; name it by its whole path, or in .cargo/config.toml under \
                 [env] as {VARIABLE} = {{ value = \"kernels\", relative = true }}",
                named.display(),
                here.display()
            )
        })?;
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    Ok(folders)
}

/// The kernel files of these folders, whose kernels must not be called like the engine's or like each other.
///
/// # Errors
/// A sentence about the first file that cannot be used.
pub fn own(folders: &[PathBuf], engine: &[Source]) -> Result<Vec<Source>, String> {
    let mut own: Vec<Source> = Vec::new();
    for (number, folder) in folders.iter().enumerate() {
        let files = kernel_files(folder)?;
        if files.is_empty() {
            return Err(format!(
                "{VARIABLE} names {}, which holds no .cu file; put a kernel there, or leave it out",
                folder.display()
            ));
        }
        for path in files {
            let source = Source::read(&path, format!("own{number}_{}", identifier(&path)?))?;
            refuse_clashes(&source, engine.iter().chain(&own))?;
            own.push(source);
        }
    }
    Ok(own)
}

fn refuse_clashes<'a>(source: &Source, others: impl Iterator<Item = &'a Source>) -> Result<(), String> {
    for other in others {
        let taken = source.kernels.iter().find(|kernel| other.kernels.iter().any(|taken| taken.name == kernel.name));
        if let Some(kernel) = taken {
            return Err(format!("{}: {} has a kernel `{}` too; give it another name", source.path, other.path, kernel.name));
        }
    }
    Ok(())
}

/// A file's name without its ending, which becomes a part of names in C++ and Rust.
fn identifier(path: &Path) -> Result<&str, String> {
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    if signature::is_identifier(stem) {
        return Ok(stem);
    }
    Err(format!("{}: the name of a kernel file has small letters, digits and underscores only; rename it", path.display()))
}

/// A path in the form in which C++ includes it.
fn text(path: &Path) -> Result<String, String> {
    let shown = path.to_str().filter(|shown| !shown.contains(['"', '\\', '\n']));
    shown.map(str::to_owned).ok_or_else(|| format!("{}: C++ cannot include a file at this path; move it", path.display()))
}

/// In the order of their names.
fn kernel_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{} cannot be listed ({e}); make it readable", folder.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == "cu")).collect();
    paths.sort();
    Ok(paths)
}
