//! The GPU's own clock.

use super::Cuda;
use crate::Result;
use cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;
use std::time::Duration;

impl Cuda {
    /// The time that the GPU takes for one of `runs` runs of `work`, one after the other.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Device`](crate::Error::Device) when the GPU fails, or a step is being captured.
    pub(in crate::device) fn time(&self, runs: u32, work: impl Fn() -> Result<()>) -> Result<Duration> {
        self.outside_capture("measure time")?;
        let event = || self.check("making an event", self.stream.context().new_event(Some(CU_EVENT_DEFAULT)));
        let (start, end) = (event()?, event()?);
        self.check("marking a time", start.record(&self.stream))?;
        (0..runs).try_for_each(|_| work())?;
        self.check("marking a time", end.record(&self.stream))?;
        let milliseconds = self.check("measuring a time", start.elapsed_ms(&end))?;
        Ok(Duration::from_secs_f32(milliseconds.max(0.0) / 1e3 / runs.max(1) as f32))
    }
}
