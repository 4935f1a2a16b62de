//! Finds and opens NVIDIA's libraries at run time, so that no part of CUDA is needed to build or to start.
//!
//! A library is looked for, in this order, in the folders named by `ROCL_CUDA_LIBS`, on the loader's path, in the usual CUDA folders and in
//! the active Python environment; where there are several, the newest that the driver serves is taken. A library that has been opened by its full path is found by other libraries under its name.

use super::cuda;
use crate::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A library of NVIDIA's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CudaLibrary {
    /// Convolutions, version 9.
    Cudnn,
    /// Matrix products, version 13 or 12.
    CublasLt,
    /// The compiler that some of cuDNN's engines use, version 13 or 12.
    Nvrtc,
    /// Ranges that profilers show.
    Nvtx,
}

impl CudaLibrary {
    /// As its documentation writes it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cudnn => "cuDNN 9",
            Self::CublasLt => "cuBLASLt",
            Self::Nvrtc => "NVRTC",
            Self::Nvtx => "NVTX",
        }
    }

    /// Its file, newest version first; but first those that a driver for this major version of CUDA serves.
    pub fn file_names(self, driver: Option<i32>) -> &'static [&'static str] {
        match (self, driver) {
            (Self::Cudnn, _) => &["libcudnn.so.9"],
            (Self::CublasLt, Some(..13)) => &["libcublasLt.so.12", "libcublasLt.so.13"],
            (Self::CublasLt, _) => &["libcublasLt.so.13", "libcublasLt.so.12"],
            (Self::Nvrtc, Some(..13)) => &["libnvrtc.so.12", "libnvrtc.so.13"],
            (Self::Nvrtc, _) => &["libnvrtc.so.13", "libnvrtc.so.12"],
            (Self::Nvtx, _) => &["libnvtx3interop.so.1", "libnvToolsExt.so.1"],
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Cudnn => "nvidia-cudnn-cu13",
            Self::CublasLt => "nvidia-cublas",
            Self::Nvrtc => "nvidia-cuda-nvrtc",
            Self::Nvtx => "nvidia-nvtx",
        }
    }
}

/// Where libraries are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Looked at first: folders of libraries, `nvidia` or `site-packages` folders, or virtual environments.
    pub named: Vec<PathBuf>,
    /// Looked at after the loader's own path, in the same way.
    pub usual: Vec<PathBuf>,
    /// The major version of CUDA that the driver supports, where there is a driver: it serves libraries of that version and of earlier ones.
    pub driver: Option<i32>,
}

impl Places {
    /// As environment variables and convention have it.
    ///
    /// # Errors
    /// [`Error::Usage`] when `ROCL_CUDA_LIBS` names a folder that does not exist.
    pub fn from_environment() -> Result<Self> {
        let named = std::env::var_os("ROCL_CUDA_LIBS").map(|list| named_folders(&list)).transpose()?.unwrap_or_default();
        let variables = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
        let mut usual: Vec<PathBuf> = variables.collect();
        usual.push("/usr/local/cuda".into());
        usual.extend(matching(Path::new("/usr/local"), "cuda-").into_iter().rev());
        usual.extend(["/usr/lib/x86_64-linux-gnu", "/usr/lib64"].map(PathBuf::from));
        usual.extend(std::env::var_os("VIRTUAL_ENV").map(PathBuf::from));
        Ok(Self { named, usual, driver: cuda::start().ok().map(|(major, _)| major) })
    }

    /// The files that `library` may be, in the order in which they are tried. Those without a folder are for the loader to find.
    pub fn candidates(&self, library: CudaLibrary) -> Vec<PathBuf> {
        let in_folders = |roots: &[PathBuf]| {
            let folders: Vec<PathBuf> = roots.iter().flat_map(|root| library_folders(root)).collect();
            let files = library
                .file_names(self.driver)
                .iter()
                .flat_map(|name| folders.iter().map(|folder| folder.join(name)).collect::<Vec<_>>());
            files.filter(|file| file.is_file()).collect::<Vec<_>>()
        };
        let by_loader = library.file_names(self.driver).iter().map(PathBuf::from);
        in_folders(&self.named).into_iter().chain(by_loader).chain(in_folders(&self.usual)).collect()
    }
}

