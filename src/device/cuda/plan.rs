//! Whether there is room for everything that is about to be allocated, found by making it without memory behind it first.

use super::{Cuda, driver};
use crate::{Error, Result};
use cudarc::driver::result;

/// Where planned allocations begin to lie: apart from each other, as real ones do, so that launches find nothing to object to.
const FIRST_ADDRESS: u64 = 1 << 40;

impl Cuda {
    /// Runs `build` with allocations that exist in name only; launches and copies do nothing meanwhile, and reading gives zeros.
    ///
    /// # Errors
    /// [`Error::Device`] when it allocates more than is free; those of `build`.
    pub(in crate::device) fn check_room<V>(&self, build: impl FnOnce() -> Result<V>) -> Result<()> {
        self.outside_capture("be planned")?;
        self.planned.set(Some(FIRST_ADDRESS));
        let (outcome, needed) = self.usage.most_during(|| build().map(drop));
        self.planned.set(None);
        outcome?;
        self.bind()?;
        let (free, total) = self.check("asking for its free memory", result::mem_get_info())?;
        if needed <= free {
            return Ok(());
        }
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        Err(Error::Device(format!(
            "the run needs {} MiB, and {} has {} of {} MiB free; {}",
            mib(needed),
            self.gpu.name,
            mib(free),
            mib(total),
            driver::NEED_LESS
        )))
    }

    /// Whether nothing is to be done for real.
    pub(super) fn is_planning(&self) -> bool {
        self.planned.get().is_some()
    }

    /// The address of the next planned allocation, while planning.
    pub(super) fn planned_address(&self, bytes: usize) -> Option<u64> {
        let address = self.planned.get()?;
        self.planned.set(Some(address + bytes.max(1).next_multiple_of(256) as u64));
        Some(address)
    }
}
