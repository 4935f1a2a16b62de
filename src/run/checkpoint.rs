//! Checkpoints: safetensors files with the state of a run and what is needed to continue or judge it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;

use super::{atomic, file};
use crate::element::Element;
use crate::{Error, Result};

/// The newest checkpoint format that this version reads, and the one that it writes.
pub const SCHEMA: u32 = 1;

/// What a checkpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Encoder, projector and optimiser of a pretraining run.
    Pretrain,
    /// A linear classifier.
    LinearHead,
    /// Encoder, linear classifier and optimiser of a run that trains with labels; for some methods, a projector.
    Classifier,
}

impl Kind {
    /// The name in the file.
    fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::LinearHead => "linear_head",
            Self::Classifier => "classifier",
        }
    }

    /// What it is and which command wrote it, for messages.
    fn description(self) -> &'static str {
        match self {
            Self::Pretrain => "an encoder from `rocl pretrain`",
            Self::LinearHead => "a head from `rocl linear-eval`",
            Self::Classifier => "a classifier from `rocl train` or `rocl finetune`",
        }
    }

    /// How to get one.
    fn remedy(self) -> &'static str {
        match self {
            Self::Pretrain => "train one with `rocl pretrain`",
            Self::LinearHead => "fit one with `rocl linear-eval`",
            Self::Classifier => "train one with `rocl train`",
        }
    }
}

/// What a checkpoint says about itself; stored as strings in the file's `__metadata__`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What the file holds.
    pub kind: Kind,
    /// The recipe of the run, as JSON. A program that converts a model from elsewhere may state what its images are normalised by in metadata of
    /// its own, `normalization`, as `{"mean": [r, g, b], "std": [r, g, b]}`; reading the file puts it here, as `network.normalization`.
    pub recipe: String,
    /// Epochs completed.
    pub epoch: u32,
    /// Optimiser steps completed.
    pub step: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Name of the data set.
    pub data: String,
    /// What activations were stored in, as `--precision` says it; files from before there was a choice are of `fp32`.
    pub precision: String,
    /// Which engines of cuDNN's computed the run's convolutions, as JSON; absent where none did.
    pub engines: Option<String>,
    /// Version of the engine that wrote the file.
    pub engine: String,
}

impl Meta {
    /// The metadata of a checkpoint of this engine, at the start of a run in fp32.
    pub fn new(kind: Kind, recipe: String, seed: u64, data: impl Into<String>) -> Self {
        Self {
            kind,
            recipe,
            epoch: 0,
            step: 0,
            seed,
            data: data.into(),
            precision: f32::PRECISION.to_owned(),
            engines: None,
            engine: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn to_strings(&self) -> BTreeMap<&'static str, String> {
        let engines = self.engines.clone().map(|engines| ("engines", engines));
        let strings = [
            ("format", "rocl".to_owned()),
            ("schema", SCHEMA.to_string()),
            ("kind", self.kind.name().to_owned()),
            ("recipe", self.recipe.clone()),
            ("epoch", self.epoch.to_string()),
            ("step", self.step.to_string()),
            ("seed", self.seed.to_string()),
            ("data", self.data.clone()),
            ("precision", self.precision.clone()),
            ("engine", self.engine.clone()),
        ];
        strings.into_iter().chain(engines).collect()
    }
}

/// `recipe` with `network.normalization`, all in JSON.
fn normalized(recipe: &str, normalization: &str) -> Option<String> {
    let mut recipe: Value = serde_json::from_str(recipe).ok()?;
    let normalization: Value = serde_json::from_str(normalization).ok().filter(Value::is_object)?;
    let network = recipe.as_object_mut()?.entry("network").or_insert_with(|| Value::Object(serde_json::Map::new()));
    network.as_object_mut()?.insert("normalization".to_owned(), normalization);
    Some(recipe.to_string())
}

/// A tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The reference implementation's name of the tensor, such as `model/conv1.weight`.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Extents, slowest first; filters are OIHW.
    pub shape: Vec<usize>,
    /// Elements, little-endian.
    pub bytes: Vec<u8>,
}

/// Named tensors with their [`Meta`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// What the checkpoint says about itself.
    pub meta: Meta,
    /// The tensors, by name.
    entries: BTreeMap<String, Entry>,
    /// Where it was read from, for messages.
    path: PathBuf,
}

impl Checkpoint {
    /// A checkpoint without tensors.
    pub fn new(meta: Meta) -> Self {
        Self { meta, entries: BTreeMap::new(), path: PathBuf::from("checkpoint") }
    }

