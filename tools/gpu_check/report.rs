//! What a check found, as `report.json`. It is written after every stage, so that a check that is cut off leaves what it had, and a later one
//! in the same folder goes on with it.

use crate::stage::Outcome;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Everything that a figure depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The device that was checked, as `--device` takes it.
    pub device: String,
    /// The GPU's name, or the CPU's.
    pub card: String,
    /// As `sm_90`; empty for the CPU.
    pub architecture: String,
    /// What `rocl doctor` says of the driver.
    pub driver: String,
    /// What it says of cuDNN.
    pub cudnn: String,
    /// The commit that the programs were built from.
    pub commit: String,
}

/// `report.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub schema: u32,
    #[serde(flatten)]
    pub machine: Machine,
    /// When the check, or its latest part, began.
    pub date: String,
    /// Whether nothing failed.
    pub pass: bool,
    pub stages: Vec<Outcome>,
}

impl Report {
    /// The report in `folder` of the same machine and programs, to be gone on with, else an empty one. Of stages that there are no longer,
    /// which `is_stage` tells, nothing is kept.
    pub fn open(folder: &Path, machine: Machine, date: String, is_stage: impl Fn(&str) -> bool) -> Self {
        let read = || serde_json::from_slice::<Self>(&std::fs::read(folder.join("report.json")).ok()?).ok();
        let earlier = read().filter(|earlier| earlier.machine == machine);
        let mut stages = earlier.map(|earlier| earlier.stages).unwrap_or_default();
        stages.retain(|stage| is_stage(&stage.name));
        let mut report = Self { schema: 1, machine, date, pass: true, stages };
        report.judge();
        report
    }

    /// Adds what became of a stage, in the place of what became of it earlier.
    pub fn add(&mut self, outcome: Outcome) {
        self.stages.retain(|earlier| earlier.name != outcome.name);
        self.stages.push(outcome);
        self.judge();
    }

    fn judge(&mut self) {
        self.pass = self.stages.iter().all(|stage| stage.pass);
    }

    /// Writes it into `folder`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::write(folder.join("report.json"), serde_json::to_string_pretty(self)?)
    }
}
