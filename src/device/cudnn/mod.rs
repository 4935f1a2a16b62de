//! Convolutions by cuDNN, through its graph API.
//!
//! A [`Problem`] is looked up once and becomes a [`Plan`]; a plan runs on raw device addresses and knows nothing of tensors. How much of the
//! epilogue a plan computes depends on what engines there are ([`Plan::pattern`]); the rest is for the caller to run. Plans can also be made for
//! a card that is only described, and are then all that a real one is, but for being run.

mod card;
mod descriptor;
mod engine;
mod graph;
mod library;
mod operations;
mod plan;
mod policy;
mod problem;
mod record;
mod target;
mod tensor;
mod tune;

pub use card::{CARDS, DescribedCard};
pub use engine::EngineChoice;
pub use graph::Role;
pub use plan::Plan;
pub use problem::{Form, Operation, Pattern, Problem};
pub use record::{Record, RecordedPlan};
#[doc(hidden)]
pub use target::Simulation;

use crate::{Error, Result};
use engine::{EngineConfig, Heuristics};
use graph::Graph;
use library::{Library, Refusal};
use policy::Policy;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use target::Target;

/// cuDNN on a card, with the plans made so far.
pub struct Cudnn {
    library: &'static Library,
    target: Rc<Target>,
    card: String,
    plans: RefCell<BTreeMap<Problem, Rc<Plan>>>,
    replayed: RefCell<BTreeMap<Problem, RecordedPlan>>,
    /// The problems whose engines were measured, and the plans that served them before: captured graphs may use those.
    tuned: RefCell<BTreeMap<Problem, Option<Rc<Plan>>>>,
    runtime_compilation: Cell<bool>,
}

impl Cudnn {
    /// On the card of the calling thread's current CUDA context; `card` is its name.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no cuDNN 9, or it does not work with the card or its driver.
    pub fn on_current_card(card: &str) -> Result<Self> {
        let library = Library::load()?;
        Ok(Self::new(library, Target::current(library)?, card))
    }

    /// For a card that need not be there; `properties` describe it, in cuDNN's JSON. Plans can be made, but not run.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no cuDNN 9, or it does not like the description.
    pub fn for_described_card(card: &str, properties: &str) -> Result<Self> {
        let library = Library::load()?;
        Ok(Self::new(library, Target::described(library, properties, None)?, card))
    }

    /// As [`for_described_card`](Self::for_described_card), with something that runs the plans: for tests without a GPU.
    #[doc(hidden)]
    pub fn simulated(card: &str, properties: &str, simulation: Box<Simulation>) -> Result<Self> {
        let library = Library::load()?;
        Ok(Self::new(library, Target::described(library, properties, Some(simulation))?, card))
    }

    fn new(library: &'static Library, target: Target, card: &str) -> Self {
        Self {
            library,
            target: Rc::new(target),
            card: card.to_owned(),
            plans: RefCell::default(),
            replayed: RefCell::default(),
            tuned: RefCell::default(),
            runtime_compilation: Cell::new(false),
        }
    }

    /// 10000 · major + 100 · minor + patch.
    pub fn version(&self) -> usize {
        self.library.version()
    }

    /// Whether engines that compile their kernel when a plan is made may serve: they fuse more, and take a second or so each. At first they may not.
    pub fn allow_runtime_compilation(&self, allow: bool) {
        self.runtime_compilation.set(allow);
    }

    /// The plan for `problem`, made when it is first asked for.
    ///
    /// It is the first admissible engine of the first graph that has one; graphs that fuse more come first. What a replayed record says comes
    /// before that.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shape has no output, [`Error::Device`] when no engine can compute it.
    pub fn plan(&self, problem: Problem) -> Result<Rc<Plan>> {
        if let Some(plan) = self.plans.borrow().get(&problem) {
            return Ok(plan.clone());
        }
        problem.shape.check("cudnn", &[])?;
        let recorded = self.replayed.borrow().get(&problem).cloned();
        let plan = Rc::new(match recorded {
            Some(recorded) => self.replay_plan(&recorded)?,
            None => self.find_plan(problem)?,
        });
        self.plans.borrow_mut().insert(problem, plan.clone());
        Ok(plan)
    }

