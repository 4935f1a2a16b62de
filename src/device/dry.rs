//! A device that allocates nothing and runs nothing: what a run would allocate is counted, what it would launch can be
//! [recorded](super::record). Reading gives zeros.

use super::memory::Usage;
use super::needs::Needs;
use super::{Cuda, Device, Host};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where addresses begin; they tell allocations apart, and nothing lies there.
const FIRST_ADDRESS: u64 = 1 << 40;
/// What real allocations are aligned by, at least.
const ALIGNMENT: u64 = 256;

/// A run's plan in the making.
pub struct Dry {
    usage: Usage,
    /// The most that was asked for, by purpose.
    scratch: RefCell<BTreeMap<&'static str, usize>>,
    next: Cell<u64>,
    /// The device that would do the work, if a particular one.
    planned: Option<Device>,
}

impl Default for Dry {
    fn default() -> Self {
        Self { usage: Usage::default(), scratch: RefCell::default(), next: Cell::new(FIRST_ADDRESS), planned: None }
    }
}

impl Dry {
    /// Plans what that device would do; of a dry one, what it plans for.
    pub(super) fn of(device: &Device) -> Self {
        let planned = match device {
            Device::Dry(dry) => dry.planned.clone(),
            device => Some(device.clone()),
        };
        Self { planned, ..Self::default() }
    }

    /// The GPU that is planned for.
    pub(super) fn gpu(&self) -> Option<&Rc<Cuda>> {
        match &self.planned {
            Some(Device::Cuda(cuda)) => Some(cuda),
            _ => None,
        }
    }

    /// The CPU that is planned for.
    pub(super) fn host(&self) -> Option<&Host> {
        match &self.planned {
            Some(Device::Host(host)) => Some(host),
            _ => None,
        }
    }

    /// As [`Device::convolves_directly`] of what is planned for.
    pub(super) fn convolves_directly(&self) -> bool {
        self.planned.as_ref().is_some_and(Device::convolves_directly)
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

    /// Notes that work wants scratch memory, which is there once for each purpose.
    pub(super) fn scratch(&self, purpose: &'static str, bytes: usize) {
        let mut scratch = self.scratch.borrow_mut();
        let most = scratch.entry(purpose).or_default();
        *most = bytes.max(*most);
    }

    /// What everything so far takes at most.
    pub(super) fn needs(&self) -> Needs {
        Needs { tensors: self.usage.get().1, scratch: self.scratch.borrow().clone() }
    }
}
