//! Linear heads of a trained encoder: fitted, kept in files, and known again.

use super::linear_eval::{Fit, fit_head};
use super::rehearsal::one_epoch;
use super::robust_linear_eval::fit_robust_head;
use super::saved;
use super::settings::{LinearEval, Recipe};
use super::trained::Encoder;
use super::training::data_name;
use crate::data::Dataset;
use crate::element::Element;
use crate::nn::Classifier;
use crate::run::checkpoint::{Checkpoint, Kind, Meta};
use crate::{Device, Error, Result};
use serde::Serialize;
use std::path::Path;

/// Where a head's file keeps the [digest](Checkpoint::digest) of its encoder.
const ENCODER: &str = "run/encoder";

/// Where it says whether it is robust.
const ROBUST: &str = "run/robust";

/// Where it says which images it was fitted on.
const IMAGES: &str = "run/images";

/// What a head is fitted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// Images as they are (LE, SLF).
    Plain,
    /// Images attacked through encoder and head (r-LE, ALF).
    Robust,
}

impl HeadKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Robust];

    /// `plain` or `robust`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Robust => "robust",
        }
    }

    /// How often a fit goes through the images, for progress: a plain one computes the features before its epochs.
    pub fn passes(self, settings: &LinearEval) -> u64 {
        u64::from(settings.epochs) + u64::from(self == Self::Plain)
    }
}

/// The digest of the encoder that a head was fitted on, or trained with; none of a head that was imported.
///
/// # Errors
/// [`Error::File`] when what the file says of it is no digest.
pub fn encoder_of(head: &Checkpoint) -> Result<Option<i64>> {
    match head.meta.kind {
        Kind::Classifier => Ok(Some(head.digest())),
        _ => head.get(ENCODER).map(|_| head.i64(ENCODER, &[1]).map(|digest| digest[0])).transpose(),
    }
}

/// What a head was fitted on, if it was fitted by this program.
pub fn kind_of(head: &Checkpoint) -> Option<HeadKind> {
    head.get(ROBUST)?;
    match head.i64(ROBUST, &[1]).ok()?[..] {
        [0] => Some(HeadKind::Plain),
        [1] => Some(HeadKind::Robust),
        _ => None,
    }
}

/// What a fit is at, for progress: [`HeadJob::run`] tells the loss of the last epoch, if one is over.
pub fn stage(loss: Option<f64>) -> String {
    loss.map_or_else(String::new, |loss| format!("loss {loss:.4}"))
}

/// A head to be fitted.
#[derive(Clone, Copy)]
pub struct HeadJob<'a> {
    /// Where to compute.
    pub device: &'a Device,
    /// `[linear_eval]` and, for a robust head, the attack of `[supervised]`; features are computed in batches of `evaluate.batch_size` images.
    pub recipe: &'a Recipe,
    /// The encoder. A classifier that was trained with it is not looked at.
    pub encoder: &'a Checkpoint,
    /// The images.
    pub data: &'a Dataset,
    /// What of them it is fitted on.
    pub kind: HeadKind,
    /// Of the initial parameters, the order of images and the attack's noise.
    pub seed: u64,
}

