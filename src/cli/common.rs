//! The flags that all subcommands share, as parsed and as resolved.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use super::device;
use super::output::note;
use super::precision::Precision;
use super::room::{self, Job, Size};
use crate::data::validation::Validation;
use crate::data::{Dataset, Source, Split};
use crate::device::{HostOptions, Needs};
use crate::recipe::Recipe;
use crate::run::checkpoint::Checkpoint;
use crate::{Device, Error, Result};

/// Threads of one core take turns, and wait for each other at the end of every launch: with many of them nothing else happens.
const MOST_THREADS_PER_CORE: usize = 4;

/// The largest seed that a recipe can hold: numbers of TOML have a sign.
const MOST_SEED: u64 = i64::MAX as u64;

/// Flags of every subcommand that runs a network, as parsed.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// textures (the default), or a path: rocl fetch -h
    #[arg(long, value_name = "DATA")]
    pub data: Option<Source>,
    /// Folder for all results
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Hyper-parameters: a preset (rocl recipe) or TOML file
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<String>,
    /// Where and how to compute
    #[command(flatten)]
    pub computing: Computing,
    /// Seed of everything random
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// Images per step
    #[arg(long, value_name = "N", value_parser = whole)]
    pub batch_size: Option<u32>,
    /// Use only the first N images of each split
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub limit: Option<NonZeroUsize>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
    /// Say first what is computed, from what and on what
    #[arg(long, short, conflicts_with = "quiet")]
    pub verbose: bool,
}

/// Where and how to compute.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Computing {
    /// auto (the default), cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", hide_default_value = true)]
    pub device: DeviceChoice,
    /// fp32 (the default), tf32, fp16 or bf16
    #[arg(long, value_enum, value_name = "TYPE", hide_possible_values = true)]
    precision: Option<Precision>,
    /// CPU threads; all cores by default
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<NonZeroUsize>,
    /// Refuse what needs more on the device than, say, 4GiB
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Size>,
}

impl Computing {
    /// The precision asked for, else fp32.
    pub fn precision(&self) -> Precision {
        self.precision.unwrap_or_default()
    }

    /// Takes the precision from the run that is gone on with, unless one is asked for.
    pub fn resume(&mut self, checkpoint: &Checkpoint) {
        self.precision = self.precision.or(Precision::named(&checkpoint.meta.precision));
    }

    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no such device.
    pub fn device(&self) -> Result<Device> {
        device::open(self.device, self.threads()?.unwrap_or(0), self.precision() == Precision::Tf32)
    }

    /// Says what a job needs on `device`, unless `quiet`, and refuses what there is no room for.
    ///
    /// # Errors
    /// Those of [`room::make`].
    pub fn make_room(&self, device: &Device, job: &Job, quiet: bool) -> Result<()> {
        room::make(device, job, self.max_memory, quiet)
    }

    /// The same for several jobs, one after the other, each with its name.
    ///
    /// # Errors
    /// Those of [`room::make_for_all`].
    pub fn make_room_for_all(&self, device: &Device, jobs: &[(String, Needs)], quiet: bool) -> Result<()> {
        room::make_for_all(device, jobs, self.max_memory, quiet)
    }

    /// What a CPU device is opened with.
    ///
    /// # Errors
    /// [`Error::Usage`] when the threads are too many, or for environment variables that cannot be meant.
    pub fn host_options(&self) -> Result<HostOptions> {
        Ok(HostOptions { threads: self.threads()?.unwrap_or(0), ..HostOptions::from_environment()? })
    }

    /// The number of CPU threads asked for.
    fn threads(&self) -> Result<Option<usize>> {
        let most = MOST_THREADS_PER_CORE * std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        match self.threads.map(NonZeroUsize::get) {
            Some(threads) if threads > most => Err(Error::Usage(format!(
                "--threads is {threads}, but must be at most {most}, {MOST_THREADS_PER_CORE} for each core here; leave it out to use all cores"
            ))),
            threads => Ok(threads),
        }
    }
}

/// What a subcommand works with once recipe, checkpoint and flags are put together.
#[derive(Debug)]
pub struct Settings {
    /// All hyper-parameters, flags applied.
    pub recipe: Recipe,
    /// Seed of this command; the recipe's own unless given.
    pub seed: u64,
    /// Where the images are.
    pub data: Source,
    /// Folder for all results.
    pub out: PathBuf,
    /// Where and how to compute.
    pub computing: Computing,
    /// Images to use of each split; all when absent.
    pub limit: Option<usize>,
    /// Print the result as JSON.
    pub json: bool,
    /// Show no progress.
    pub quiet: bool,
    /// Say first what is computed.
    verbose: bool,
}

impl Settings {
    /// Opens the device.
    ///
    /// # Errors
    /// Those of [`Computing::device`].
    pub fn device(&self) -> Result<Device> {
        let device = self.computing.device()?;
        if self.verbose {
            note(format!("device: {}, {}", device.description(), self.computing.precision().name()));
        }
        Ok(device)
    }

