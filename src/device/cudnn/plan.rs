//! Plans: an engine made ready for a graph, which can be run any number of times.

use super::descriptor::{Attribute, Descriptor, Draft, Kind};
use super::engine::{EngineChoice, EngineConfig};
use super::graph::{Graph, Role};
use super::library::{Library, Refusal};
use super::problem::{Form, Pattern, Problem};
use super::record::RecordedPlan;
use super::target::Target;
use super::tensor::ALIGNMENT;
use crate::device::Workspace;
use crate::{Error, Result};
use Attribute::*;
use cudarc::driver::sys::CUstream;
use std::ffi::c_void;
use std::fmt;
use std::rc::Rc;

/// A convolution that is ready to run.
pub struct Plan {
    // Dropped before the target whose handle it was made with.
    descriptor: Rc<Descriptor>,
    target: Rc<Target>,
    library: &'static Library,
    problem: Problem,
    pattern: Pattern,
    roles: Vec<Role>,
    choice: EngineChoice,
    workspace_bytes: usize,
}

impl Plan {
    pub(super) fn new(
        library: &'static Library,
        target: &Rc<Target>,
        problem: Problem,
        pattern: Pattern,
        graph: &Graph,
        engine: &EngineConfig,
    ) -> Result<Self, Refusal> {
        let draft = Draft::new(library, Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
            .set_parts(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, std::slice::from_ref(&engine.descriptor))?;
        let draft = target.set_on(draft, Some(CUDNN_ATTR_EXECUTION_PLAN_HANDLE), Some(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP))?;
        let descriptor = draft.finish("a plan")?;
        let workspace_bytes =
            descriptor.get::<i64>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, 1)?.iter().sum::<i64>().max(0) as usize;
        let (target, roles, choice) = (target.clone(), graph.roles.clone(), engine.choice.clone());
        Ok(Self { descriptor, target, library, problem, pattern, roles, choice, workspace_bytes })
    }

    /// What was asked for.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// How much of it the plan computes, and how.
    pub fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// The tensors it wants to be given.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The engine.
    pub fn choice(&self) -> &EngineChoice {
        &self.choice
    }

    /// How much of what was asked for it computes, for tables: `all`, `16-bit dw`, or the part.
    pub fn extent(&self) -> String {
        match self.pattern.form {
            Form::NarrowGradient => "16-bit dw".to_owned(),
            _ if self.pattern.computes == self.problem.operation => "all".to_owned(),
            _ => self.pattern.computes.to_string(),
        }
    }

    /// What makes it again.
    pub fn recorded(&self) -> RecordedPlan {
        RecordedPlan { problem: self.problem, pattern: self.pattern, choice: self.choice.clone() }
    }

    /// The memory it needs besides its tensors.
    pub fn workspace_bytes(&self) -> usize {
        self.workspace_bytes
    }

    /// The library's own description of the plan, in JSON.
    ///
    /// # Errors
    /// [`Error::Device`] when this version of the library has none.
    pub fn describe(&self) -> Result<String> {
        let count = self.descriptor.count::<u8>(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION)?;
        let bytes = self.descriptor.get::<u8>(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, count)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }

    /// Runs on `stream`; returns when the work has been queued.
    ///
    /// # Errors
    /// [`Error::Shape`] when an operand is missing, superfluous or not aligned, or the workspace is too small; [`Error::Device`] when the plan was
    /// made for a described card, or when the library fails.
    ///
    /// # Safety
    /// The addresses are those of device memory, as large as the problem says, in the context that the plan was made in; nothing else writes
    /// it, and it lives, until the work is done. The result and the workspace overlap nothing.
    pub unsafe fn run(&self, stream: CUstream, operands: &[(Role, u64)], workspace: Workspace) -> Result<()> {
        self.check(operands, workspace)?;
        if let Some(simulation) = self.target.simulation() {
            return simulation(self, stream, operands);
        }
        let ids: Vec<i64> = operands.iter().map(|(role, _)| role.id()).collect();
        let addresses: Vec<*mut c_void> = operands.iter().map(|&(_, address)| address as *mut c_void).collect();
        let operands = Draft::new(self.library, Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
            .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &ids)?
            .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &addresses)?
            .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &[workspace.address as *mut c_void])?
            .finish("the operands of a plan")?;
        let handle = self.target.handle()?;
        // SAFETY: handle, plan and operands are alive; of the memory, the caller promises it.
        unsafe {
            self.library.check("a stream", (self.library.set_stream)(handle, stream.cast()))?;
            let status = (self.library.execute)(handle, self.descriptor.raw(), operands.raw());
            Ok(self.library.check("to run a plan", status)?)
        }
    }

    fn check(&self, operands: &[(Role, u64)], workspace: Workspace) -> Result<()> {
        let refuse = |message: String| Err(Error::shape("cudnn", message));
        let given: Vec<Role> = operands.iter().map(|&(role, _)| role).collect();
        if given.len() != self.roles.len() || self.roles.iter().any(|role| !given.contains(role)) {
            return refuse(format!("the plan for {} wants {:?} but was given {given:?}", self.problem, self.roles));
        }
        if let Some((role, address)) = operands.iter().find(|(_, address)| address % ALIGNMENT != 0 || *address == 0) {
            return refuse(format!(
                "the address {address:#x} of {role:?} is not a multiple of {ALIGNMENT} above 0; allocate it anew"
            ));
        }
        if workspace.bytes < self.workspace_bytes {
            return refuse(format!(
                "the plan for {} needs {} bytes of workspace but was given {}",
                self.problem, self.workspace_bytes, workspace.bytes
            ));
        }
        Ok(())
    }
}

/// One line for people: what is computed, how much of it at once, and by which engine.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Pattern { computes, form } = self.pattern;
        let (problem, engine, megabytes) = (&self.problem, self.choice.engine, self.workspace_bytes.div_ceil(1 << 20));
        write!(f, "{problem}: {computes} ({form:?}) by engine {engine}, {megabytes} MiB of workspace")
    }
}
