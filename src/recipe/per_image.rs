//! Which images were right, kept in a file, so that two models can be compared on the same ones.

use super::evaluate::Right;
use super::settings::NamedAttack;
use crate::data::Dataset;
use crate::report::statistics::mcnemar;
use crate::run::{atomic, file};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file, in the folder that --out names.
pub const PER_IMAGE: &str = "per_image.json";
const SCHEMA: u32 = 1;

/// Which of the same images a model got right, as they are and under attacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerImage {
    /// Version of the format.
    pub schema: u32,
    /// The model.
    pub checkpoint: PathBuf,
    /// Name of the data set.
    pub data: String,
    /// Tells the images and their labels from others: FNV-1a of 64 bits, in hexadecimal.
    pub images: String,
    /// Random views of each image that were classified, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smooth: Option<u32>,
    /// By attack, `clean` and `worst_case` among them, a digit for each image: 1 where it was right.
    pub right: Vec<(String, String)>,
}

/// Two models on the same images under the same attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The attack, `clean` or `worst_case`.
    pub attack: String,
    /// Images that only this model gets right.
    pub only_here: usize,
    /// Images that only the other one gets right.
    pub only_there: usize,
    /// McNemar's exact test, two-sided: how often equally good models would differ at least as much.
    pub p: f64,
}

fn digest(data: &Dataset) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = data.images.iter().chain(&data.labels).fold(0xcbf2_9ce4_8422_2325, step);
    format!("{hash:016x}")
}

fn digits(right: &[bool]) -> String {
    right.iter().map(|right| if *right { '1' } else { '0' }).collect()
}

impl PerImage {
    /// What a model made of `data`.
    pub fn new(checkpoint: &Path, data: &Dataset, attacks: &[NamedAttack], right: &Right) -> Self {
        let attacked = attacks.iter().zip(&right.attacked).map(|(attack, right)| (attack.to_string(), digits(right)));
        let clean = std::iter::once(("clean".to_owned(), digits(&right.clean)));
        let worst = std::iter::once(("worst_case".to_owned(), digits(&right.always())));
        Self {
            schema: SCHEMA,
            checkpoint: checkpoint.to_owned(),
            data: data.name.clone(),
            images: digest(data),
            smooth: None,
            right: clean.chain(attacked).chain(worst).collect(),
        }
    }

    /// The results under exactly these attacks; none where they were others.
    pub fn results(&self, attacks: &[NamedAttack]) -> Option<Right> {
        let [(clean, right), attacked @ .., (worst, _)] = &self.right[..] else { return None };
        let same = attacked.iter().map(|(name, _)| name).eq(&attacks.iter().map(ToString::to_string).collect::<Vec<_>>());
        let bits = |digits: &String| digits.bytes().map(|digit| digit == b'1').collect();
        let ours = clean == "clean" && worst == "worst_case" && same;
        ours.then(|| Right { clean: bits(right), attacked: attacked.iter().map(|(_, digits)| bits(digits)).collect() })
    }

