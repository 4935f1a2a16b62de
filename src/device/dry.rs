//! A device that allocates nothing and runs nothing: what a run would allocate is counted, what it would launch can be
//! [recorded](super::record). Reading gives zeros.

use super::Cuda;
use super::memory::Usage;
use std::cell::Cell;
use std::rc::Rc;

/// Where addresses begin; they tell allocations apart, and nothing lies there.
const FIRST_ADDRESS: u64 = 1 << 40;
/// What real allocations are aligned by, at least.
const ALIGNMENT: u64 = 256;

/// A run's plan in the making.
pub struct Dry {
    usage: Usage,
    next: Cell<u64>,
    gpu: Option<Rc<Cuda>>,
}

impl Default for Dry {
    fn default() -> Self {
        Self { usage: Usage::default(), next: Cell::new(FIRST_ADDRESS), gpu: None }
    }
}

impl Dry {
    /// Plans what that GPU would do.
    pub(super) fn for_gpu(gpu: &Rc<Cuda>) -> Self {
        Self { gpu: Some(gpu.clone()), ..Self::default() }
    }

    pub(super) fn gpu(&self) -> Option<&Rc<Cuda>> {
        self.gpu.as_ref()
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// An address with room for `bytes` that no other allocation has.
    pub(super) fn address(&self, bytes: usize) -> u64 {
        let address = self.next.get();
        self.next.set(address + (bytes as u64).max(1).next_multiple_of(ALIGNMENT));
        address
    }
}
