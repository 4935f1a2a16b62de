//! Where a CUDA toolkit may be. Used by the build, and by the tests that look into what was built.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The variables that say where to look, for cargo to watch.
pub const VARIABLES: [&str; 4] = ["CUDA_HOME", "CUDA_PATH", "PATH", "VIRTUAL_ENV"];

/// Every file of this name in the toolkits there are: those named by `CUDA_HOME` and `CUDA_PATH`, those on `PATH`, those of pip in the
/// active virtual environment, and the usual folder. Symbolic links are resolved: nvcc finds its parts beside its own path.
pub fn programs(name: &str) -> impl Iterator<Item = PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(|root| Path::new(&root).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = named.chain(env::split_paths(&path)).collect();
    if let Some(environment) = env::var_os("VIRTUAL_ENV") {
        let pythons = subfolders(&Path::new(&environment).join("lib"));
        let packages = pythons.iter().flat_map(|python| subfolders(&python.join("site-packages/nvidia")));
        folders.extend(packages.map(|package| package.join("bin")));
    }
    folders.push(PathBuf::from("/usr/local/cuda/bin"));
    let name = name.to_owned();
    folders.into_iter().map(move |folder| folder.join(&name)).filter(|p| p.is_file()).filter_map(|p| fs::canonicalize(p).ok())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.filter_map(|e| Some(e.ok()?.path())).collect()).unwrap_or_default()
}
