//! A recording of the reference implementation: named tensors and the settings they were recorded with. `docs/verify.md` has the
//! format.

use super::read::{read, read_companion};
use crate::element::{Element, Real};
use crate::nn::Network;
use crate::{Device, Error, Result, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tensor of the recording, widened to f64.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Extents, slowest first; images and filters as PyTorch has them, NCHW and OIHW.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Vec<f64>,
}

/// A recording, with its companion in f64 where there is one.
pub struct Recording {
    path: PathBuf,
    settings: BTreeMap<String, String>,
    tensors: BTreeMap<String, Recorded>,
    exact: BTreeMap<String, Recorded>,
}

impl Recording {
    /// Reads `NAME.safetensors`, and `NAME_f64.safetensors` if it lies beside it.
    ///
    /// # Errors
    /// [`Error::File`] when a file is missing, damaged, or no recording, or the second one is not of the same recording.
    pub fn open(path: &Path) -> Result<Self> {
        let contents = read(path)?;
        let exact = read_companion(path, &contents)?;
        let (settings, tensors) = contents;
        let recording = Self { path: path.to_owned(), settings, tensors, exact };
        recording.get("init/model/conv1.weight")?;
        Ok(recording)
    }

    /// Whether a companion in f64 was found.
    pub fn has_exact(&self) -> bool {
        !self.exact.is_empty()
    }

