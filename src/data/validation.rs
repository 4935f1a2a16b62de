//! Images of the training set that are kept from training, for choices that the test images must not decide.

use super::Dataset;
use super::stream::stream;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use std::fmt;
use std::str::FromStr;

/// How much of the training images is held out: `--val 0.1` or `--val 5000`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validation {
    /// A part of them, above 0 and below 1.
    Fraction(f64),
    /// So many.
    Images(usize),
}

impl Validation {
    /// The training images that stay, and those that are held out; of a data set and a length always the same, whatever a run's seed. Both
    /// keep their order.
    ///
    /// # Errors
    /// [`Error::Usage`] when either part would be empty.
    pub fn split(self, data: &Dataset) -> Result<(Dataset, Dataset)> {
        let len = data.len();
        let count = match self {
            Self::Fraction(part) => (part * len as f64).round() as usize,
            Self::Images(count) => count,
        };
        if count == 0 || count >= len {
            return Err(Error::Usage(format!(
                "--val {self} of {len} training images leaves none to {}; give another part",
                if count == 0 { "validate on" } else { "train on" }
            )));
        }
        let mut order: Vec<usize> = (0..len).collect();
        order.shuffle(&mut stream(0, b"validate", [len as u32, 0, 0, 0]));
        let (held_out, rest) = order.split_at_mut(count);
        held_out.sort_unstable();
        rest.sort_unstable();
        let named = |indices: &[usize], name: String| Dataset { name, ..data.select(indices) };
        let name = &data.name;
        Ok((
            named(rest, format!("{name}, without {count} held out")),
            named(held_out, format!("{name}, held out of {len} for training")),
        ))
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Tiny ones in scientific notation.
            Self::Fraction(part) => fmt::Debug::fmt(part, f),
            Self::Images(count) => count.fmt(f),
        }
    }
}

impl FromStr for Validation {
    type Err = Error;

    /// # Errors
    /// [`Error::Usage`] for what is neither a fraction nor a count.
    fn from_str(text: &str) -> Result<Self> {
        let count = text.parse().ok().filter(|count| *count > 0).map(Self::Images);
        let part = || text.parse().ok().filter(|part| *part > 0.0 && *part < 1.0).map(Self::Fraction);
        count.or_else(part).ok_or_else(|| {
            Error::Usage(format!(
                "`{text}` is no part of the training images; give a fraction such as 0.1, or how many, such as 5000"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::IMAGE_BYTES;

    fn numbered(len: u8) -> Dataset {
        Dataset {
            name: "numbered".into(),
            images: (0..len).flat_map(|value| [value; IMAGE_BYTES]).collect(),
            labels: (0..len).collect(),
            classes: Vec::new(),
        }
    }

    #[test]
    fn every_image_is_in_one_part() {
        let data = numbered(100);
        for (text, count) in [("0.1", 10), ("10", 10), ("0.999", 100 - 1), ("99", 99), ("1", 1)] {
            let split = text.parse::<Validation>().unwrap().split(&data);
            if text == "0.999" {
                assert!(split.unwrap_err().to_string().contains("leaves none to train on"));
                continue;
            }
            let (rest, held_out) = split.unwrap();
            assert_eq!((rest.len(), held_out.len()), (100 - count, count));
            assert!(rest.labels.is_sorted() && held_out.labels.is_sorted());
            let mut all = [&rest.labels[..], &held_out.labels].concat();
            all.sort_unstable();
            assert_eq!(all, data.labels);
            assert_eq!(held_out.image(0)[0], held_out.labels[0], "images go with their labels");
        }
    }

    #[test]
    fn the_parts_are_always_the_same_and_spread_over_the_set() {
        let split = || Validation::Fraction(0.2).split(&numbered(100)).unwrap();
        let (rest, held_out) = split();
        assert_eq!((&rest, &held_out), (&split().0, &split().1));
        assert_eq!(rest.name, "numbered, without 20 held out");
        // Twenty of a hundred in a row would be no sample.
        assert!(held_out.labels[0] < 20 && held_out.labels[19] >= 80, "{:?}", held_out.labels);
    }

    #[test]
    fn every_mistake_has_its_sentence() {
        for wrong in ["", "0", "1.0", "-0.5", "0.0", "half", "NaN", "1/10"] {
            let message = wrong.parse::<Validation>().unwrap_err().to_string();
            assert!(message.contains("give a fraction such as 0.1, or how many, such as 5000"), "{message}");
        }
        let message = Validation::Images(100).split(&numbered(100)).unwrap_err().to_string();
        assert!(message.contains("--val 100 of 100 training images leaves none to train on"), "{message}");
        let message = Validation::Fraction(0.001).split(&numbered(100)).unwrap_err().to_string();
        assert!(message.contains("leaves none to validate on"), "{message}");
    }
}