impl HeadJob<'_> {
    /// Fits the head and says what is to be kept of it. `progress` is told images that are done, and the loss where there is one yet.
    ///
    /// # Errors
    /// [`Error::File`] when the encoder is of another network than the recipe's; [`Error::Numeric`] when the loss is no longer finite; those of `progress`.
    pub fn run<T: Element>(&self, progress: impl FnMut(usize, Option<f64>) -> Result<()>) -> Result<(Checkpoint, Fit)> {
        let load = match self.kind {
            HeadKind::Plain => Encoder::<T>::load_for_features,
            HeadKind::Robust => Encoder::load,
        };
        let recipe = self.recipe_of_steps();
        let (head, fit) = self.fit(self.device, &recipe, &load(self.device, &recipe, self.encoder)?, progress)?;
        let mut kept = Checkpoint::new(self.meta::<T>()?);
        kept.put_i64(ENCODER, &[1], &[self.encoder.digest()])?;
        kept.put_i64(ROBUST, &[1], &[(self.kind == HeadKind::Robust).into()])?;
        kept.put_i64(IMAGES, &[1], &[self.images()])?;
        saved::save_head(&mut kept, &head)?;
        Ok((kept, fit))
    }

    /// The same in name only, on a device that counts what is allocated.
    pub(super) fn rehearse<T: Element>(&self, dry: &Device) -> Result<()> {
        let untrained = match self.kind {
            HeadKind::Plain => Encoder::<T>::untrained_for_features,
            HeadKind::Robust => Encoder::untrained,
        };
        let recipe = self.recipe_of_steps();
        let recipe = Recipe { linear_eval: one_epoch(&recipe.linear_eval), ..recipe };
        self.fit(dry, &recipe, &untrained(dry, &recipe)?, |_, _| Ok(())).map(drop)
    }

    /// The recipe with the encoder's batch as this needs it: steps of a robust fit go through the encoder.
    fn recipe_of_steps(&self) -> Recipe {
        let mut recipe = self.recipe.clone();
        if self.kind == HeadKind::Robust {
            recipe.evaluate.batch_size = recipe.linear_eval.batch_size;
        }
        recipe
    }

    fn fit<T: Element>(
        &self,
        device: &Device,
        recipe: &Recipe,
        encoder: &Encoder<T>,
        mut progress: impl FnMut(usize, Option<f64>) -> Result<()>,
    ) -> Result<(Classifier<T>, Fit)> {
        let (data, linear) = (self.data, &recipe.linear_eval);
        let head = encoder.new_head(data.classes.len(), linear.batch_size as usize, self.seed)?;
        let fit = match self.kind {
            HeadKind::Plain => {
                let features = encoder.features(data, |images| progress(images, None))?;
                fit_head(device, linear, &features, &data.labels, &head, self.seed, progress)?
            }
            HeadKind::Robust => fit_robust_head(device, recipe, encoder, data, &head, self.seed, progress)?,
        };
        Ok((head, fit))
    }

    /// The beginning of the images' checksum: data sets of one name and size may differ.
    fn images(&self) -> i64 {
        let sum = self.data.sha256();
        sum.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default().cast_signed()
    }

    fn meta<T: Element>(&self) -> Result<Meta> {
        Ok(Meta {
            precision: self.device.precision::<T>().to_owned(),
            ..Meta::new(Kind::LinearHead, self.recipe.to_json()?, self.seed, data_name(self.data))
        })
    }

    /// Makes sure that the head in a file is the one that this would fit.
    ///
    /// # Errors
    /// [`Error::Usage`] with what is different.
    pub fn check_is<T: Element>(&self, path: &Path, head: &Checkpoint) -> Result<()> {
        let (found, expected) = (&head.meta, self.meta::<T>()?);
        let number = |name: &str| head.get(name).and_then(|_| head.i64(name, &[1]).ok()).map(|number| number[0]);
        let mut differences = Vec::new();
        if !encoder_of(head).is_ok_and(|digest| digest == Some(self.encoder.digest())) {
            differences.push("it is of another encoder".to_owned());
        }
        if kind_of(head) != Some(self.kind) {
            differences.push(format!("it is not known to be {}", self.kind.name()));
        }
        if number(IMAGES) != Some(self.images()) {
            differences.push("it was fitted on other images".to_owned());
        }
        let texts = [
            ("data", &found.data, &expected.data),
            ("precision", &found.precision, &expected.precision),
            ("seed", &found.seed.to_string(), &expected.seed.to_string()),
        ];
        let different = texts.into_iter().filter(|(_, found, expected)| found != expected);
        differences.extend(different.map(|(what, found, expected)| format!("its {what} is {found}, not {expected}")));
        let kept = Recipe::from_json(&found.recipe)?;
        let supervised = if self.kind == HeadKind::Robust { kept.supervised } else { self.recipe.supervised.clone() };
        let kept = Recipe { linear_eval: kept.linear_eval, supervised, ..self.recipe.clone() };
        differences.extend(kept.differences(self.recipe).into_iter().map(|difference| format!("its {difference}")));
        if differences.is_empty() {
            return Ok(());
        }
        let (path, list) = (path.display(), differences.join("; "));
        Err(Error::Usage(format!("{path} is there already and another head ({list}); choose another --out, or delete it")))
    }
}
