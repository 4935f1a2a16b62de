//! `--tune`.

use super::output::note;
use crate::device::cudnn::EngineSet;
use crate::element::Element;
use crate::recipe::engines::Tuning;
use crate::{Device, Result};
use clap::ValueEnum;

/// Whether convolution engines are measured, and which.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Tune {
    /// Measure convolution engines first: quick or thorough
    #[arg(long, value_enum, value_name = "EFFORT", num_args = 0..=1, require_equals = true, default_missing_value = "quick")]
    #[arg(hide_possible_values = true)]
    tune: Option<Effort>,
}

/// How many engines are measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Effort {
    /// Those that cuDNN comes with.
    Quick,
    /// Also those that it compiles.
    Thorough,
}

impl Tune {
    /// Has engines measured from now on, if they are to be.
    ///
    /// # Errors
    /// Those of [`Tuning::start`].
    pub fn start<T: Element>(self, device: &Device) -> Result<Option<Tuning>> {
        let engines = self.tune.map(|effort| match effort {
            Effort::Quick => EngineSet::Prebuilt,
            Effort::Thorough => EngineSet::All,
        });
        engines.map(|engines| Tuning::start::<T>(device, engines)).transpose()
    }

    /// Has the engines of a `step` measured before anything is timed, if they are to be.
    ///
    /// # Errors
    /// Those of [`Tuning::start`], and of the step.
    pub fn settle<T: Element>(self, device: &Device, step: impl FnOnce() -> Result<()>) -> Result<()> {
        let Some(tuning) = self.start::<T>(device)? else { return Ok(()) };
        step()?;
        device.synchronize()?;
        tuning.keep(device).into_iter().chain(device.take_engine_remarks()).for_each(|remark| note(format!("note: {remark}")));
        Ok(())
    }
}
