//! A plan means the operation it stands for.
//!
//! The library's own description of a plan is interpreted, and compared with the same operation on the CPU. Operands are small whole numbers, so that
//! all sums are exact.

use crate::cudnn;
use crate::plan_interpreter::{interpret, name_of, tensors};
use rocl::device::Arithmetic;
use rocl::device::conv::ConvShape;
use rocl::device::cudnn::{Cudnn, Form, Operation, Problem, Role};
use rocl::ops::{self, Epilogue};
use rocl::{Device, Tensor};
use serde_json::Value;

/// Whole numbers from -3 to 3.
fn numbers(role: Role, len: usize) -> Vec<f64> {
    (0..len).map(|i| ((i * 29 + i / 7 * 5 + role as usize * 13) % 7) as f64 - 3.0).collect()
}

/// `[k, r, s, c]` as `[c, r, s, k]`, turned by half a turn.
fn turned(shape: &ConvShape, filter: &[f64]) -> Vec<f64> {
    let ConvShape { c, k, r, s, .. } = *shape;
    let mut turned = vec![0.0; filter.len()];
    for (i, &value) in filter.iter().enumerate() {
        let (to, from_c) = (i / c, i % c);
        let (filter, row, column) = (to / (r * s), to / s % r, to % s);
        turned[((from_c * r + r - 1 - row) * s + s - 1 - column) * k + filter] = value;
    }
    turned
}

/// The result of the plan for `problem`, by interpretation, and on the CPU.
fn compare(cudnn: &Cudnn, problem: Problem) {
    let plan = cudnn.plan(problem).unwrap();
    let ConvShape { n, h, w, c, k, r, s, stride, pad } = problem.shape;
    let description: Value = serde_json::from_str(&plan.describe().unwrap()).unwrap();
    let graph = &description["operationGraph"];
    let mut memory = tensors(graph);
    for &role in plan.roles().iter().filter(|role| !matches!(role, Role::Zeros | Role::Sum | Role::SquareSum)) {
        let memory = &mut memory.get_mut(&name_of(role)).unwrap().values;
        *memory = numbers(role, memory.len());
        if role == Role::Filter && plan.pattern().form == Form::TurnedFilter {
            *memory = turned(&problem.shape, memory);
        }
    }
    interpret(graph, &mut memory);

    let device = Device::host().unwrap();
    let tensor = |role: Role, dims: [usize; 4]| {
        let values = numbers(role, dims.iter().product());
        Tensor::<f64>::from_slice(&device, dims, &values).unwrap()
    };
    let image = tensor(Role::Image, [n, h, w, c]);
    let filter = tensor(Role::Filter, [k, r, s, c]);
    let output = tensor(Role::Output, [n, problem.shape.out_h(), problem.shape.out_w(), k]);
    let bias = tensor(Role::Bias, [k, 1, 1, 1]).slice(0, [k]).unwrap();
    let result = match plan.pattern().computes {
        Operation::Fprop { bias: with_bias, residual, relu } => {
            let residual = residual.then(|| tensor(Role::Residual, output.dims_of("test").unwrap()));
            let epilogue = Epilogue { bias: with_bias.then_some(&bias), residual: residual.as_ref(), relu };
            ops::conv_fprop(&image, &filter, stride, pad, epilogue, &output).unwrap();
            (Role::Output, output)
        }
        Operation::Statistics => {
            ops::conv_fprop(&image, &filter, stride, pad, Epilogue::default(), &output).unwrap();
            let values = output.to_vec().unwrap();
            for (role, power) in [(Role::Sum, 1), (Role::SquareSum, 2)] {
                let sums = &memory[&name_of(role)].values;
                for (channel, &sum) in sums.iter().enumerate() {
                    let expected: f64 = values.iter().skip(channel).step_by(k).map(|v| v.powi(power)).sum();
                    assert_eq!(sum, expected, "{role:?} of channel {channel}: {plan}");
                }
            }
            (Role::Output, output)
        }
        Operation::Dgrad { residual, mask } => {
            let [residual, mask] =
                [(residual, Role::Residual), (mask, Role::Mask)].map(|(asked, role)| asked.then(|| tensor(role, [n, h, w, c])));
            ops::conv_dgrad(&output, &filter, stride, pad, residual.as_ref(), mask.as_ref(), &image).unwrap();
            (Role::Image, image)
        }
        Operation::Wgrad { accumulate } => {
            ops::conv_wgrad(&image, &output, stride, pad, accumulate, &filter).unwrap();
            (Role::Filter, filter)
        }
    };
    assert_eq!(memory[&name_of(result.0)].values, result.1.to_vec().unwrap(), "{plan}");
}

/// Both strides, paddings that keep the size, shrink and widen the image, and every way in which something follows the sum.
#[test]
fn plans_mean_what_they_stand_for() {
    let base = ConvShape { n: 2, h: 6, w: 5, c: 8, k: 16, r: 3, s: 3, stride: 1, pad: 1 };
    let shapes = [
        base,
        ConvShape { pad: 0, ..base },
        ConvShape { pad: 2, ..base },
        ConvShape { r: 1, s: 1, pad: 0, ..base },
        ConvShape { stride: 2, ..base },
        ConvShape { r: 1, s: 1, stride: 2, pad: 0, ..base },
    ];
    let parts = |bits: u32| [0, 1, 2].map(|bit| bits >> bit & 1 != 0);
    let fprops = (0..8).map(parts).map(|[bias, residual, relu]| Operation::Fprop { bias, residual, relu });
    let dgrads = (0..4).map(parts).map(|[residual, mask, _]| Operation::Dgrad { residual, mask });
    let wgrads = [false, true].map(|accumulate| Operation::Wgrad { accumulate });
    let operations: Vec<Operation> = fprops.chain(dgrads).chain(wgrads).collect();
    for arithmetic in Arithmetic::ALL {
        let Some(cudnn) = cudnn("sm_90") else { return };
        for (shape, &operation) in shapes.iter().flat_map(|&shape| operations.iter().map(move |operation| (shape, operation))) {
            compare(&cudnn, Problem { operation, shape, arithmetic });
        }
        let turned = cudnn.plans().iter().filter(|plan| plan.pattern().form == Form::TurnedFilter).count();
        assert_eq!(turned, 8, "the four shapes of stride 1 with a residual, with and without mask");
        if arithmetic == Arithmetic::F16 {
            compare(&cudnn, Problem { operation: Operation::Statistics, shape: base, arithmetic });
        }
    }
}
