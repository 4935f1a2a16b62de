//! The choice of engines by measurement.

use super::Cudnn;
use super::engine::Heuristics;
use super::plan::Plan;
use super::problem::Problem;
use crate::device::Arithmetic;
use crate::{Error, Result};
use std::rc::Rc;
use std::time::Duration;

impl Cudnn {
    /// The fastest of at most `limit` engines for each graph that may serve `problem`, by `measure`, which from then on is the plan for it.
    ///
    /// `measure` runs a candidate, *and what it leaves of the operation*, often enough, on the card's own clock. A plan that was made before, or
    /// that a record has chosen, is kept and not measured.
    ///
    /// # Errors
    /// [`Error::Usage`] in `f32`, whose engines do not depend on measurements; as [`plan`](Self::plan), and those of `measure`.
    pub fn tune(&self, problem: Problem, limit: usize, mut measure: impl FnMut(&Plan) -> Result<Duration>) -> Result<Rc<Plan>> {
        if problem.arithmetic == Arithmetic::F32 {
            return Err(Error::Usage(
                "convolutions in fp32 are not tuned, so that every run computes the same; tune tf32, fp16 or bf16".to_owned(),
            ));
        }
        let known = self.plans.borrow().contains_key(&problem) || self.replayed.borrow().contains_key(&problem);
        if known {
            return self.plan(problem);
        }
        problem.shape.check("cudnn", &[])?;
        let mut best: Option<(Duration, Plan)> = None;
        for pattern in problem.patterns() {
            let graph = self.graph(&problem, &pattern)?;
            for candidate in self.candidates(problem, pattern, &graph, Heuristics::A)?.take(limit) {
                let duration = measure(&candidate)?;
                if best.as_ref().is_none_or(|(least, _)| duration < *least) {
                    best = Some((duration, candidate));
                }
            }
        }
        match best {
            None => self.plan(problem),
            Some((_, plan)) => {
                let plan = Rc::new(plan);
                self.plans.borrow_mut().insert(problem, plan.clone());
                Ok(plan)
            }
        }
    }
}