    /// Writes it into `folder`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(PER_IMAGE);
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::file(&path, format!("cannot be encoded ({error}); please report it")))?;
        atomic::write(&path, |file| file.write_all(&text))
    }

    /// Reads what [`PerImage::save`] wrote.
    ///
    /// # Errors
    /// [`Error::File`] when there is no such file or another program wrote it.
    pub fn load(path: &Path) -> Result<Self> {
        let refuse = |what: String| Error::file(path, format!("{what}; give a {PER_IMAGE} that `rocl evaluate --out` wrote"));
        let text = file::read(path).map_err(|error| refuse(format!("cannot be read ({error})")))?;
        let loaded: Self = serde_json::from_slice(&text).map_err(|error| refuse(format!("is no list of results ({error})")))?;
        if loaded.schema < SCHEMA {
            return Err(refuse(format!("has schema {}, which there is not", loaded.schema)));
        }
        if loaded.schema > SCHEMA {
            let newer = format!("has schema {}, newer than this version of rocl reads ({SCHEMA}); update rocl", loaded.schema);
            return Err(Error::file(path, newer));
        }
        Ok(loaded)
    }

    /// Makes sure, before anything is measured, that these are results on `data`.
    ///
    /// # Errors
    /// [`Error::Usage`] when they are on other images.
    pub fn is_on(&self, data: &Dataset) -> Result<()> {
        self.expect(&digest(data))
    }

    /// And that they are of a classifier of as many views.
    ///
    /// # Errors
    /// [`Error::Usage`] when they are on other images, or of other views.
    pub fn is_like(&self, data: &Dataset, smooth: Option<u32>) -> Result<()> {
        self.is_on(data)?;
        if self.smooth == smooth {
            return Ok(());
        }
        let flags = self.smooth.map_or_else(|| "without --smooth".to_owned(), |views| format!("with --smooth {views}"));
        Err(Error::Usage(format!("{} was measured {flags}; measure both models alike", self.checkpoint.display())))
    }

    fn expect(&self, images: &str) -> Result<()> {
        if self.images == images {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} was measured on other images ({}); measure both models with the same --data, --limit and --val",
            self.checkpoint.display(),
            self.data
        )))
    }

    /// This model beside another, under each attack that both withstood or not; the worst case only where both had the same attacks.
    ///
    /// # Errors
    /// [`Error::Usage`] when they saw different images.
    pub fn against(&self, other: &Self) -> Result<Vec<Comparison>> {
        other.expect(&self.images)?;
        let names = |results: &Self| results.right.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let same_attacks = names(self) == names(other);
        let both = self.right.iter().filter(|(name, _)| same_attacks || name != "worst_case").filter_map(|(name, here)| {
            let (_, there) = other.right.iter().find(|(known, _)| known == name)?;
            let only = |a: &str, b: &str| a.bytes().zip(b.bytes()).filter(|pair| *pair == (b'1', b'0')).count();
            let (only_here, only_there) = (only(here, there), only(there, here));
            Some(Comparison { attack: name.clone(), only_here, only_there, p: mcnemar(only_here, only_there) })
        });
        Ok(both.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(clean: &str, attacked: &str, images: &str) -> PerImage {
        let right = [("clean", clean), ("pgd:linf:8/255:20", attacked), ("worst_case", attacked)];
        PerImage {
            schema: SCHEMA,
            checkpoint: "model".into(),
            data: "numbered".to_owned(),
            images: images.to_owned(),
            smooth: None,
            right: right.map(|(name, digits)| (name.to_owned(), digits.to_owned())).into(),
        }
    }

    #[test]
    fn models_are_compared_image_by_image() {
        let (here, mut there) = (results("1111100", "1000000", "a"), results("1100111", "0111110", "a"));
        let found = here.against(&there).unwrap();
        let counts: Vec<_> = found.iter().map(|c| (c.attack.as_str(), c.only_here, c.only_there)).collect();
        assert_eq!(counts, [("clean", 2, 2), ("pgd:linf:8/255:20", 1, 5), ("worst_case", 1, 5)]);
        assert_eq!(found[0].p, 1.0);
        // 2 (1 + 6) / 2⁶.
        assert!((found[1].p - 14.0 / 64.0).abs() < 1e-12);
        // Other attacks: only what both have.
        there.right[1].0 = "fgsm:linf:8/255".to_owned();
        assert_eq!(here.against(&there).unwrap().len(), 1);
        let message = here.against(&results("1", "1", "b")).unwrap_err().to_string();
        assert!(message.contains("model was measured on other images (numbered)"), "{message}");
    }

    #[test]
    fn files_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let kept = results("10", "00", "a");
        kept.save(folder.path()).unwrap();
        let path = folder.path().join(PER_IMAGE);
        assert_eq!(PerImage::load(&path).unwrap(), kept);
        std::fs::write(&path, "{}").unwrap();
        assert!(PerImage::load(&path).unwrap_err().to_string().contains("is no list of results"));
        assert!(PerImage::load(&folder.path().join("none")).unwrap_err().to_string().contains("cannot be read"));
        PerImage { schema: 0, ..kept.clone() }.save(folder.path()).unwrap();
        assert!(
            PerImage::load(&path).unwrap_err().to_string().contains("has schema 0, which there is not; give a per_image.json")
        );
        PerImage { schema: 9, ..kept }.save(folder.path()).unwrap();
        assert!(PerImage::load(&path).unwrap_err().to_string().contains("has schema 9, newer than this version of rocl reads"));
    }

    #[test]
    fn images_and_labels_are_told_from_others() {
        let data = Dataset { name: String::new(), images: vec![0; 3072], labels: vec![1], classes: vec![] };
        let mut other = data.clone();
        other.labels[0] = 2;
        assert_ne!(digest(&data), digest(&other));
        other.labels[0] = 1;
        assert_eq!(digest(&data), digest(&other));
        other.images[3071] = 1;
        assert_ne!(digest(&data), digest(&other));
    }
}
