//! The files of a recording.

use super::recording::Recorded;
use crate::run::file;
use crate::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Metadata and tensors of a file, by name.
pub(super) type Contents = (BTreeMap<String, String>, BTreeMap<String, Recorded>);

/// The program that recorded may differ from one file to the other; what was recorded may not.
const MAY_DIFFER: [&str; 1] = ["torch"];

pub(super) fn read(path: &Path) -> Result<Contents> {
    let bytes =
        file::read(path).map_err(|error| Error::file(path, format!("cannot be read ({error}); give the path of a recording")))?;
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

/// The tensors of `NAME_f64.safetensors` beside `path`; none where there is no such file.
///
/// # Errors
/// [`Error::File`] when it is of another recording than `contents` (another setting, or another shape), or not finite.
pub(super) fn read_companion(path: &Path, (settings, tensors): &Contents) -> Result<BTreeMap<String, Recorded>> {
    let companion = companion_of(path);
    if !companion.exists() {
        return Ok(BTreeMap::new());
    }
    let (its_settings, its_tensors) = read(&companion)?;
    let refuse = |what: String| {
        let message = format!("{what}, so it is no companion of {}; record both together, or move it away", path.display());
        Err(Error::file(&companion, message))
    };
    for (key, ours) in settings.iter().filter(|(key, _)| !MAY_DIFFER.contains(&key.as_str())) {
        match its_settings.get(key) {
            Some(theirs) if theirs == ours => {}
            Some(theirs) => return refuse(format!("states `{key}` as `{theirs}` where the recording has `{ours}`")),
            None => return refuse(format!("does not state `{key}` in its metadata")),
        }
    }
    for (name, theirs) in &its_tensors {
        if theirs.values.iter().any(|value| !value.is_finite()) {
            return refuse(format!("has values that are not finite in `{name}`"));
        }
        if let Some(ours) = tensors.get(name).filter(|ours| !theirs.begins(ours, name)) {
            return refuse(format!("has `{name}` of shape {:?} where the recording has {:?}", theirs.shape, ours.shape));
        }
    }
    Ok(its_tensors)
}

fn companion_of(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}_f64.safetensors"))
}

impl Recorded {
    /// Whether this is of the shape of `whole`, or of an attack's first steps.
    fn begins(&self, whole: &Self, name: &str) -> bool {
        let stack = ["/loss", "/grad", "/x_traj"].iter().any(|what| name.ends_with(what));
        let shorter = stack && self.shape.len() == whole.shape.len() && self.entries() < whole.entries();
        self.shape == whole.shape || (shorter && self.shape.get(1..) == whole.shape.get(1..))
    }
}
