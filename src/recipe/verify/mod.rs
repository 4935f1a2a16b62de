//! Replays a recording of the authors' implementation and says, quantity by quantity, how far this engine is from it.

mod absent;
mod adversary;
mod attacks;
mod classifier;
mod forward;
mod instance;
mod read;
mod recorded_recipe;
mod recording;
mod row;
mod step;

pub use absent::absent;
pub use recording::{Recorded, Recording};
pub use row::{Class, Coverage, Measure, Row, Tolerances, median, relative_l2};
pub use step::{Stage, StepBy};

use crate::data::Dataset;
use crate::element::Element;
use crate::nn::{Architecture, Classifier};
use crate::recipe::Recipe;
use crate::recipe::attacked::Attacked;
use crate::recipe::pretrain::{Ingredients, Pretraining};
use crate::{Device, Result, Tensor};
use recording::{native, oihw, reals, widened};

/// Builds a run from its recipe: the engine's own, or (to see that a mistake is found) one with an ingredient changed.
pub type BuildIngredients<'a, R> = &'a dyn Fn(&Device, &Recipe, &Tensor<i64>) -> Result<Ingredients<R>>;

/// What is verified: the parts that a recording exercises.
pub struct Subject<'a, T: Element> {
    /// Losses and attack.
    pub ingredients: BuildIngredients<'a, T::Real>,
    /// Carries out a training step, reporting its stages.
    pub step: StepBy<'a, T>,
    /// Changes the recorded recipe before anything is built from it.
    pub adjust: &'a dyn Fn(&mut Recipe),
}

impl<T: Element> Default for Subject<'_, T> {
    /// The engine as it is.
    fn default() -> Self {
        Self { ingredients: &Ingredients::new, step: &step::by_the_engine, adjust: &|_| {} }
    }
}

/// Compares everything the recording holds, a row or more for each quantity. What a recording leaves out has no row, which
/// [`absent`] lists, or a smaller [`Coverage`].
///
/// # Errors
/// [`Error::File`](crate::Error::File) when the recording is not whole, or there is nothing in it to compare with.
pub fn verify<T: Element>(
    device: &Device,
    recording: &Recording,
    subject: &Subject<T>,
    tolerances: &Tolerances,
) -> Result<Vec<Row>> {
    let session = Session::new(device, recording, subject, *tolerances)?;
    let mut rows = forward::rows(&session)?;
    rows.extend(instance::rows(&session)?);
    rows.extend(classifier::rows(&session)?);
    rows.extend(step::rows(&session, subject.step)?);
    if rows.is_empty() {
        let message = "has a network and images, but nothing that was computed of them; record it again".to_owned();
        return Err(recording.refuse(message));
    }
    Ok(rows)
}

/// The recorded model, built and loaded.
struct Session<'a, T: Element> {
    device: &'a Device,
    recording: &'a Recording,
    tolerances: Tolerances,
    recipe: Recipe,
    run: Pretraining<T>,
    model: Attacked<T>,
    head: Classifier<T>,
    losses: Ingredients<T::Real>,
}

impl<'a, T: Element> Session<'a, T> {
    fn new(device: &'a Device, recording: &'a Recording, subject: &Subject<T>, tolerances: Tolerances) -> Result<Self> {
        let mut recipe = recording.recipe()?;
        (subject.adjust)(&mut recipe);
        let batch = recipe.train.batch_size as usize;
        // The views are recorded; the data set only has to be as large as a batch.
        let data = Dataset {
            name: "recorded".to_owned(),
            images: vec![0; batch * 3072],
            labels: vec![0; batch],
            classes: vec!["recorded".to_owned()],
        };
        let run = Pretraining::with(device, &recipe, &data, |clock| (subject.ingredients)(device, &recipe, clock))?;
        recording.load(run.network())?;
        let model = Attacked::new(device, &recipe, run.network())?;
        model.copy_from(run.network())?;
        let (classes, features) = (recording.classes()?, recipe.topology().features);
        let head = Classifier::new(device, features, classes, batch, 0)?;
        for spec in head.parameters().specs() {
            let recorded = recording.expect(&format!("init/{}", spec.name.replace('.', "/")), &oihw(&spec.dims))?;
            head.parameters().get(&spec.name)?.value.write(&reals::<T::Real>(&recorded.values))?;
        }
        head.parameters().refresh()?;
        let clock = Tensor::zeros(device, [2])?;
        let losses = (subject.ingredients)(device, &recipe, &clock)?;
        Ok(Self { device, recording, tolerances, recipe, run, model, head, losses })
    }

    fn batch(&self) -> usize {
        self.recipe.train.batch_size as usize
    }

    /// The error of `found`, in this engine's layout, against the nearer of the recordings of `name`.
    fn error(&self, name: &str, found: &[f64]) -> Result<f64> {
        Ok(nearest(found, self.recording.truths(name)?.into_iter().map(native)))
    }

    /// A row for one tensor, if it was recorded.
    fn row(&self, name: &str, class: Class, found: &[f64]) -> Result<Option<Row>> {
        if !self.recording.has(name) {
            return Ok(None);
        }
        let error = self.error(name, found)?;
        Ok(Some(self.tolerances.judge(name, Measure::RelativeL2, class, error)))
    }
}

/// The error of `found` against the nearer of the recordings.
fn nearest(found: &[f64], truths: impl Iterator<Item = Vec<f64>>) -> f64 {
    truths.map(|truth| relative_l2(found, &truth)).fold(f64::INFINITY, f64::min)
}
