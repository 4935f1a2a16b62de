//! Recorded references: a part committed under `tests/golden`, and larger recordings where they are at hand.

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::path::{Path, PathBuf};

/// The bytes of a committed recording.
pub fn committed(name: &str) -> Vec<u8> {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name))
}

/// The bytes of a larger recording, in `golden/` of the folder `ROCL_SHARED` names, or of `../shared`; says so where there is none.
pub fn shared(name: &str) -> Option<Vec<u8>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("ROCL_SHARED").map_or_else(beside, PathBuf::from).join("golden").join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(read(&path))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The elements of one recorded tensor.
pub fn values<E: bytemuck::Pod>(file: &SafeTensors, key: &str) -> Vec<E> {
    let view: TensorView = file.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
    bytemuck::pod_collect_to_vec(view.data())
}
