//! Recordings with something changed.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A recording in memory.
pub struct Altered {
    settings: HashMap<String, String>,
    tensors: BTreeMap<String, Tensor>,
}

impl Altered {
    /// What the file has.
    pub fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor =
            |view: &TensorView| Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
        Self {
            settings: header.metadata().clone().unwrap(),
            tensors: file.iter().map(|(name, view)| (name.to_owned(), tensor(&view))).collect(),
        }
    }

    /// With a setting in the metadata, which may be there already.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Without metadata.
    pub fn without_settings(mut self) -> Self {
        self.settings.clear();
        self
    }

    /// With a tensor, which may be there already.
    pub fn with(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.insert(name.to_owned(), Tensor { dtype: Dtype::F32, shape: shape.to_vec(), bytes });
        self
    }

    /// With a tensor of zeros.
    pub fn zeros(self, name: &str, shape: &[usize]) -> Self {
        self.with(name, shape, &vec![0.0; shape.iter().product()])
    }

    /// With a tensor's numbers in another shape.
    pub fn reshaped(mut self, name: &str, shape: &[usize]) -> Self {
        self.tensors.get_mut(name).unwrap().shape = shape.to_vec();
        self
    }

    /// With `change` applied to each number of a tensor of f32, given its index.
    pub fn changed(self, name: &str, change: impl Fn(usize, f32) -> f32) -> Self {
        let tensor = &self.tensors[name];
        let (elements, _) = tensor.bytes.as_chunks();
        let values: Vec<f32> = elements.iter().enumerate().map(|(i, bytes)| change(i, f32::from_le_bytes(*bytes))).collect();
        let shape = tensor.shape.clone();
        self.with(name, &shape, &values)
    }

    /// With those tensors only that `keep` says.
    pub fn only(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.tensors.retain(|name, _| keep(name));
        self
    }

    /// Writes it.
    pub fn save(&self, path: &Path) -> PathBuf {
        let views = self.tensors.iter().map(|(name, Tensor { dtype, shape, bytes })| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize_to_file(views, Some(self.settings.clone()), path).unwrap();
        path.to_owned()
    }
}
