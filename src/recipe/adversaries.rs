//! Adversarial images that are kept: made against one model, tried on others.

use super::evaluate::Crafted;
use super::settings::NamedAttack;
use crate::attack::{ClassifierBuffers, ClassifierObjective};
use crate::data::{Dataset, IMAGE_BYTES};
use crate::element::{Element, Real};
use crate::nn::{Classifier, Inference};
use crate::run::{atomic, file};
use crate::{Device, Error, Result, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

const FORMAT: &str = "rocl-adversaries";
const LABELS: &str = "labels";
/// Numbers of an image.
const NUMBERS: usize = IMAGE_BYTES;

/// Adversaries of the images of a data set, one set for each attack.
///
/// In a file, safetensors, `labels` is `[n]` of bytes, and each set is a tensor `[n, 32, 32, 3]` of f32 in [0, 1] under the name of its
/// attack, such as `pgd:linf:8/255:20`.
#[derive(Clone, Debug, PartialEq)]
pub struct Adversaries {
    /// Name of the data set.
    pub data: String,
    /// The classes of the images.
    pub labels: Vec<u8>,
    /// By attack, image after image.
    pub sets: Vec<(String, Vec<f32>)>,
}

impl Adversaries {
    /// Room for those of `data`, none of which is made.
    pub fn of(data: &Dataset, attacks: &[NamedAttack]) -> Self {
        let set = |attack: &NamedAttack| (attack.to_string(), Vec::with_capacity(data.len() * NUMBERS));
        Self { data: data.name.clone(), labels: data.labels.clone(), sets: attacks.iter().map(set).collect() }
    }

    /// Keeps a batch; batches come in the order of the data set.
    pub fn keep<R: Real>(&mut self, crafted: &Crafted<R>) -> Result<()> {
        let valid = crafted.images.rows(0..crafted.batch.valid)?.to_vec()?;
        self.sets[crafted.attack].1.extend(valid.into_iter().map(|x| x.to_f64() as f32));
        Ok(())
    }

    /// Writes them to a file.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let refuse = |error| Error::file(path, format!("cannot be encoded ({error}); please report it"));
        let mut tensors =
            vec![(LABELS.to_owned(), TensorView::new(Dtype::U8, vec![self.labels.len()], &self.labels).map_err(refuse)?)];
        for (name, values) in &self.sets {
            let shape = vec![self.labels.len(), 32, 32, 3];
            let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values)).map_err(refuse)?;
            tensors.push((name.clone(), view));
        }
        let metadata = [("format", FORMAT), ("schema", "1"), ("data", &self.data)];
        let metadata: HashMap<_, _> = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(refuse)?;
        atomic::write(path, |file| file.write_all(&bytes))
    }

    /// Reads what [`Adversaries::save`] wrote.
    ///
    /// # Errors
    /// [`Error::File`] when there is no such file, or it holds something else.
    pub fn load(path: &Path) -> Result<Self> {
        let refuse =
            |what: String| Error::file(path, format!("{what}; give a file that `rocl evaluate --save-adversaries` wrote"));
        let bytes = file::read(path).map_err(|error| refuse(format!("cannot be read ({error})")))?;
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| refuse(format!("is no safetensors file ({error})")))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        if metadata.get("format").is_none_or(|format| format != FORMAT) {
            return Err(refuse("holds no adversaries".to_owned()));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| refuse(format!("is damaged ({error})")))?;
        let labels = tensors.tensor(LABELS).map_err(|_| refuse("has no labels".to_owned()))?;
        if labels.dtype() != Dtype::U8 || labels.shape().len() != 1 {
            return Err(refuse("has labels that are no list of bytes".to_owned()));
        }
        let labels = labels.data().to_vec();
        let shape = [labels.len(), 32, 32, 3];
        let mut sets = Vec::new();
        for (name, view) in tensors.iter().filter(|(name, _)| *name != LABELS) {
            let values: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            // A NaN is in no range.
            if view.dtype() != Dtype::F32 || view.shape() != shape || !values.iter().all(|x| (0.0..=1.0).contains(x)) {
                return Err(refuse(format!("{name} are no images {shape:?} of numbers in [0, 1]")));
            }
            sets.push((name.to_owned(), values));
        }
        if labels.is_empty() || sets.is_empty() {
            return Err(refuse("holds no image".to_owned()));
        }
        sets.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { data: metadata.get("data").cloned().unwrap_or_default(), labels, sets })
    }

    /// Leaves out the images behind the first `limit`.
    pub fn keep_first(&mut self, limit: usize) {
        self.labels.truncate(limit);
        self.sets.iter_mut().for_each(|(_, values)| values.truncate(self.labels.len() * NUMBERS));
    }

    /// Memory that the images take.
    pub fn bytes(&self) -> usize {
        self.sets.iter().map(|(_, values)| size_of_val(&values[..])).sum()
    }

    /// Which of each set a classifier gets right; `progress` is told how many images are done.
    pub fn right<T: Element>(
        &self,
        device: &Device,
        encoder: &Inference<T>,
        head: &Classifier<T>,
        batch_size: usize,
        mut progress: impl FnMut(usize) -> Result<()>,
    ) -> Result<Vec<Vec<bool>>> {
        let n = self.labels.len();
        let batch = batch_size.min(n);
        let buffers = ClassifierBuffers::new(device, batch, head)?;
        let (images, labels) = (Tensor::<T::Real>::zeros(device, [batch, 32, 32, 3])?, Tensor::<i32>::zeros(device, [batch])?);
        let mut right = Vec::new();
        for (_, values) in &self.sets {
            let mut of_set = Vec::with_capacity(n);
            for start in (0..n).step_by(batch) {
                let valid = batch.min(n - start);
                // The last batch is filled with its last image.
                let rows = |place: usize| start + place.min(valid - 1);
                let pixel = |i: usize| T::Real::from_f64(values[rows(i / NUMBERS) * NUMBERS + i % NUMBERS].into());
                images.write(&(0..batch * NUMBERS).map(pixel).collect::<Vec<_>>())?;
                labels.write(&(0..batch).map(|place| self.labels[rows(place)].into()).collect::<Vec<_>>())?;
                of_set.extend(ClassifierObjective::new(encoder, head, &buffers, &labels, valid).correct(&images)?);
                progress(valid)?;
            }
            right.push(of_set);
        }
        Ok(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adversaries.safetensors");
        let images = |value: f32| vec![value; 2 * NUMBERS];
        let sets = vec![("fgsm:l2:0.5".to_owned(), images(0.25)), ("pgd:linf:8/255:20".to_owned(), images(1.0))];
        let kept = Adversaries { data: "numbered".to_owned(), labels: vec![3, 1], sets };
        kept.save(&path).unwrap();
        assert_eq!(Adversaries::load(&path).unwrap(), kept);

        let refused = |expected: &str| {
            let message = Adversaries::load(&path).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("give a file that"), "{message}");
        };
        let mut outside = kept.clone();
        outside.sets[0].1[7] = f32::NAN;
        outside.save(&path).unwrap();
        refused("fgsm:l2:0.5 are no images [2, 32, 32, 3] of numbers in [0, 1]");
        Adversaries { sets: vec![], ..kept }.save(&path).unwrap();
        refused("holds no image");
        std::fs::write(&path, "text").unwrap();
        refused("is no safetensors file");
        let other = [("labels", TensorView::new(Dtype::U8, vec![1], &[0]).unwrap())];
        safetensors::serialize_to_file(other, None, &path).unwrap();
        refused("holds no adversaries");
        std::fs::remove_file(&path).unwrap();
        refused("cannot be read");
    }
}
