//! What work takes of a device's memory, known before any of it is taken.

use super::dry::Dry;
use super::{Device, host};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What some work takes at most, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// All tensors that are there at the same time.
    pub tensors: usize,
    /// What operations compute in besides their tensors, by purpose: once it is there, the device keeps it.
    pub scratch: BTreeMap<&'static str, usize>,
}

impl Needs {
    /// All of it.
    pub fn bytes(&self) -> usize {
        self.tensors + self.scratch.values().sum::<usize>()
    }
}

/// As people read it: `812 MiB`, rounded up.
impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} MiB", self.bytes().div_ceil(1 << 20))
    }
}

impl Device {
    /// What `work` would take here at most: it is done on a [dry](Device::dry) device, for which nothing is allocated and nothing computed.
    ///
    /// On a GPU the libraries are asked for the plans that the work itself will ask for, since these know their workspace; where engines are
    /// about to be [measured](Self::tune_engines), it is the most that any of them may have. What a driver and its libraries keep for their own
    /// code is not counted, and on a CPU what the program allocates elsewhere is not.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn needs(&self, work: impl FnOnce(&Self) -> Result<()>) -> Result<Needs> {
        let dry = Rc::new(Dry::of(self));
        work(&Self::Dry(dry.clone()))?;
        Ok(dry.needs())
    }

    /// Bytes that are free now; none where that cannot be known.
    ///
    /// # Errors
    /// [`Error::Device`] when a GPU does not answer.
    pub fn free_memory(&self) -> Result<Option<usize>> {
        match self {
            Self::Host(_) => Ok(host::free_memory()),
            Self::Cuda(cuda) => cuda.free_memory().map(Some),
            Self::Dry(_) => Ok(None),
        }
    }

    /// Refuses work that needs more than is free. The sentence begins with `what` it is, and ends in a `remedy`, which is given the free bytes.
    ///
    /// # Errors
    /// [`Error::Device`] then, and when a GPU does not answer.
    pub fn check_room(&self, what: &str, needs: &Needs, remedy: impl FnOnce(usize) -> String) -> Result<()> {
        let Some(free) = self.free_memory()?.filter(|free| *free < needs.bytes()) else { return Ok(()) };
        let remedy = remedy(free);
        let free = free >> 20;
        Err(Error::Device(match self.gpu() {
            Some(cuda) => {
                let (name, total) = (&cuda.gpu().name, cuda.gpu().memory >> 20);
                format!(
                    "{what} needs {needs}, and {name} has {free} of {total} MiB free; {remedy}; nvidia-smi shows who uses the rest"
                )
            }
            None => format!("{what} needs {needs} of memory, and {free} MiB are free; {remedy}"),
        }))
    }

    /// Takes what a GPU needs besides tensors, so that nothing has to grow later: a step that is replayed as a graph could not.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no room.
    pub fn reserve(&self, needs: &Needs) -> Result<()> {
        match self {
            Self::Cuda(cuda) => needs.scratch.iter().try_for_each(|(&purpose, &bytes)| cuda.scratch(purpose, bytes).map(drop)),
            Self::Host(_) | Self::Dry(_) => Ok(()),
        }
    }
}
