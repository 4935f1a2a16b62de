//! Which of cuDNN's engines convolve on a device: to be written down, chosen again, or found by measurement.

use super::cudnn::{Cudnn, EngineSet, Record};
use super::{Arithmetic, Device};
use crate::element::Element;
use crate::{Error, Result};
use std::rc::Rc;

impl Device {
    fn cudnn(&self) -> Option<Rc<Cudnn>> {
        match self {
            Self::Cuda(cuda) => cuda.opened(),
            Self::Host(_) | Self::Dry(_) => None,
        }
    }

    /// The engines of all convolutions met so far; nothing where no library convolves.
    pub fn engines(&self) -> Option<Record> {
        self.cudnn().map(|cudnn| cudnn.record())
    }

    /// From now on, convolutions that have not been met are computed as `record` says, where it says anything. Where no library convolves nothing
    /// changes.
    ///
    /// # Errors
    /// [`Error::Device`] when it is of another card or another version of cuDNN; then nothing changes.
    pub fn replay_engines(&self, record: &Record) -> Result<()> {
        self.cudnn().map_or(Ok(()), |cudnn| cudnn.replay(record))
    }

    /// From now on, the fastest of these `engines` is chosen by measurement when a convolution of numbers stored as `T` is first run, unless a record
    /// has chosen one. That takes some seconds in all, minutes with engines that have to be compiled, and gives other bits from run to run: so results
    /// are only repeated by [replaying](Self::replay_engines).
    ///
    /// # Errors
    /// [`Error::Usage`] where no library convolves, and in `fp32`, which computes the same in every run.
    pub fn tune_engines<T: Element>(&self, engines: EngineSet) -> Result<()> {
        let (Self::Cuda(cuda), Some(_)) = (self, self.cudnn()) else {
            return Err(Error::Usage(format!(
                "only cuDNN's convolutions on a GPU are tuned, and this is {self:?}; leave --tune out"
            )));
        };
        if Arithmetic::of::<T>(cuda.options().tf32)? == Arithmetic::F32 {
            return Err(Error::Usage(
                "convolutions in fp32 are not tuned, so that every run computes the same; leave --tune out, or give another --precision"
                    .to_owned(),
            ));
        }
        cuda.start_tuning(engines);
        Ok(())
    }

    /// What [`tune_engines`](Self::tune_engines) has found, and what it was spared by a record.
    pub fn tuned_engines(&self) -> Option<Record> {
        self.cudnn().map(|cudnn| cudnn.tuned())
    }

    /// What has been said about replayed engines since this was last asked, a sentence each: those that cannot be made again here, which are
    /// chosen anew.
    pub fn take_engine_remarks(&self) -> Vec<String> {
        self.cudnn().map_or_else(Vec::new, |cudnn| cudnn.take_remarks())
    }

    /// The name of a file for what [`tune_engines`](Self::tune_engines) finds among `engines` here: one for each card and version of cuDNN.
    pub fn engines_file(&self, engines: EngineSet) -> Option<String> {
        self.engines().map(|record| record.file_name(engines))
    }
}
