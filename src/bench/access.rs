//! How the kernels of a step access memory, as a GPU would see it.

use super::calls::Kind;
use crate::Result;
use crate::device::access::{Launch, watch};
use serde::Serialize;

/// A kind of kernel launch, watched.
#[derive(Clone, Debug, Serialize)]
pub struct Watched {
    /// The launch's logical shape.
    pub shape: String,
    /// How many of them a step has.
    pub calls: usize,
    /// What was seen of one.
    #[serde(flatten)]
    pub launch: Launch,
}

/// Repeats one call of each kind and watches it. What is no kernel, convolutions in a library say, is left out.
///
/// # Errors
/// Those of the device.
pub fn of(kinds: &[Kind]) -> Result<Vec<Watched>> {
    let mut all = Vec::new();
    for Kind { call, count } in kinds {
        let ((), launches) = watch(|| call.repeat())?;
        all.extend(launches.into_iter().map(|launch| Watched { shape: call.shape.clone(), calls: *count, launch }));
    }
    Ok(all)
}