    /// All plans made so far.
    pub fn plans(&self) -> Vec<Rc<Plan>> {
        self.plans.borrow().values().cloned().collect()
    }

    /// The workspace that all plans made so far can share.
    pub fn workspace_bytes(&self) -> usize {
        self.plans.borrow().values().map(|plan| plan.workspace_bytes()).max().unwrap_or(0)
    }

    /// The engines of all plans made so far.
    pub fn record(&self) -> Record {
        self.record_of(self.plans.borrow().values().map(|plan| plan.recorded()).collect())
    }

    fn record_of(&self, plans: Vec<RecordedPlan>) -> Record {
        Record { schema: Record::SCHEMA, cudnn: self.version(), card: self.card.clone(), plans }
    }

    /// From now on, plans that are not yet made are made as `record` says, where it says anything.
    ///
    /// # Errors
    /// [`Error::Device`] when it is of another card or another version of the library; then nothing changes.
    pub fn replay(&self, record: &Record) -> Result<()> {
        record.check(&self.card, self.version())?;
        self.replayed.borrow_mut().extend(record.plans.iter().map(|plan| (plan.problem, plan.clone())));
        Ok(())
    }

    fn replay_plan(&self, recorded: &RecordedPlan) -> Result<Plan> {
        let RecordedPlan { problem, pattern, choice } = recorded;
        let graph = self.graph(problem, pattern)?;
        let config = engine::chosen(self.library, &self.target, &graph, choice)?;
        if !self.policy(problem).admits(&config.numerical_notes, &config.behavior_notes) {
            let engine = choice.engine;
            return Err(Error::Device(format!(
                "engine {engine}, which was recorded for {problem}, does not keep what its arithmetic promises; leave the record out to choose anew"
            )));
        }
        Ok(self.finish(*problem, *pattern, &graph, &config)?)
    }

    /// A fused graph that has only engines of last resort is worth less than a simpler one that has an engine chosen for speed.
    fn find_plan(&self, problem: Problem) -> Result<Plan> {
        let patterns = problem.patterns();
        for tier in [&[Heuristics::A, Heuristics::B][..], &[Heuristics::Fallback]] {
            for &pattern in &patterns {
                let graph = self.graph(&problem, &pattern)?;
                for &heuristics in tier {
                    if let Some(plan) = self.candidates(problem, pattern, &graph, heuristics)?.next() {
                        return Ok(plan);
                    }
                }
            }
        }
        let version = self.version();
        Err(Error::Device(format!(
            "cuDNN {version} has no engine for {problem} on an {}; choose another precision or install a newer cuDNN",
            self.card
        )))
    }

    /// The admissible engines for `graph` that can be made ready, best first.
    fn candidates(
        &self,
        problem: Problem,
        pattern: Pattern,
        graph: &Graph,
        heuristics: Heuristics,
    ) -> Result<impl Iterator<Item = Plan>> {
        let policy = self.policy(&problem);
        let proposals = engine::proposals(self.library, &self.target, graph, heuristics)?;
        let admissible = proposals.into_iter().filter(move |e| policy.admits(&e.numerical_notes, &e.behavior_notes));
        // Heuristics propose engines that cannot be made ready, here or at all: the next one is tried.
        Ok(admissible.filter_map(move |config| self.finish(problem, pattern, graph, &config).ok()))
    }

    fn policy(&self, problem: &Problem) -> Policy {
        Policy { arithmetic: problem.arithmetic, runtime_compilation: self.runtime_compilation.get() }
    }

    fn graph(&self, problem: &Problem, pattern: &Pattern) -> Result<Graph, Refusal> {
        graph::graph(self.library, &self.target, problem, pattern)
    }

    fn finish(&self, problem: Problem, pattern: Pattern, graph: &Graph, config: &EngineConfig) -> Result<Plan, Refusal> {
        Plan::new(self.library, &self.target, problem, pattern, graph, config)
    }
}
