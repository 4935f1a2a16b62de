//! The search for engines that compute a problem.

use super::Cudnn;
use super::engine::{self, Heuristics};
use super::library::Refusal;
use super::plan::Plan;
use super::policy::{EngineSet, Policy};
use super::problem::{Pattern, Problem};
use crate::Error;
use std::cell::RefCell;

/// What the library refuses here is no engine, whatever its reason: the next graph, or the next engine, may do. The last reason is
/// remembered for the case that none does.
pub(super) struct Search<'a> {
    cudnn: &'a Cudnn,
    problem: Problem,
    policy: Policy,
    refusal: RefCell<Option<Refusal>>,
}

impl<'a> Search<'a> {
    pub fn new(cudnn: &'a Cudnn, problem: Problem, engines: EngineSet) -> Self {
        let policy = Policy { arithmetic: problem.arithmetic, engines };
        Self { cudnn, problem, policy, refusal: RefCell::default() }
    }

    /// The admissible engines for `pattern` that can be made ready, best first.
    pub fn candidates(&self, pattern: Pattern, heuristics: Heuristics) -> impl Iterator<Item = Plan> {
        let Self { cudnn, problem, policy, .. } = *self;
        let graph = self.granted(cudnn.graph(&problem, &pattern));
        graph.into_iter().flat_map(move |graph| {
            let proposals = self.granted(engine::proposals(cudnn.library, &cudnn.target, &graph, heuristics));
            let engines = proposals.into_iter().flatten().filter_map(move |engine| self.granted(engine));
            let admissible = engines.filter(move |engine| policy.admits(&engine.numerical_notes, &engine.behavior_notes));
            // Heuristics propose engines that cannot be made ready, here or at all.
            admissible.filter_map(move |engine| self.granted(cudnn.finish(problem, pattern, &graph, &engine)))
        })
    }

    fn granted<V>(&self, outcome: Result<V, Refusal>) -> Option<V> {
        outcome.map_err(|refusal| self.refusal.replace(Some(refusal))).ok()
    }

    /// That there is no engine.
    pub fn in_vain(&self) -> Error {
        let (version, card, problem) = (self.cudnn.version(), &self.cudnn.card, &self.problem);
        let reason =
            self.refusal.borrow().as_ref().map_or(String::new(), |refusal| format!(" (the last that it said: {refusal})"));
        Error::Device(format!(
            "cuDNN {version} has no engine for {problem} on an {card}{reason}; choose another precision or install a newer cuDNN"
        ))
    }
}
