//! Where a CUDA toolkit may be. Used by the build, and by the tests that look into what was built.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The variables that say where to look, in this order.
pub const VARIABLES: [&str; 4] = ["CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "PATH"];

/// Every program of this name in the toolkits there are: those that `CUDA_HOME` and `CUDA_PATH` name, what pip put into the active virtual
/// environment, `PATH`, and the usual folder. Symbolic links are resolved, since nvcc finds its parts beside its own path.
pub fn programs(name: &str) -> impl Iterator<Item = PathBuf> {
    let mut folders: Vec<PathBuf> =
        VARIABLES[..2].iter().filter_map(env::var_os).map(|root| Path::new(&root).join("bin")).collect();
    if let Some(environment) = env::var_os("VIRTUAL_ENV") {
        let pythons = subfolders(&Path::new(&environment).join("lib"));
        let packages = pythons.iter().flat_map(|python| subfolders(&python.join("site-packages/nvidia")));
        folders.extend(packages.map(|package| package.join("bin")));
    }
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders.push(PathBuf::from("/usr/local/cuda/bin"));
    let name = name.to_owned();
    folders.into_iter().map(move |folder| folder.join(&name)).filter(|p| p.is_file()).filter_map(|p| fs::canonicalize(p).ok())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.filter_map(|e| Some(e.ok()?.path())).collect()).unwrap_or_default()
}
