//! Launches captured from the stream as a graph.

use super::{Cuda, driver};
use crate::{Error, Result};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaEvent, CudaGraph};

impl Cuda {
    /// Whether steps may be captured: not when every launch is to be waited for.
    pub(in crate::device) fn captures(&self) -> bool {
        !self.options.synchronous
    }

    /// Notes what `work` launches instead of running it.
    pub(in crate::device) fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<CudaGraph> {
        self.outside_capture("begin another one")?;
        let begun = self.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
        self.check("capturing a step", begun)?;
        self.capturing.set(true);
        self.has_graphs.set(true);
        let outcome = work();
        self.capturing.set(false);
        let ended = self.stream.end_capture(CUgraphInstantiate_flags(0));
        // What the step itself says is nearer to the cause than that its capture has failed.
        outcome?;
        let graph = ended.map_err(|error| {
            Error::Device(format!(
                "the launches of a step cannot be captured as a graph: {}; set ROCL_CUDA_SYNC=1 to run without one",
                driver::text(error)
            ))
        })?;
        let empty = "a step that launches nothing cannot be captured as a graph; launch something in the step";
        graph.ok_or_else(|| Error::Device(empty.to_owned()))
    }

    /// Runs a captured step.
    pub(in crate::device) fn replay(&self, graph: &CudaGraph) -> Result<()> {
        self.outside_capture("replay another one")?;
        self.check("replaying a step", graph.launch())
    }
}

/// Keeps the program from running ahead of the GPU by more than a number of steps: so that an interrupted run stops soon, and a failure is
/// noticed near its cause.
pub(in crate::device) struct Pace {
    /// Recorded in turn, one every `EVERY` steps.
    marks: [CudaEvent; 2],
    steps: usize,
}

/// Steps between two marks; the program is at most twice as many ahead.
const EVERY: usize = 8;

impl Pace {
    pub(in crate::device) fn new(cuda: &Cuda) -> Result<Self> {
        let mark = || cuda.check("making an event", cuda.stream.context().new_event(None));
        Ok(Self { marks: [mark()?, mark()?], steps: 0 })
    }

    /// Counts a step that was launched, and waits for an earlier one if need be.
    pub(in crate::device) fn step(&mut self, cuda: &Cuda) -> Result<()> {
        self.steps += 1;
        if !self.steps.is_multiple_of(EVERY) {
            return Ok(());
        }
        let turn = self.steps / EVERY % 2;
        cuda.check("marking a step", self.marks[turn].record(&cuda.stream))?;
        cuda.check("waiting for a step", self.marks[1 - turn].synchronize())
    }
}
