//! The card that plans are made for: one that is there, or the description of one.

use super::descriptor::{Attribute, Descriptor, Draft, Kind};
use super::graph::Role;
use super::library::{Library, RawHandle, Refusal};
use super::plan::Plan;
use crate::{Error, Result};
use cudarc::driver::sys::CUstream;
use std::rc::Rc;

pub(super) enum Target {
    Card(Handle),
    Description { card: Rc<Descriptor>, simulation: Option<Box<Simulation>> },
}

/// What runs the plans for a described card: given a plan, the stream that it is to be put on, and its operands.
#[doc(hidden)]
pub type Simulation = dyn Fn(&Plan, CUstream, &[(Role, u64)]) -> Result<()>;

impl Target {
    /// The card of the calling thread's current CUDA context.
    pub fn current(library: &'static Library) -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the library writes one handle.
        library.check("a handle", unsafe { (library.create_handle)(&mut raw) })?;
        Ok(Self::Card(Handle { library, raw }))
    }

    /// A card that need not be there, described in JSON.
    pub fn described(library: &'static Library, json: &str, simulation: Option<Box<Simulation>>) -> Result<Self> {
        let draft = Draft::new(library, Kind::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?;
        let draft = draft.set(Attribute::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json.as_bytes())?;
        Ok(Self::Description { card: draft.finish("the description of a card")?, simulation })
    }

    pub fn simulation(&self) -> Option<&Simulation> {
        match self {
            Self::Card(_) => None,
            Self::Description { simulation, .. } => simulation.as_deref(),
        }
    }

    pub fn handle(&self) -> Result<RawHandle> {
        match self {
            Self::Card(handle) => Ok(handle.raw),
            Self::Description { .. } => {
                Err(Error::Device("cuDNN's plans for a described card cannot run; make them on the card itself".to_owned()))
            }
        }
    }

    /// Tells a draft of the card: a graph, heuristics, an engine or a plan.
    pub fn set_on(
        &self,
        draft: Draft,
        as_handle: Option<Attribute>,
        as_description: Option<Attribute>,
    ) -> Result<Draft, Refusal> {
        match (self, as_handle, as_description) {
            (Self::Card(handle), Some(attribute), _) => draft.set_handle(attribute, handle.raw),
            (Self::Description { card, .. }, _, Some(attribute)) => draft.set_parts(attribute, std::slice::from_ref(card)),
            _ => Ok(draft),
        }
    }
}

/// Ties the library to a CUDA context.
pub(super) struct Handle {
    library: &'static Library,
    raw: RawHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is alive. A failure leaves nothing to be done.
        let _ = unsafe { (self.library.destroy_handle)(self.raw) };
    }
}
