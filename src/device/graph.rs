//! Work that is launched again and again: as a graph, where the device has graphs.

use super::Device;
use super::cuda::Pace;
use crate::Result;
use cudarc::driver::CudaGraph;

/// The launches of something that is run again and again, such as a training step.
///
/// On a GPU the first runs launch one kernel after the other; the next is captured and from then on replayed as one graph. What the work
/// does must therefore be the same every time, on the same tensors, which must live as long as the graph is run: what varies is read from device
/// memory. It must neither allocate memory nor copy from or to the program; a capture refuses that. On a CPU the work is done anew every
/// time.
pub struct Graph {
    runs: usize,
    captured: Option<CudaGraph>,
    pace: Option<Pace>,
    // Dropped last: what was captured belongs to its context.
    device: Device,
}

impl Graph {
    /// Runs at the beginning that are launched one by one: kernels are loaded and libraries make their plans then.
    pub const EAGER_RUNS: usize = 2;

    /// Nothing is captured yet.
    pub fn new(device: &Device) -> Self {
        Self { runs: 0, captured: None, pace: None, device: device.clone() }
    }

    /// Runs the work, which has to be the same every time.
    ///
    /// # Errors
    /// Those of `work`; [`crate::Error::Device`] when it does what a graph cannot hold, or a launch fails.
    pub fn run(&mut self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.runs += 1;
        let Device::Cuda(cuda) = &self.device else { return work() };
        match &self.captured {
            Some(graph) => cuda.replay(graph)?,
            None if self.runs > Self::EAGER_RUNS && cuda.captures() => {
                let graph = cuda.capture(work)?;
                cuda.replay(&graph)?;
                self.captured = Some(graph);
            }
            None => work()?,
        }
        match &mut self.pace {
            Some(pace) => pace.step(cuda),
            pace => pace.insert(Pace::new(cuda)?).step(cuda),
        }
    }

    /// Whether the work is replayed by now.
    pub fn is_captured(&self) -> bool {
        self.captured.is_some()
    }
}
