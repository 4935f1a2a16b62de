//! Recorded references: a part committed under `tests/golden`, and larger recordings where they are at hand.

use crate::common;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::path::Path;

/// The bytes of a committed recording.
pub fn committed(name: &str) -> Vec<u8> {
    read(&common::committed(name))
}

/// The bytes of a larger recording, if it is there.
pub fn shared(name: &str) -> Option<Vec<u8>> {
    common::shared(name).map(|path| read(&path))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The elements of one recorded tensor.
pub fn values<E: bytemuck::Pod>(file: &SafeTensors, key: &str) -> Vec<E> {
    let view: TensorView = file.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
    bytemuck::pod_collect_to_vec(view.data())
}
