//! Which of cuDNN's engines compute a run's convolutions: the same again when it is resumed, and the fastest known where they are measured.

use crate::device::cudnn::{EngineSet, Record};
use crate::element::Element;
use crate::run::atomic;
use crate::run::checkpoint::Meta;
use crate::{Device, Error, Result};
use std::path::{Path, PathBuf};

/// What a checkpoint says of `device`'s engines, in JSON; nothing where no library convolves.
///
/// # Errors
/// [`Error::Device`] when they cannot be written down.
pub fn record(device: &Device) -> Result<Option<String>> {
    device.engines().map(|record| to_json(&record)).transpose()
}

fn to_json(record: &Record) -> Result<String> {
    serde_json::to_string(record).map_err(|error| {
        Error::Device(format!("the choice of convolution engines cannot be written ({error}); please report it"))
    })
}

/// Has convolutions computed on `device` as they were in the run that a checkpoint is of. Where that cannot be, returns a sentence that says why: the
/// run then goes on as it would have, but for rounding.
pub fn replay(device: &Device, meta: &Meta) -> Option<String> {
    let differs = |why: &str| Some(format!("{why}, so it goes on as it would have, but for rounding"));
    match (&meta.engines, device.engines()) {
        (None, None) => None,
        (None, Some(_)) => differs("the run was not computed by cuDNN before"),
        (Some(_), None) => differs("the run was computed by cuDNN before"),
        (Some(text), Some(_)) => {
            let replayed = serde_json::from_str(text)
                .map_err(|error| Error::Device(format!("the choice of convolution engines cannot be read ({error})")))
                .and_then(|record| device.replay_engines(&record));
            replayed.err().and_then(|error| differs(&error.to_string()))
        }
    }
}

/// Engines that are measured, and kept in a file from one run to the next.
pub struct Tuning {
    file: Option<PathBuf>,
}

impl Tuning {
    /// Has these `engines` measured on `device`, but for convolutions whose fastest a file in the user's cache knows. Call it before the device is used.
    ///
    /// # Errors
    /// Those of [`Device::tune_engines`].
    pub fn start<T: Element>(device: &Device, engines: EngineSet) -> Result<Self> {
        Self::start_in::<T>(device, engines, cache().as_deref())
    }

    /// As [`start`](Self::start), with the file in this folder.
    ///
    /// # Errors
    /// Those of [`Device::tune_engines`].
    pub fn start_in<T: Element>(device: &Device, engines: EngineSet, folder: Option<&Path>) -> Result<Self> {
        device.tune_engines::<T>(engines)?;
        let file = folder.zip(device.engines_file(engines)).map(|(folder, name)| folder.join(name));
        let known = file.as_ref().and_then(|file| std::fs::read(file).ok()).and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(record) = known {
            // A file that does not fit is one that is replaced.
            let _ = device.replay_engines(&record);
        }
        Ok(Self { file })
    }

    /// Keeps what was found. Where that cannot be, returns a sentence that says why.
    pub fn keep(&self, device: &Device) -> Option<String> {
        let (Some(file), Some(record)) = (&self.file, device.tuned_engines()) else {
            return Some(
                "the fastest engines are measured anew the next time, since neither XDG_CACHE_HOME nor HOME is set".to_owned(),
            );
        };
        let kept = to_json(&record).and_then(|text| atomic::write(file, |file| file.write_all(text.as_bytes())));
        kept.err().map(|error| format!("the fastest engines are measured anew the next time, since {error}"))
    }
}

/// The program's folder in the user's cache, as the XDG base directories have it.
fn cache() -> Option<PathBuf> {
    let folder = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache"))).map(|cache| cache.join("rocl"))
}
