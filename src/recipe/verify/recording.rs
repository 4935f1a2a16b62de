//! A recording of the reference implementation: named tensors and the settings they were recorded with. `docs/verify.md` has the format.

use crate::element::{Element, Real};
use crate::nn::Network;
use crate::optim::OptimizerSettings;
use crate::optim::schedule::Schedule;
use crate::recipe::Recipe;
use crate::recipe::settings::{Architecture, Number};
use crate::{Device, Error, Result, Tensor};
use safetensors::{Dtype, SafeTensors};
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
    /// [`Error::File`] when a file is missing, damaged, or no recording.
    pub fn open(path: &Path) -> Result<Self> {
        let (settings, tensors) = read(path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let companion = path.with_file_name(format!("{stem}_f64.safetensors"));
        let exact = if companion.exists() { read(&companion)?.1 } else { BTreeMap::new() };
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

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::File`] when there is none.
    pub fn get(&self, name: &str) -> Result<&Recorded> {
        self.tensors
            .get(name)
            .ok_or_else(|| self.refuse(format!("has no tensor `{name}`, so it is not a whole recording; record it again")))
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

    /// The tensor as this engine stores it: filters KRSC, images NHWC.
    pub fn native(&self, name: &str) -> Result<Vec<f64>> {
        self.get(name).map(native)
    }

    /// Uploads a batch of images.
    pub fn images<R: Real>(&self, device: &Device, name: &str) -> Result<Tensor<R>> {
        self.batch_of(device, name, self.get(name)?)
    }

    /// Uploads one batch of a stack `[steps, n, c, h, w]`.
    pub fn image_at<R: Real>(&self, device: &Device, name: &str, step: usize) -> Result<Tensor<R>> {
        self.batch_of(device, name, &self.entry(name, step)?)
    }

    fn batch_of<R: Real>(&self, device: &Device, name: &str, recorded: &Recorded) -> Result<Tensor<R>> {
        let [n, c, h, w] = recorded.shape[..] else {
            return Err(
                self.refuse(format!("has `{name}` of shape {:?}, which is no batch of images; record it again", recorded.shape))
            );
        };
        Tensor::from_slice(device, [n, h, w, c], &reals::<R>(&native(recorded)))
    }

    /// The labels.
    pub fn labels(&self, device: &Device) -> Result<Tensor<i32>> {
        let labels: Vec<i32> = self.get("in/y")?.values.iter().map(|&y| y as i32).collect();
        Tensor::from_slice(device, [labels.len()], &labels)
    }

    /// A setting of the run that was recorded.
    pub fn setting(&self, key: &str) -> Result<f64> {
        let text = self
            .settings
            .get(key)
            .ok_or_else(|| self.refuse(format!("does not state `{key}` in its metadata; record it again")))?;
        text.parse().map_err(|_| self.refuse(format!("states `{key}` as `{text}`, which is not a number; record it again")))
    }

    /// The recipe that was recorded: sizes from the tensors, hyper-parameters from the metadata.
    pub fn recipe(&self) -> Result<Recipe> {
        let size = |name: &str| -> Result<u32> { Ok(self.get(name)?.shape.first().copied().unwrap_or(0) as u32) };
        let mut recipe = Recipe::load("reference@1")?;
        recipe.name = "recorded".to_owned();
        recipe.network.architecture =
            if self.has("init/model/layer1.0.conv3.weight") { Architecture::ResNet50 } else { Architecture::ResNet18 };
        recipe.network.width = size("init/model/conv1.weight")?;
        recipe.network.projection_hidden = Some(size("init/projector/linear_1.weight")?);
        recipe.network.projection = size("init/projector/linear_2.weight")?;
        recipe.train.batch_size = size("in/x1")?;
        recipe.attack.group = 0;
        recipe.attack.random_start = false;
        recipe.attack.epsilon = Number::Decimal(self.setting("eps")?);
        recipe.attack.step_size = Number::Decimal(self.setting("alpha")?);
        recipe.attack.steps = self.setting("k")? as u32;
        recipe.loss.temperature = self.setting("temperature")?;
        recipe.loss.lambda = self.setting("lamda")?;
        recipe.optimizer = OptimizerSettings::Lars {
            learning_rate: self.setting("lr")?,
            momentum: self.setting("momentum")?,
            weight_decay: self.setting("weight_decay")?,
            trust: self.setting("lars_trust")?,
        };
        recipe.schedule = Schedule::Constant;
        recipe.check()?;
        Ok(recipe)
    }

    /// Gives `network`, which is of the recorded [`Recording::recipe`], the recorded state before the first step.
    pub fn load<T: Element>(&self, network: &Network<T>) -> Result<()> {
        for spec in network.parameters().specs() {
            let values = self.native(&format!("init/{}", spec.name))?;
            network.parameters().get(&spec.name)?.value.write(&reals::<T::Real>(&values))?;
        }
        network.parameters().refresh()?;
        for (name, tensor) in network.encoder().running_statistics() {
            tensor.write(&reals::<T::Real>(&self.native(&format!("init/model/{name}"))?))?;
        }
        Ok(())
    }

    fn refuse(&self, message: String) -> Error {
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
        let len: usize = shape.iter().product();
        let values = self.values.get(index * len..(index + 1) * len)?.to_vec();
        (index < self.entries()).then_some(Self { shape, values })
    }
}

/// Four dimensions: NCHW to NHWC, OIHW to KRSC. Others as they are.
pub fn native(recorded: &Recorded) -> Vec<f64> {
    let [n, c, h, w] = recorded.shape[..] else { return recorded.values.clone() };
    let mut out = vec![0.0; recorded.values.len()];
    for (i, &value) in recorded.values.iter().enumerate() {
        let (image, channel, pixel) = (i / (c * h * w), i / (h * w) % c, i % (h * w));
        out[(image * h * w + pixel) * c + channel] = value;
    }
    debug_assert_eq!(out.len(), n * c * h * w);
    out
}

/// Rounded to the arithmetic type.
pub fn reals<R: Real>(values: &[f64]) -> Vec<R> {
    values.iter().map(|&v| R::from_f64(v)).collect()
}

/// Widened from any element type.
pub fn widened<T: Element>(tensor: &Tensor<T>) -> Result<Vec<f64>> {
    Ok(tensor.to_vec()?.into_iter().map(|v| v.to_real().to_f64()).collect())
}

type Contents = (BTreeMap<String, String>, BTreeMap<String, Recorded>);

fn read(path: &Path) -> Result<Contents> {
    let bytes = std::fs::read(path)
        .map_err(|error| Error::file(path, format!("cannot be read ({error}); give the path of a recording")))?;
    let foreign = |error| Error::file(path, format!("is not a recording in safetensors format ({error}); record it again"));
    let file = SafeTensors::deserialize(&bytes).map_err(foreign)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(foreign)?;
    let settings = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
            Dtype::U8 => data.iter().map(|&b| f64::from(b)).collect(),
            other => {
                return Err(Error::file(path, format!("has `{name}` in type {other}; recordings hold f32, f64, i64 and u8")));
            }
        };
        tensors.insert(name, Recorded { shape: view.shape().to_vec(), values });
    }
    Ok((settings, tensors))
}
