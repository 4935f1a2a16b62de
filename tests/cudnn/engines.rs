//! Engines: which may serve, and that a choice of them can be repeated.

use crate::{SHAPE, cudnn};
use rocl::device::Arithmetic;
use rocl::device::cudnn::{EngineSet, Operation, Plan, Problem, Record};
use std::time::Duration;

const OPERATIONS: [Operation; 5] = [
    Operation::FPROP,
    Operation::Fprop { bias: true, residual: true, relu: true },
    Operation::DGRAD,
    Operation::Dgrad { residual: true, mask: true },
    Operation::Wgrad { accumulate: true },
];

fn problems(arithmetic: Arithmetic) -> [Problem; 5] {
    OPERATIONS.map(|operation| Problem { operation, shape: SHAPE, arithmetic })
}

/// A plan made from a record is the recorded one, by the library's own description of both.
#[test]
fn a_recorded_choice_makes_the_same_plan() {
    for arithmetic in Arithmetic::ALL {
        let Some(first) = cudnn("sm_90") else { return };
        let plans = problems(arithmetic).map(|problem| first.plan(problem).unwrap());
        let text = serde_json::to_string(&first.record()).unwrap();
        let record: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(record, first.record());

        let second = cudnn("sm_90").unwrap();
        second.replay(&record).unwrap();
        for plan in plans {
            let again = second.plan(*plan.problem()).unwrap();
            assert_eq!(again.to_string(), plan.to_string());
            assert_eq!(engine_of(&again), engine_of(&plan), "{plan}");
        }
        assert_eq!(second.record(), record);
    }
}

/// What the library says of a plan's engine and its knobs, which are those of the choice: it writes their names, we their numbers.
fn engine_of(plan: &Plan) -> serde_json::Value {
    let mut description: serde_json::Value = serde_json::from_str(&plan.describe().unwrap()).unwrap();
    let engine = description["engine"].take();
    assert_eq!(engine["engineId"], plan.choice().engine, "{plan}");
    let mut values: Vec<i64> = engine["knobChoices"].as_object().unwrap().values().map(|v| v.as_i64().unwrap()).collect();
    let mut chosen: Vec<i64> = plan.choice().knobs.values().copied().collect();
    values.sort();
    chosen.sort();
    assert_eq!(values, chosen, "{plan}");
    engine
}

/// A record overrules heuristics: the second-best engine is used where it says so.
#[test]
fn a_record_comes_before_heuristics() {
    let Some(tuned) = cudnn("sm_90") else { return };
    let problem = Problem { operation: Operation::FPROP, shape: SHAPE, arithmetic: Arithmetic::F16 };
    let mut measured = Vec::new();
    // The clock of a card that likes the third candidate best.
    let clock = |plan: &Plan| {
        measured.push(plan.choice().clone());
        Ok(Some(Duration::from_micros(if measured.len() == 3 { 10 } else { 20 })))
    };
    let plan = tuned.tune(problem, EngineSet::Prebuilt, 5, clock).unwrap();
    assert_eq!(measured.len(), 5);
    assert_eq!(*plan.choice(), measured[2]);
    assert_eq!(tuned.plan(problem).unwrap().choice(), plan.choice());

    let replaying = cudnn("sm_90").unwrap();
    assert_ne!(replaying.plan(problem).unwrap().choice(), plan.choice(), "heuristics prefer their first");
    let replaying = cudnn("sm_90").unwrap();
    replaying.replay(&tuned.record()).unwrap();
    let again = replaying.tune(problem, EngineSet::Prebuilt, 5, |_| panic!("what is recorded is not measured")).unwrap();
    assert_eq!(again.choice(), plan.choice());
}

#[test]
fn full_precision_is_not_tuned() {
    let Some(cudnn) = cudnn("sm_90") else { return };
    let problem = Problem { operation: Operation::FPROP, shape: SHAPE, arithmetic: Arithmetic::F32 };
    let message =
        cudnn.tune(problem, EngineSet::Prebuilt, 5, |_| panic!("nothing is measured")).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("fp32 are not tuned"), "{message}");
}

