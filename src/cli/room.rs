//! Whether there is room for a job: said before anything is allocated, and where there is none, what would fit.

use super::output::note;
use crate::device::Needs;
use crate::recipe::rehearsal::largest_batch;
use crate::{Device, Error, Result};
use std::fmt;
use std::str::FromStr;

/// A job as its memory depends on the batch size.
pub struct Job<'a> {
    /// What was asked for.
    pub batch_size: u32,
    /// What of the job can be otherwise.
    pub leeway: Leeway,
    /// What a batch size needs.
    pub needs: &'a dyn Fn(u32) -> Result<Needs>,
}

/// What of a job can be otherwise where there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leeway {
    /// Batch size and network.
    Network,
    /// The batch size: the network is there already.
    Batch,
    /// Nothing, and what says so, such as `a resumed run keeps its batch size`.
    Nothing(&'static str),
}

/// Says what `job` needs on `device`, unless `quiet`, and takes what of it is not tensors.
///
/// # Errors
/// [`Error::Usage`] when it needs more than `most`, [`Error::Device`] when it needs more than is free; those of planning it.
pub fn make(device: &Device, job: &Job, most: Option<Size>, quiet: bool) -> Result<()> {
    let needs = (job.needs)(job.batch_size)?;
    if let Some(most) = most.filter(|most| most.0 < needs.bytes()) {
        return Err(Error::Usage(format!("the run needs {needs}, and --max-memory allows {most}; {}", remedy(job, most.0))));
    }
    device.check_room("the run", &needs, |free| remedy(job, free))?;
    if !quiet {
        note(format!("needs {needs} on {}", device.description()));
    }
    device.reserve(&needs)
}

/// Says what the largest of these jobs needs on `device`, unless `quiet`, and takes what of each is not tensors.
///
/// # Errors
/// [`Error::Usage`] when one needs more than `most`, [`Error::Device`] when one needs more than is free; with its name.
pub fn make_for_all(device: &Device, jobs: &[(String, Needs)], most: Option<Size>, quiet: bool) -> Result<()> {
    const REMEDY: &str = "a smaller train.batch_size, linear_eval.batch_size, evaluate.batch_size or network.width needs less";
    for (name, needs) in jobs {
        if let Some(most) = most.filter(|most| most.0 < needs.bytes()) {
            return Err(Error::Usage(format!("{name} needs {needs}, and --max-memory allows {most}; {REMEDY}")));
        }
        device.check_room(name, needs, |_| REMEDY.to_owned())?;
    }
    if let Some((name, needs)) = jobs.iter().max_by_key(|(_, needs)| needs.bytes()).filter(|_| !quiet) {
        note(format!("needs {needs} on {}, most of all for {name}", device.description()));
    }
    jobs.iter().try_for_each(|(_, needs)| device.reserve(needs))
}

/// What to do when there are only so many bytes.
fn remedy(job: &Job, bytes: usize) -> String {
    let none = match job.leeway {
        Leeway::Nothing(why) => return format!("{why}; free some memory, or raise --max-memory"),
        Leeway::Batch => "no --batch-size would fit; use fewer images (--limit), or a machine with more memory",
        Leeway::Network => "no --batch-size would fit, and a narrower network needs less",
    };
    let fits = largest_batch(job.batch_size, bytes, job.needs);
    fits.map_or_else(|| none.to_owned(), |batch| format!("--batch-size {batch} would fit"))
}

/// An amount of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

/// Units by their names in lower case; one letter means what memory is sold in.
const UNITS: [(&str, f64); 9] = [
    ("mib", 1048576.0),
    ("gib", 1073741824.0),
    ("tib", 1099511627776.0),
    ("m", 1048576.0),
    ("g", 1073741824.0),
    ("t", 1099511627776.0),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
        let factor = UNITS.iter().find(|(name, _)| *name == unit.to_ascii_lowercase()).map(|(_, factor)| factor);
        let number = number.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        let size = number.zip(factor).map(|(number, factor)| Self((number * factor) as usize));
        size.ok_or_else(|| "sizes are such as 512MiB, 1.5GiB or 4G".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} MiB", self.0 >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let sizes = ["512MiB", "1.5GiB", "4G", "4 gib", "2GB", "0.5T"].map(|text| text.parse::<Size>().unwrap().0);
        assert_eq!(sizes, [512 << 20, 1536 << 20, 4 << 30, 4 << 30, 2_000_000_000, 512 << 30]);
        for wrong in ["", "512", "GiB", "-1G", "4Gb/s", "4KiB", "nanG", "1e400G", "4G4"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