    /// Says what a job needs on `device`, and refuses what there is no room for.
    ///
    /// # Errors
    /// Those of [`room::make`].
    pub fn make_room(&self, device: &Device, job: &Job) -> Result<()> {
        self.computing.make_room(device, job, self.quiet)
    }

    /// Opens a split of the data, within the limit.
    ///
    /// # Errors
    /// Those of [`Source::open`].
    pub fn data(&self, split: Split) -> Result<Dataset> {
        self.announced(self.data.open(split, self.limit)?, &format!("of the {} split", split.name()))
    }

    /// Opens the training images and those without labels, within the limit.
    ///
    /// # Errors
    /// Those of [`Source::open_with_unlabeled`].
    pub fn data_with_unlabeled(&self) -> Result<Dataset> {
        self.announced(self.data.open_with_unlabeled(self.limit)?, "to train on, with and without labels,")
    }

    fn announced(&self, data: Dataset, which: &str) -> Result<Dataset> {
        if self.verbose {
            note(format!("data: {}, {} images {which} from {}", data.name, data.len(), self.data));
        }
        Ok(data)
    }

    /// The training images, without those that are held out.
    ///
    /// # Errors
    /// Those of [`Settings::data`] and [`Validation::split`].
    pub fn training_data(&self, held_out: Option<Validation>) -> Result<Dataset> {
        let data = self.data(Split::Train)?;
        match held_out {
            Some(validation) => Ok(validation.split(&data)?.0),
            None => Ok(data),
        }
    }
}

impl Common {
    /// The recipe that `--recipe` names, or `default`.
    ///
    /// # Errors
    /// Those of [`Recipe::load`].
    pub fn recipe_or(&self, default: &str) -> Result<Recipe> {
        Recipe::load(self.recipe.as_deref().unwrap_or(default))
    }

    /// The settings of a command with this `recipe` (overrides applied), which writes to `out` unless told otherwise. Sets the
    /// number of threads.
    ///
    /// # Errors
    /// [`Error::Usage`] when the threads are too many or cannot be started.
    pub fn settle(self, recipe: Recipe, out: impl Into<PathBuf>) -> Result<Settings> {
        if let Some(threads) = self.computing.threads()? {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
            pool.map_err(|error| Error::Usage(format!("--threads {threads} cannot be met ({error}); ask for fewer")))?;
        }
        if self.verbose {
            note(recipe.to_toml()?.trim_end());
        }
        Ok(Settings {
            seed: self.seed.unwrap_or(recipe.train.seed),
            recipe,
            data: self.data.unwrap_or(Source::Textures),
            out: self.out.unwrap_or_else(|| out.into()),
            computing: self.computing,
            limit: self.limit.map(NonZeroUsize::get),
            json: self.json,
            quiet: self.quiet,
            verbose: self.verbose,
        })
    }
}

/// A count that is not 0.
pub(super) fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "give a whole number, at least 1".to_owned())
}

/// A whole number; which ones can be meant is said where it is used.
pub(super) fn whole(text: &str) -> Result<u32, String> {
    within(text, 0..=u32::MAX)
}

/// A seed that a recipe can hold.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    within(text, 0..=MOST_SEED)
}

/// A whole number of `range`, or which ones there are: clap's own words are those of Rust's parsers.
pub(super) fn within<N: FromStr + PartialOrd + fmt::Display>(text: &str, range: RangeInclusive<N>) -> Result<N, String> {
    let number = text.parse::<N>().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("give a whole number from {} to {}", range.start(), range.end()))
}

/// Refuses to guess the data of an encoder that was not trained on the built-in set.
///
/// # Errors
/// [`Error::Usage`] when `--data` was left out and the checkpoint is of other data.
pub fn data_is_known(common: &Common, checkpoint: &Checkpoint) -> Result<()> {
    let trained_on = &checkpoint.meta.data;
    if common.data.is_none() && trained_on.split(',').next() != Some("textures") {
        return Err(Error::Usage(format!("the encoder was trained on {trained_on}; say with --data which images to use now")));
    }
    Ok(())
}

/// The recipe that a checkpoint carries.
///
/// # Errors
/// [`Error::File`] when it is damaged or of a newer schema.
pub fn recipe_of(checkpoint: &Checkpoint) -> Result<Recipe> {
    let refuse = |error| Error::file(checkpoint.path(), format!("the checkpoint's recipe: {error}"));
    Recipe::from_json(&checkpoint.meta.recipe).map_err(refuse)
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of that number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").and_then(|index| index.parse().ok());
                index.map(Self::Cuda).ok_or_else(|| "devices are auto, cpu, cuda and cuda:N".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        let devices = ["auto", "cpu", "cuda", "cuda:3"].map(|text| text.parse::<DeviceChoice>().unwrap());
        assert_eq!(devices, [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(3)]);
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }
}