/// Engines of the one arithmetic are not those of the other: what `tf32` chooses, `f32` does not take, even from a record.
#[test]
fn full_precision_refuses_tensor_cores() {
    for architecture in ["sm_80", "sm_90"] {
        let Some(tf32) = cudnn(architecture) else { return };
        for problem in problems(Arithmetic::Tf32) {
            tf32.plan(problem).unwrap();
        }
        let mut record = tf32.record();
        record.plans.iter_mut().for_each(|plan| plan.problem.arithmetic = Arithmetic::F32);
        let f32 = cudnn(architecture).unwrap();
        f32.replay(&record).unwrap();
        for problem in problems(Arithmetic::F32) {
            let plan = f32.plan(problem).unwrap();
            assert_eq!(plan.choice(), cudnn(architecture).unwrap().plan(problem).unwrap().choice());
            let remarks = f32.take_remarks();
            assert!(remarks.len() == 1 && remarks[0].contains("does not keep what its arithmetic promises"), "{remarks:?}");
        }
    }
}

/// A damaged record costs a remark, not the run; and what it says is measured where engines are.
#[test]
fn what_cannot_be_made_again_is_chosen_anew() {
    let Some(cudnn_) = cudnn("sm_90") else { return };
    let problem = Problem { operation: Operation::Wgrad { accumulate: true }, shape: SHAPE, arithmetic: Arithmetic::F16 };
    let preferred = cudnn_.plan(problem).unwrap().recorded();
    let mut damaged = [preferred.clone(), preferred.clone(), preferred.clone()];
    damaged[0].choice.engine = 9999;
    damaged[1].choice.knobs.insert(77, -5);
    damaged[2].pattern.computes = Operation::FPROP;
    for (plan, tunes) in damaged.into_iter().flat_map(|plan| [(plan.clone(), false), (plan, true)]) {
        let replaying = cudnn("sm_90").unwrap();
        replaying.replay(&Record { plans: vec![plan], ..cudnn_.record() }).unwrap();
        let mut measured = 0;
        let mut clock = || {
            measured += 1;
            Duration::from_micros(measured)
        };
        let plan =
            if tunes { replaying.tune(problem, EngineSet::Prebuilt, 3, |_| Ok(Some(clock()))) } else { replaying.plan(problem) }
                .unwrap();
        assert_eq!((measured > 0, replaying.tuned().plans.len()), (tunes, usize::from(tunes)));
        assert!(tunes || plan.recorded() == preferred);
        let remarks = replaying.take_remarks();
        assert!(remarks.len() == 1 && remarks[0].contains("which was recorded for wgrad + accumulate"), "{remarks:?}");
        assert!(replaying.take_remarks().is_empty());
    }
}

#[test]
fn a_record_of_another_card_or_version_is_refused() {
    let Some(cudnn) = cudnn("sm_90") else { return };
    let record = cudnn.record();
    let refused = |record: Record| cudnn.replay(&record).unwrap_err().to_string();
    let message = refused(Record { card: "NVIDIA A100".to_owned(), ..record.clone() });
    assert!(message.contains("on an NVIDIA A100, and this is an NVIDIA H200"), "{message}");
    let message = refused(Record { cudnn: 90_100, ..record.clone() });
    assert!(message.contains("with cuDNN 90100, and this is cuDNN"), "{message}");
    let message = refused(Record { cuda: 11, ..record.clone() });
    assert!(message.contains("with a cuDNN for CUDA 11, and this is one for CUDA"), "{message}");
    let message = refused(Record { schema: 9, ..record });
    assert!(message.contains("in format 9"), "{message}");
}

#[test]
fn a_plan_is_made_once() {
    let Some(cudnn) = cudnn("sm_90") else { return };
    let problem = Problem { operation: Operation::FPROP, shape: SHAPE, arithmetic: Arithmetic::Tf32 };
    let [first, second] = [cudnn.plan(problem).unwrap(), cudnn.plan(problem).unwrap()];
    assert!(std::rc::Rc::ptr_eq(&first, &second));
    assert_eq!(cudnn.plans().len(), 1);
    assert_eq!(cudnn.workspace_bytes(), first.workspace_bytes());
}
