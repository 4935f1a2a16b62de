//! The choice of engines by measurement.

use super::Cudnn;
use super::engine::Heuristics;
use super::plan::Plan;
use super::policy::EngineSet;
use super::problem::Problem;
use super::record::Record;
use super::search::Search;
use crate::device::Arithmetic;
use crate::{Error, Result};
use std::rc::Rc;
use std::time::Duration;

impl Cudnn {
    /// The fastest of at most `limit` of these `engines` for each graph that may serve `problem`, by `measure`, which from then on is the plan for it.
    ///
    /// `measure` runs a candidate, *and what it leaves of the operation*, often enough, on the card's own clock; one that is no choice takes no time.
    /// What was measured before, or a record has chosen, is kept.
    ///
    /// # Errors
    /// [`Error::Usage`] in `f32`, whose engines do not depend on measurements; those of `measure`; as [`plan`](Self::plan).
    pub fn tune(
        &self,
        problem: Problem,
        engines: EngineSet,
        limit: usize,
        mut measure: impl FnMut(&Plan) -> Result<Option<Duration>>,
    ) -> Result<Rc<Plan>> {
        if problem.arithmetic == Arithmetic::F32 {
            return Err(Error::Usage(
                "convolutions in fp32 are not tuned, so that every run computes the same; tune tf32, fp16 or bf16".to_owned(),
            ));
        }
        if self.tuned.borrow().contains_key(&problem) {
            return self.plan(problem);
        }
        if self.replayed.borrow().contains_key(&problem) {
            let plan = self.plan(problem)?;
            // Unless what was recorded could not be made again.
            if self.replayed.borrow().contains_key(&problem) {
                return Ok(plan);
            }
        }
        problem.shape.check("cudnn", &[])?;
        let search = Search::new(self, problem, engines);
        let mut best: Option<(Duration, Plan)> = None;
        for pattern in problem.patterns() {
            for candidate in search.candidates(pattern, Heuristics::A).take(limit) {
                let Some(duration) = measure(&candidate)? else { continue };
                if best.as_ref().is_none_or(|(least, _)| duration < *least) {
                    best = Some((duration, candidate));
                }
            }
        }
        // Where nothing could be measured the plan is the one that heuristics prefer, as it would be the next time.
        let plan = best.map_or_else(|| self.plan(problem), |(_, plan)| Ok(Rc::new(plan)))?;
        let before = self.plans.borrow_mut().insert(problem, plan.clone());
        self.tuned.borrow_mut().insert(problem, before);
        Ok(plan)
    }

    /// Whether [`tune`](Self::tune) has nothing to measure for `problem`.
    pub(in crate::device) fn is_tuned(&self, problem: &Problem) -> bool {
        self.tuned.borrow().contains_key(problem) || self.replayed.borrow().contains_key(problem)
    }

    /// What was measured, or chosen by a record instead.
    pub fn tuned(&self) -> Record {
        let mut plans = self.replayed.borrow().clone();
        let tuned = self.tuned.borrow();
        plans.extend(tuned.keys().filter_map(|problem| Some((*problem, self.plans.borrow().get(problem)?.recorded()))));
        self.record_of(plans.into_values().collect())
    }
}
