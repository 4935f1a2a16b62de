//! Which versions of NVIDIA's libraries there are, for people.

use super::libraries::{self, CudaLibrary};
use crate::Result;
use std::ffi::c_int;
use std::path::PathBuf;

/// Opens a library; its file and its version, as `9.19.0`.
///
/// # Errors
/// Those of [`libraries::open`].
pub fn find(library: CudaLibrary) -> Result<(PathBuf, String)> {
    let open = libraries::open(library)?;
    // SAFETY: the types are those of the libraries' headers, and the functions have no preconditions.
    let version = unsafe {
        match library {
            CudaLibrary::Cudnn => of_number(open.function::<extern "C" fn() -> usize>("cudnnGetVersion")?()),
            CudaLibrary::CublasLt => of_number(open.function::<extern "C" fn() -> usize>("cublasLtGetVersion")?()),
            CudaLibrary::Nvrtc => {
                let (mut major, mut minor) = (0, 0);
                open.function::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>("nvrtcVersion")?(&mut major, &mut minor);
                format!("{major}.{minor}")
            }
            // Says none.
            CudaLibrary::Nvtx => "3".to_owned(),
        }
    };
    Ok((open.path().to_owned(), version))
}

/// 91900 is 9.19.0.
fn of_number(number: usize) -> String {
    format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_read_as_they_are_written() {
        assert_eq!([91_900, 91_002, 130_100].map(super::of_number), ["9.19.0", "9.10.2", "13.1.0"]);
    }
}
