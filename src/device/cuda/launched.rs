//! What was launched, and its failures: kernels of ours and calls of libraries, which are noticed later than they were made.

use super::{Cuda, driver};
use crate::{Error, Result};
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use std::fmt::{self, Display};

/// Something that runs on the stream.
#[derive(Clone, Copy)]
pub(super) enum Launched {
    /// A kernel of ours.
    Kernel(&'static str),
    /// What a library launches for a call.
    Call(&'static str),
}

impl Display for Launched {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Kernel(name) => write!(f, "kernel {name}"),
            Self::Call(name) => write!(f, "library call {name}"),
        }
    }
}

impl Cuda {
    /// Has a library launch something in this device's context; `plan` says what in a word, for errors.
    ///
    /// # Errors
    /// Those of `launch`; [`Error::Device`] when the GPU has failed before, or, where every launch is waited for, now.
    pub(in crate::device) fn call(
        &self,
        name: &'static str,
        plan: &dyn Display,
        launch: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.bind()?;
        // A library that is refused because something has failed before does not know what that was.
        launch().map_err(|refusal| self.fault().unwrap_or(refusal))?;
        self.after(Launched::Call(name), plan)
    }

    /// Notes what was launched, and waits for it where every launch is waited for.
    pub(super) fn after(&self, launched: Launched, plan: &dyn Display) -> Result<()> {
        self.last.set(Some(launched));
        if !self.options.synchronous {
            return Ok(());
        }
        self.stream.synchronize().map_err(|error| {
            let (reason, plan) = (driver::text(error), plan.to_string());
            let plan = if plan.is_empty() { plan } else { format!(" ({plan})") };
            Error::Device(format!("{launched}{plan} failed: {reason}; this is a fault of the program, please report it"))
        })
    }

    /// What has failed on the stream, if anything has.
    fn fault(&self) -> Option<Error> {
        if self.capturing.get() {
            return None;
        }
        self.stream.synchronize().err().and_then(|error| self.late(error))
    }

    /// The failure of something launched before, if that is what an error is.
    pub(super) fn late(&self, error: DriverError) -> Option<Error> {
        let launched = self.last.get().filter(|_| fails_late(error))?;
        let reason = driver::text(error);
        let advice = "set ROCL_CUDA_SYNC=1 to learn which";
        Some(Error::Device(format!("{launched}, or something launched before it, failed: {reason}; {advice}")))
    }
}

/// Whether an error is that of something launched, reported by a later call.
fn fails_late(error: DriverError) -> bool {
    matches!(
        error.0,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
    )
}
