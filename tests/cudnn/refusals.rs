//! What cannot be meant is an error with a reason, whatever the library would make of it.

use crate::skipped::skipped;
use crate::{SHAPE, cudnn};
use rocl::device::conv::ConvShape;
use rocl::device::cudnn::{Cudnn, Operation, Problem, Role};
use rocl::device::{Arithmetic, Workspace};

fn refusal(cudnn: &Cudnn, shape: ConvShape) -> String {
    let problem = Problem { operation: Operation::FPROP, shape, arithmetic: Arithmetic::F16 };
    cudnn.plan(problem).map(|plan| plan.to_string()).unwrap_err().to_string()
}

#[test]
fn shapes_without_an_output_are_refused() {
    let Some(cudnn) = cudnn("sm_90") else { return };
    for shape in [
        ConvShape { stride: 0, ..SHAPE },
        ConvShape { c: 0, ..SHAPE },
        ConvShape { h: 2, pad: 0, ..SHAPE },
        ConvShape { n: 0, ..SHAPE },
    ] {
        let message = refusal(&cudnn, shape);
        assert!(message.contains("has no output") || message.contains("cuDNN"), "{message}");
    }
}

#[test]
fn descriptions_that_are_not_of_a_card_are_refused() {
    if cudnn("sm_90").is_none() {
        return;
    }
    for (properties, reason) in [("", ""), ("{", "IsObject"), ("{}", "HasMember")] {
        let message = Cudnn::for_described_card("a card", properties).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("cuDNN refused") && message.contains(reason), "{message}");
    }
}

/// Nothing is run: every call is refused before the library sees an address.
#[test]
fn wrong_operands_are_refused() {
    let Some(cudnn) = cudnn("sm_90") else { return };
    let operation = Operation::Fprop { bias: true, residual: false, relu: true };
    let plan = cudnn.plan(Problem { operation, shape: SHAPE, arithmetic: Arithmetic::F32 }).unwrap();
    let operands = [Role::Image, Role::Filter, Role::Output, Role::Bias].map(|role| (role, 4096));
    let workspace = Workspace { address: 4096, bytes: plan.workspace_bytes() };
    let refusal = |operands: &[(Role, u64)], workspace| {
        // SAFETY: a plan for a described card touches no memory.
        unsafe { plan.run(std::ptr::null_mut(), operands, workspace) }.unwrap_err().to_string()
    };
    assert!(refusal(&operands[..3], workspace).contains("but was given [Image, Filter, Output]"));
    assert!(refusal(&[operands[0]; 4], workspace).contains("was given [Image, Image, Image, Image]"));
    let mut misaligned = operands;
    misaligned[1].1 = 4100;
    assert!(refusal(&misaligned, workspace).contains("the address 0x1004 of Filter is not a multiple of 16"));
    assert!(plan.workspace_bytes() > 0, "{plan}");
    let small = Workspace { bytes: plan.workspace_bytes() - 1, ..workspace };
    assert!(refusal(&operands, small).contains("bytes of workspace but was given"));
    assert!(refusal(&operands, workspace).contains("plans for a described card cannot run"));
}

#[test]
fn a_card_that_is_not_there_is_an_error() {
    if cudnn("sm_90").is_none() {
        return;
    }
    match Cudnn::on_current_card("a card") {
        Err(error) => assert!(error.to_string().contains("cuDNN refused a handle"), "{error}"),
        Ok(_) => skipped("this machine has a card"),
    }
}