fn named_folders(list: &OsString) -> Result<Vec<PathBuf>> {
    let folders: Vec<PathBuf> = std::env::split_paths(list).filter(|folder| !folder.as_os_str().is_empty()).collect();
    match folders.iter().find(|folder| !folder.is_dir()) {
        None => Ok(folders),
        Some(missing) => Err(Error::Usage(format!(
            "ROCL_CUDA_LIBS names {}, which is not a folder; set it to the folder that holds NVIDIA's libraries, or unset it",
            missing.display()
        ))),
    }
}

/// The folders of libraries in `root`: a plain folder of them, a CUDA installation, an `nvidia` or `site-packages` folder, or a virtual environment.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned(), root.join("lib"), root.join("lib64")];
    let mut trees = vec![root.to_owned(), root.join("nvidia")];
    trees.extend(matching(&root.join("lib"), "python").into_iter().map(|python| python.join("site-packages/nvidia")));
    folders.extend(trees.iter().flat_map(|tree| matching(tree, "")).map(|package| package.join("lib")));
    folders.retain(|folder| folder.is_dir());
    folders
}

/// What is in `folder` and begins with `prefix`, in alphabetical order.
fn matching(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// A library that is open, for as long as the process lives.
#[derive(Debug)]
pub struct OpenLibrary {
    library: libloading::Library,
    which: CudaLibrary,
    path: PathBuf,
}

impl OpenLibrary {
    /// The file, or its name alone where the loader found it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A function of the library.
    ///
    /// # Safety
    /// `F` is a function pointer of the type the library's header declares.
    pub(crate) unsafe fn function<F: Copy>(&self, name: &str) -> Result<F> {
        // SAFETY: as the caller promises.
        let symbol = unsafe { self.library.get::<F>(name) };
        symbol.map(|symbol| *symbol).map_err(|_| {
            let (title, file) = (self.which.title(), self.path.display());
            Error::Device(format!("{title} ({file}) has no function {name}; install a newer version of it"))
        })
    }
}

/// Opens `library`, or returns it if it is open.
///
/// # Errors
/// [`Error::Device`] when it is not found or cannot be loaded, [`Error::Usage`] when `ROCL_CUDA_LIBS` is wrong.
pub fn open(library: CudaLibrary) -> Result<&'static OpenLibrary> {
    static OPEN: [OnceLock<OpenLibrary>; 4] = [const { OnceLock::new() }; 4];
    let slot = &OPEN[library as usize];
    if let Some(open) = slot.get() {
        return Ok(open);
    }
    let places = Places::from_environment()?;
    if library == CudaLibrary::Cudnn {
        // cuDNN opens both by name when it needs them, and then finds these. Where they are missing it says so itself.
        for needed in [CudaLibrary::CublasLt, CudaLibrary::Nvrtc] {
            let _ = open(needed);
        }
    }
    let open = open_in(&places, library)?;
    Ok(slot.get_or_init(|| open))
}

/// Opens the first of `places`' candidates for `library` that can be loaded.
///
/// # Errors
/// [`Error::Device`] when there is none.
pub fn open_in(places: &Places, library: CudaLibrary) -> Result<OpenLibrary> {
    let mut failure = None;
    for path in places.candidates(library) {
        if let (CudaLibrary::Cudnn, Some(folder)) = (library, path.parent().filter(|folder| folder.is_absolute())) {
            open_parts(folder);
        }
        // SAFETY: the initialisers of NVIDIA's libraries have no preconditions.
        match unsafe { libloading::Library::new(&path) } {
            Ok(open) => return Ok(OpenLibrary { library: open, which: library, path }),
            // What the loader does not find is not worth a word; a file that is there and fails is.
            Err(error) if path.is_absolute() => failure = failure.or(Some(format!("{} ({error})", path.display()))),
            Err(_) => {}
        }
    }
    let (title, package) = (library.title(), library.package());
    Err(Error::Device(match failure {
        Some(failure) => {
            format!("{title} cannot be loaded from {failure}; repair it, or set ROCL_CUDA_LIBS to a folder with another")
        }
        None => format!(
            "{title} ({}) was not found on the loader's path, in the usual CUDA folders or in the active Python environment; install it, for \
             instance by `pip install {package}`, and set ROCL_CUDA_LIBS to the folder or the environment that holds it",
            library.file_names(places.driver).join(" or ")
        ),
    }))
}

/// The parts of cuDNN that convolutions take, each behind those that it needs.
const CUDNN_PARTS: [&str; 6] = ["graph", "ops", "cnn", "heuristic", "engines_precompiled", "engines_runtime_compiled"];

