//! Whether there is room for everything that is about to be allocated.

use super::{Cuda, driver};
use crate::{Error, Result};
use cudarc::driver::result;

impl Cuda {
    /// # Errors
    /// [`Error::Device`] when less than `needed` bytes are free.
    pub(in crate::device) fn check_room(&self, needed: usize) -> Result<()> {
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
}