    /// Adds or replaces a tensor of f32.
    ///
    /// # Errors
    /// [`Error::Shape`] when `shape` does not hold as many elements as `values`.
    pub fn put_f32(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<()> {
        self.put(name, Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Adds or replaces a tensor of i64.
    ///
    /// # Errors
    /// As [`Checkpoint::put_f32`].
    pub fn put_i64(&mut self, name: &str, shape: &[usize], values: &[i64]) -> Result<()> {
        self.put(name, Dtype::I64, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn put(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Result<()> {
        if shape.iter().product::<usize>() * dtype.bitsize() != bytes.len() * 8 {
            let message = format!("{name} of shape {shape:?} was given {} bytes of {dtype}", bytes.len());
            return Err(Error::shape("checkpoint", message));
        }
        self.entries.insert(name.to_owned(), Entry { name: name.to_owned(), dtype, shape: shape.to_vec(), bytes });
        Ok(())
    }

    /// The tensors, in the order of their names.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.entries().map(|entry| entry.bytes.len()).sum()
    }

    /// The tensor of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The file that it was read from, or written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells one encoder from another: FNV-1a (Fowler, Noll & Vo) over the tensors behind `model/`.
    pub fn digest(&self) -> i64 {
        let bytes = self.entries().filter(|entry| entry.name.starts_with("model/")).flat_map(|entry| &entry.bytes);
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        bytes.fold(0xcbf2_9ce4_8422_2325, step) as i64
    }

    /// The elements of a tensor of f32 that must have `shape`.
    ///
    /// # Errors
    /// [`Error::File`] when the tensor is absent or different, which means that the checkpoint is of another network.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (elements, _) = self.expect(name, Dtype::F32, shape)?.bytes.as_chunks();
        Ok(elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Those of [`Checkpoint::f32`] for computing with: all of them finite.
    ///
    /// # Errors
    /// [`Error::File`] also when one is infinite or no number.
    pub fn finite(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.f32(name, shape)?;
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(values),
            Some(value) => {
                let message = format!("has {value} in {name}; the training that made it diverged, so use an earlier checkpoint");
                Err(Error::file(&self.path, message))
            }
        }
    }

    /// The elements of a tensor of i64 that must have `shape`.
    ///
    /// # Errors
    /// As [`Checkpoint::f32`].
    pub fn i64(&self, name: &str, shape: &[usize]) -> Result<Vec<i64>> {
        let (elements, _) = self.expect(name, Dtype::I64, shape)?.bytes.as_chunks();
        Ok(elements.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
    }

    fn expect(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&Entry> {
        let refuse = |what: String| {
            let network = self.network();
            Error::file(
                &self.path,
                format!("{what}; the checkpoint is of another network ({network}), so use its own recipe or width"),
            )
        };
        let entry = self.get(name).ok_or_else(|| refuse(format!("has no tensor {name}")))?;
        if entry.shape != shape {
            return Err(refuse(format!("{name} has shape {:?} where {shape:?} is needed", entry.shape)));
        }
        if entry.dtype != dtype {
            return Err(refuse(format!("{name} is of type {} where {dtype} is needed", entry.dtype)));
        }
        Ok(entry)
    }

    /// The network that the recipe describes, such as `resnet18, width 16`.
    fn network(&self) -> String {
        let recipe: Value = serde_json::from_str(&self.meta.recipe).unwrap_or_default();
        match (recipe["network"]["architecture"].as_str(), recipe["network"]["width"].as_u64()) {
            (Some(architecture), Some(width)) => format!("{architecture}, width {width}"),
            _ => "its recipe does not say which".to_owned(),
        }
    }

    /// Writes the checkpoint; see [`atomic::write`] for what a crash leaves. Equal checkpoints give equal bytes.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be written; a previous checkpoint there is then untouched.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut ordered: Vec<&Entry> = self.entries.values().collect();
        // The format wants the types of larger alignment first; the sort keeps names in order.
        ordered.sort_by_key(|entry| std::cmp::Reverse(entry.dtype));
        let refuse = |error| Error::file(path, format!("cannot be encoded ({error}); please report it"));
        let header = self.header(&ordered).map_err(refuse)?;
        atomic::write(path, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            ordered.iter().try_for_each(|entry| file.write_all(&entry.bytes))
        })
    }

    /// The JSON header, padded to 8 bytes. The library's own writer orders `__metadata__` at random and copies every tensor.
    fn header(&self, ordered: &[&Entry]) -> serde_json::Result<Vec<u8>> {
        let mut header = BTreeMap::from([("__metadata__", serde_json::to_value(self.meta.to_strings())?)]);
        let mut start = 0;
        for entry in ordered {
            let end = start + entry.bytes.len();
            let info = TensorInfo { dtype: entry.dtype, shape: entry.shape.clone(), data_offsets: (start, end) };
            header.insert(&entry.name, serde_json::to_value(info)?);
            start = end;
        }
        let mut bytes = serde_json::to_vec(&header)?;
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        Ok(bytes)
    }

    /// Reads a checkpoint that must hold `kind`.
    ///
    /// # Errors
    /// [`Error::File`] when the file is missing, empty, truncated, of another format, of a newer schema or of another kind.
    pub fn load(path: &Path, kind: Kind) -> Result<Self> {
        Self::load_one_of(path, &[kind])
    }

    /// Reads a checkpoint that has an encoder, pretrained or trained with labels.
    ///
    /// # Errors
    /// Those of [`Checkpoint::load`].
    pub fn load_encoder(path: &Path) -> Result<Self> {
        Self::load_one_of(path, &[Kind::Pretrain, Kind::Classifier])
    }

    /// Reads a checkpoint that has a linear classifier, alone or with its encoder.
    ///
    /// # Errors
    /// Those of [`Checkpoint::load`].
    pub fn load_head(path: &Path) -> Result<Self> {
        Self::load_one_of(path, &[Kind::LinearHead, Kind::Classifier])
    }

    fn load_one_of(path: &Path, kinds: &[Kind]) -> Result<Self> {
        let bytes = file::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let remedy = kinds[0].remedy();
                Error::file(path, format!("there is no such checkpoint; check the path, or {remedy}"))
            }
            _ => Error::file(path, format!("cannot be read ({error}); give the path of a .safetensors checkpoint")),
        })?;
        let checkpoint = Self::decode(&bytes, path).map_err(|message| Error::file(path, message))?;
        let found = checkpoint.meta.kind;
        if !kinds.contains(&found) {
            let wanted = kinds[0].description();
            return Err(Error::file(path, format!("is {}; give {wanted} here", found.description())));
        }
        Ok(checkpoint)
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("is empty; it was never written completely, so use an earlier checkpoint".to_owned());
        }
        let foreign = |why: &str| format!("is not a checkpoint of rocl ({why}); give a file that `rocl` wrote");
        let library = |error| match error {
            SafeTensorError::HeaderTooSmall
            | SafeTensorError::InvalidHeaderLength
            | SafeTensorError::MetadataIncompleteBuffer => "is truncated; copy it again or use an earlier checkpoint".to_owned(),
            error => foreign(&error.to_string()),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(library)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(library)?;
        let strings = header.metadata().as_ref().filter(|strings| strings.get("format").is_some_and(|format| format == "rocl"));
        let strings = strings.ok_or_else(|| foreign("it is a safetensors file of another program"))?;
        let text = |key: &str| strings.get(key).ok_or_else(|| foreign(&format!("its metadata lacks {key}")));
        let number = |key: &str| text(key)?.parse::<u64>().map_err(|_| foreign(&format!("its {key} is no number")));
        let schema = number("schema")?;
        if schema > u64::from(SCHEMA) {
            return Err(format!("has schema {schema}, newer than this version of rocl reads ({SCHEMA}); update rocl"));
        }
        let kind = match text("kind")?.as_str() {
            "pretrain" => Kind::Pretrain,
            "linear_head" => Kind::LinearHead,
            "classifier" => Kind::Classifier,
            other => return Err(foreign(&format!("its kind is {other}"))),
        };
        let meta = Meta {
            kind,
            recipe: match strings.get("normalization") {
                Some(normalization) => normalized(text("recipe")?, normalization)
                    .ok_or_else(|| foreign("its recipe or its normalization is no JSON object"))?,
                None => text("recipe")?.clone(),
            },
            epoch: number("epoch")?.try_into().map_err(|_| foreign("its epoch is out of range"))?,
            step: number("step")?,
            seed: number("seed")?,
            data: text("data")?.clone(),
            precision: strings.get("precision").map_or(f32::PRECISION, String::as_str).to_owned(),
            engines: strings.get("engines").cloned(),
            engine: text("engine")?.clone(),
        };
        let entries = tensors.iter().map(|(name, view)| {
            let entry =
                Entry { name: name.to_owned(), dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            (name.to_owned(), entry)
        });
        Ok(Self { meta, entries: entries.collect(), path: path.to_owned() })
    }
}