    /// Whether the recording has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether the recording has a tensor whose name begins like this.
    pub fn has_any(&self, prefix: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(prefix))
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::File`] when there is none.
    pub fn get(&self, name: &str) -> Result<&Recorded> {
        self.tensors
            .get(name)
            .ok_or_else(|| self.refuse(format!("has no tensor `{name}`, so it is not a whole recording; record it again")))
    }

    /// The tensor of that name, which must have these extents: images NCHW, filters OIHW.
    ///
    /// # Errors
    /// [`Error::File`] when there is none, or it has another shape.
    pub fn expect(&self, name: &str, dims: &[usize]) -> Result<&Recorded> {
        let recorded = self.get(name)?;
        if recorded.shape != dims {
            return Err(
                self.refuse(format!("has `{name}` of shape {:?} where {dims:?} is needed; record it again", recorded.shape))
            );
        }
        Ok(recorded)
    }

    /// One entry of a stack.
    ///
    /// # Errors
    /// [`Error::File`] when the stack is not as high.
    pub fn entry(&self, name: &str, index: usize) -> Result<Recorded> {
        let stack = self.get(name)?;
        let refusal = || {
            self.refuse(format!("has {} entries in `{name}` where {} are needed; record it again", stack.entries(), index + 1))
        };
        stack.entry(index).ok_or_else(refusal)
    }

    /// What `name` was recorded as: in f32, and in f64 where that was recorded too.
    pub fn truths(&self, name: &str) -> Result<Vec<&Recorded>> {
        Ok(std::iter::once(self.get(name)?).chain(self.exact.get(name)).collect())
    }

    /// By how much `after` was recorded to differ from `before`: in f32, and in f64 where that was recorded too. In this engine's
    /// layout.
    pub fn changes(&self, before: &str, after: &str) -> Result<Vec<Vec<f64>>> {
        let recorded = self.get(before)?;
        let change = |after: &Recorded, before: &Recorded| -> Vec<f64> {
            native(after).iter().zip(native(before)).map(|(after, before)| after - before).collect()
        };
        let exact = self.exact.get(after).map(|after| change(after, self.exact.get(before).unwrap_or(recorded)));
        let after = self.expect(after, &recorded.shape)?;
        Ok(std::iter::once(change(after, recorded)).chain(exact).collect())
    }

    /// A batch of `batch` images 32×32, in this engine's layout.
    ///
    /// # Errors
    /// As [`Recording::expect`].
    pub fn batch(&self, name: &str, batch: usize) -> Result<Vec<f64>> {
        self.expect(name, &[batch, 3, 32, 32]).map(native)
    }

    /// Uploads a batch of `batch` images 32×32.
    ///
    /// # Errors
    /// As [`Recording::expect`].
    pub fn images<R: Real>(&self, device: &Device, name: &str, batch: usize) -> Result<Tensor<R>> {
        upload(device, batch, &self.batch(name, batch)?)
    }

    /// Uploads one batch of a stack `[steps, batch, 3, 32, 32]`.
    ///
    /// # Errors
    /// [`Error::File`] when the stack is not as high.
    pub fn image_at<R: Real>(&self, device: &Device, name: &str, step: usize, batch: usize) -> Result<Tensor<R>> {
        upload(device, batch, &native(&self.entry(name, step)?))
    }

    /// The labels of `batch` images.
    ///
    /// # Errors
    /// [`Error::File`] when there are not as many, or one is no class of `classes`.
    pub fn labels(&self, device: &Device, batch: usize, classes: usize) -> Result<Tensor<i32>> {
        let recorded = &self.expect("in/y", &[batch])?.values;
        if let Some(label) = recorded.iter().find(|&&y| !(y.fract() == 0.0 && (0.0..classes as f64).contains(&y))) {
            return Err(self.refuse(format!(
                "has a label {label:?} in `in/y`, but the head has classes 0 to {}; record it again",
                classes - 1
            )));
        }
        let labels: Vec<i32> = recorded.iter().map(|&y| y as i32).collect();
        Tensor::from_slice(device, [batch], &labels)
    }

    /// Whether the metadata has that setting.
    pub fn states(&self, key: &str) -> bool {
        self.settings.contains_key(key)
    }

    /// A setting of the run that was recorded, as it was written.
    ///
    /// # Errors
    /// [`Error::File`] when the metadata lacks it.
    pub fn setting(&self, key: &str) -> Result<&str> {
        let text = self.settings.get(key).map(String::as_str);
        text.ok_or_else(|| self.refuse(format!("does not state `{key}` in its metadata; record it again")))
    }

    /// Gives `network`, which is of the recorded [`Recording::recipe`], the recorded state before the first step.
    ///
    /// # Errors
    /// [`Error::File`] when a tensor is missing or of another shape.
    pub fn load<T: Element>(&self, network: &Network<T>) -> Result<()> {
        for spec in network.parameters().specs() {
            let values = native(self.expect(&format!("init/{}", spec.name), &oihw(&spec.dims))?);
            network.parameters().get(&spec.name)?.value.write(&reals::<T::Real>(&values))?;
        }
        network.parameters().refresh()?;
        for (name, tensor) in network.encoder().running_statistics() {
            let values = &self.expect(&format!("init/model/{name}"), tensor.dims())?.values;
            tensor.write(&reals::<T::Real>(values))?;
        }
        Ok(())
    }

    /// A refusal of this file.
    pub(super) fn refuse(&self, message: String) -> Error {
        Error::file(&self.path, message)
    }
}

impl Recorded {
    /// How many entries a stack has; a scalar has none.
    pub fn entries(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// One entry of a stack.
    pub fn entry(&self, index: usize) -> Option<Self> {
        let shape = self.shape.get(1..)?.to_vec();
        // Not the product of the extents, which can be larger than a file without elements.
        let len = self.values.len().checked_div(self.entries())?;
        let values = self.values.get(index.checked_mul(len)?..)?.get(..len)?.to_vec();
        (index < self.entries()).then_some(Self { shape, values })
    }
}

/// Four dimensions: NCHW to NHWC, OIHW to KRSC. Others as they are.
pub fn native(recorded: &Recorded) -> Vec<f64> {
    let [_, c, h, w] = recorded.shape[..] else { return recorded.values.clone() };
    let mut out = vec![0.0; recorded.values.len()];
    for (i, &value) in recorded.values.iter().enumerate() {
        let (image, channel, pixel) = (i / (c * h * w), i / (h * w) % c, i % (h * w));
        out[(image * h * w + pixel) * c + channel] = value;
    }
    out
}

/// The extents that PyTorch has for filters KRSC; others as they are.
pub fn oihw(dims: &[usize]) -> Vec<usize> {
    match *dims {
        [k, r, s, c] => vec![k, c, r, s],
        _ => dims.to_vec(),
    }
}

/// Rounded to the arithmetic type.
pub fn reals<R: Real>(values: &[f64]) -> Vec<R> {
    values.iter().map(|&v| R::from_f64(v)).collect()
}

/// Widened from any element type.
pub fn widened<T: Element>(tensor: &Tensor<T>) -> Result<Vec<f64>> {
    Ok(tensor.to_vec()?.into_iter().map(|v| v.to_real().to_f64()).collect())
}

/// A batch of images `[batch, 32, 32, 3]`.
pub fn upload<R: Real>(device: &Device, batch: usize, images: &[f64]) -> Result<Tensor<R>> {
    Tensor::from_slice(device, [batch, 32, 32, 3], &reals::<R>(images))
}
