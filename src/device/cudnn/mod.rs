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
mod search;
mod target;
mod tensor;
mod tune;

pub use card::{CARDS, DescribedCard};
pub use engine::EngineChoice;
pub use graph::Role;
pub use plan::Plan;
pub use policy::EngineSet;
pub use problem::{Form, Operation, Pattern, Problem};
pub use record::{Record, RecordedPlan};
#[doc(hidden)]
pub use target::Simulation;

use crate::{Error, Result};
use engine::{EngineConfig, Heuristics};
use graph::Graph;
use library::{Library, Refusal};
use policy::Policy;
use search::Search;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use target::Target;

/// More workspace than this is not worth a faster engine: it is kept for the whole run. It does not depend on the memory that is free, since the choice
/// of engines decides the bits of a result.
pub const MOST_WORKSPACE: usize = 1 << 30;

/// cuDNN on a card, with the plans made so far.
pub struct Cudnn {
    library: &'static Library,
    target: Rc<Target>,
    card: String,
    plans: RefCell<BTreeMap<Problem, Rc<Plan>>>,
    replayed: RefCell<BTreeMap<Problem, RecordedPlan>>,
    remarks: RefCell<Vec<String>>,
    /// The problems whose engines were measured, and the plans that served them before: captured graphs may use those.
    tuned: RefCell<BTreeMap<Problem, Option<Rc<Plan>>>>,
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
            remarks: RefCell::default(),
            tuned: RefCell::default(),
        }
    }

    /// 10000 · major + 100 · minor + patch.
    pub fn version(&self) -> usize {
        self.library.version()
    }

    /// The plan for `problem`, made when it is first asked for.
    ///
    /// It is the first admissible engine of the first graph that has one; graphs that fuse more come first. What a replayed record says comes
    /// before that, as far as it can be made again.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shape has no output, [`Error::Device`] when no engine can compute it.
    pub fn plan(&self, problem: Problem) -> Result<Rc<Plan>> {
        if let Some(plan) = self.plans.borrow().get(&problem) {
            return Ok(plan.clone());
        }
        problem.shape.check("cudnn", &[])?;
        let plan = Rc::new(self.recorded_plan(problem).map_or_else(|| self.find_plan(problem), Ok)?);
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
        Record { schema: Record::SCHEMA, cudnn: self.version(), cuda: self.library.cuda_major(), card: self.card.clone(), plans }
    }

    /// From now on, plans that are not yet made are made as `record` says, where it says anything.
    ///
    /// # Errors
    /// [`Error::Device`] when it is of another card or another version of the library; then nothing changes.
    pub fn replay(&self, record: &Record) -> Result<()> {
        record.check(&self.record_of(Vec::new()))?;
        self.replayed.borrow_mut().extend(record.plans.iter().map(|plan| (plan.problem, plan.clone())));
        Ok(())
    }

    /// The plan that a replayed record has for `problem`. A record may be damaged, or of a driver that could do more: what cannot be made
    /// again is struck out, with a remark.
    fn recorded_plan(&self, problem: Problem) -> Option<Plan> {
        let recorded = self.replayed.borrow().get(&problem).cloned()?;
        let refused = match self.replay_plan(&recorded) {
            Ok(plan) => return Some(plan),
            Err(refused) => refused,
        };
        self.replayed.borrow_mut().remove(&problem);
        self.remarks.borrow_mut().push(format!(
            "engine {}, which was recorded for {problem}, is replaced by another, so results differ in rounding: {refused}",
            recorded.choice.engine
        ));
        None
    }

    fn replay_plan(&self, RecordedPlan { problem, pattern, choice }: &RecordedPlan) -> Result<Plan> {
        if !problem.patterns().contains(pattern) {
            return Err(Error::Device(
                "its graph is not one for the problem; it is replaced when engines are recorded again".to_owned(),
            ));
        }
        let graph = self.graph(problem, pattern)?;
        let config = engine::chosen(self.library, &self.target, &graph, choice)?;
        let policy = Policy { arithmetic: problem.arithmetic, engines: EngineSet::All };
        if !policy.admits(&config.numerical_notes, &config.behavior_notes) {
            return Err(Error::Device(
                "it does not keep what its arithmetic promises; it is replaced when engines are recorded again".to_owned(),
            ));
        }
        Ok(self.finish(*problem, *pattern, &graph, &config)?)
    }

    /// What has been said about records since this was last asked: engines that could not be made again.
    pub fn take_remarks(&self) -> Vec<String> {
        self.remarks.take()
    }

    /// A fused graph that has only engines of last resort is worth less than a simpler one that has an engine chosen for speed; and an engine that wants
    /// more than [`MOST_WORKSPACE`] is worth less than any other.
    fn find_plan(&self, problem: Problem) -> Result<Plan> {
        let (patterns, search) = (problem.patterns(), Search::new(self, problem, EngineSet::Prebuilt));
        let mut least = None::<Plan>;
        for tier in [&[Heuristics::A, Heuristics::B][..], &[Heuristics::Fallback]] {
            for (&pattern, &heuristics) in
                patterns.iter().flat_map(|pattern| tier.iter().map(move |heuristics| (pattern, heuristics)))
            {
                for plan in search.candidates(pattern, heuristics) {
                    if plan.workspace_bytes() <= MOST_WORKSPACE {
                        return Ok(plan);
                    }
                    if least.as_ref().is_none_or(|least| plan.workspace_bytes() < least.workspace_bytes()) {
                        least = Some(plan);
                    }
                }
            }
        }
        least.ok_or_else(|| search.in_vain())
    }

    fn graph(&self, problem: &Problem, pattern: &Pattern) -> Result<Graph, Refusal> {
        graph::graph(self.library, &self.target, problem, pattern)
    }

    fn finish(&self, problem: Problem, pattern: Pattern, graph: &Graph, config: &EngineConfig) -> Result<Plan, Refusal> {
        Plan::new(self.library, &self.target, problem, pattern, graph, config)
    }
}