/// Opens the parts of the cuDNN in `folder`. It opens them by name when it needs them, and then finds these instead of parts of another version
/// that may be on the loader's path. What cannot be opened is left for cuDNN to complain about.
fn open_parts(folder: &Path) {
    for part in CUDNN_PARTS.map(|part| folder.join(format!("libcudnn_{part}.so.9"))).iter().filter(|part| part.is_file()) {
        // SAFETY: the initialisers of NVIDIA's libraries have no preconditions.
        if let Ok(open) = unsafe { libloading::Library::new(part) } {
            // Open for as long as the process lives.
            std::mem::forget(open);
        }
    }
}

/// A table of a library's functions: `name = "symbol": fn(arguments) -> result`.
macro_rules! functions {
    ($(#[$meta:meta])* struct $table:ident { $($name:ident = $symbol:literal: fn($($argument:ty),* $(,)?) -> $result:ty;)* }) => {
        $(#[$meta])*
        pub(super) struct $table {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl $table {
            fn load(library: &$crate::device::libraries::OpenLibrary) -> $crate::Result<Self> {
                // SAFETY: the types are those of the library's header.
                unsafe { Ok(Self { $($name: library.function($symbol)?,)* }) }
            }
        }
    };
}
pub(crate) use functions;

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of that name and no content below `root`.
    fn place(root: &Path, file: &str) -> PathBuf {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn libraries_are_found_in_every_layout() {
        for file in [
            "libcublasLt.so.12",
            "lib64/libcublasLt.so.13",
            "cu13/lib/libcublasLt.so.13",
            "nvidia/cublas/lib/libcublasLt.so.12",
            "lib/python3.11/site-packages/nvidia/cu13/lib/libcublasLt.so.13",
        ] {
            let root = tempfile::tempdir().unwrap();
            let path = place(root.path(), file);
            let places = Places { named: vec![root.path().to_owned()], ..Places::default() };
            let found = places.candidates(CudaLibrary::CublasLt);
            assert_eq!(found, [path, "libcublasLt.so.13".into(), "libcublasLt.so.12".into()]);
            assert_eq!(places.candidates(CudaLibrary::Cudnn), [PathBuf::from("libcudnn.so.9")]);
        }
    }

    #[test]
    fn named_folders_come_before_the_loader_and_usual_ones_after() {
        let root = tempfile::tempdir().unwrap();
        let [named, usual] = ["a/libcudnn.so.9", "b/lib/libcudnn.so.9"].map(|file| place(root.path(), file));
        let places = Places { named: vec![root.path().join("a")], usual: vec![root.path().join("b")], ..Places::default() };
        assert_eq!(places.candidates(CudaLibrary::Cudnn), [named, "libcudnn.so.9".into(), usual]);
    }

    #[test]
    fn a_newer_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let files = ["b/lib/libnvrtc.so.13", "a/lib/libnvrtc.so.12"].map(|file| place(root.path(), file));
        let places = Places { named: vec![root.path().to_owned()], ..Places::default() };
        assert_eq!(places.candidates(CudaLibrary::Nvrtc)[..2], files);
    }

    #[test]
    fn an_older_driver_gets_the_version_it_serves() {
        let root = tempfile::tempdir().unwrap();
        let [newer, older] = ["a/lib/libcublasLt.so.13", "a/lib/libcublasLt.so.12"].map(|file| place(root.path(), file));
        for (driver, first) in [(None, &newer), (Some(12), &older), (Some(13), &newer), (Some(14), &newer)] {
            let places = Places { named: vec![root.path().to_owned()], driver, ..Places::default() };
            assert_eq!(places.candidates(CudaLibrary::CublasLt)[0], *first, "{driver:?}");
        }
    }

    #[test]
    fn a_broken_library_is_named() {
        let root = tempfile::tempdir().unwrap();
        // Not one of the machine's own libraries, which the loader would find.
        let path = place(root.path(), "libnvrtc.so.12");
        let places = Places { named: vec![root.path().to_owned()], ..Places::default() };
        let Err(error) = open_in(&places, CudaLibrary::Nvrtc) else { return crate::skipped::skipped("this machine has NVRTC") };
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()) && message.contains("repair it"), "{message}");
    }

    #[test]
    fn a_wrong_variable_is_an_error() {
        let message = named_folders(&"/nonexistent/libraries".into()).unwrap_err().to_string();
        assert!(message.starts_with("ROCL_CUDA_LIBS names /nonexistent/libraries, which is not a folder"), "{message}");
    }
}
