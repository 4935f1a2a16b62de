//! A plan means the operation it stands for.
//!
//! The library describes a plan's graph in JSON: tensors with their strides, operations with their scalars. That is interpreted here, number by
//! number, and compared with the same operation on the CPU. Operands are small whole numbers, so that all sums are exact.

use crate::cudnn;
use rocl::device::Arithmetic;
use rocl::device::conv::ConvShape;
use rocl::device::cudnn::{Cudnn, Form, Operation, Problem, Role};
use rocl::ops::{self, Epilogue};
use rocl::{Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;

/// Four numbers of a description.
fn four(value: &Value) -> [usize; 4] {
    let numbers: Vec<usize> = value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
    numbers.try_into().unwrap()
}

/// A tensor of a graph, as it lies in memory.
#[derive(Clone)]
struct Memory {
    dims: [usize; 4],
    strides: [usize; 4],
    values: Vec<f64>,
}

impl Memory {
    fn new(description: &Value) -> Self {
        let (dims, strides) = (four(&description["dim"]), four(&description["stride"]));
        Self { dims, strides, values: vec![0.0; dims.iter().product()] }
    }

    fn at(&self, index: [usize; 4]) -> usize {
        // A dimension of size 1 is repeated.
        (0..4).map(|axis| if self.dims[axis] == 1 { 0 } else { index[axis] * self.strides[axis] }).sum()
    }

    fn indices(&self) -> impl Iterator<Item = [usize; 4]> + use<> {
        let [n, c, h, w] = self.dims;
        (0..n * c * h * w).map(move |i| [i / (c * h * w), i / (h * w) % c, i / w % h, i % w])
    }
}

/// Executes the graph on `memory`, whose names are those of the description.
fn interpret(graph: &Value, memory: &mut BTreeMap<String, Memory>) {
    for node in graph["nodes"].as_array().unwrap() {
        let name = |key: &str| node[key].as_str().unwrap_or_else(|| panic!("no {key} in {node}")).to_owned();
        match node["operation"].as_str().unwrap() {
            "CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR" => {
                convolve(node, [name("X"), name("W"), name("Y")], 2, memory)
            }
            "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR" => {
                convolve(node, [name("dX"), name("W"), name("dY")], 0, memory);
            }
            "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR" => {
                convolve(node, [name("X"), name("dW"), name("dY")], 1, memory);
            }
            "CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR" => {
                let x = memory[&name("X")].clone();
                let mut y = memory[&name("Y")].clone();
                for index in y.indices() {
                    let at = y.at(index);
                    y.values[at] = match node["pointwiseMode"].as_str().unwrap() {
                        "CUDNN_POINTWISE_ADD" => {
                            let b = &memory[&name("B")];
                            x.values[x.at(index)] + b.values[b.at(index)]
                        }
                        "CUDNN_POINTWISE_RELU_FWD" => x.values[x.at(index)].max(0.0),
                        mode => panic!("no such function here: {mode}"),
                    };
                }
                memory.insert(name("Y"), y);
            }
            "CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR" => {
                let x = memory[&name("X")].clone();
                for (key, power) in [("Sum", 1), ("SqSum", 2)] {
                    let sums = memory.get_mut(&name(key)).unwrap();
                    for index in x.indices() {
                        let at = sums.at([0, index[1], 0, 0]);
                        sums.values[at] += x.values[x.at(index)].powi(power);
                    }
                }
            }
            operation => panic!("no such operation here: {operation}"),
        }
    }
}

/// The sum over all terms x · w → y of a cross-correlation, gathered in one of x, w and y.
fn convolve(node: &Value, names: [String; 3], result: usize, memory: &mut BTreeMap<String, Memory>) {
    assert_eq!((node["mode"].as_str(), node["alpha"].as_f64()), (Some("CUDNN_CROSS_CORRELATION"), Some(1.0)));
    let pair = |key: &str| [0, 1].map(|i| node[key][i].as_u64().unwrap() as usize);
    let (stride, pad) = (pair("stride"), pair("pad"));
    assert_eq!(pair("dilation"), [1, 1]);
    let mut tensors = names.clone().map(|name| memory[&name].clone());
    let beta = node["beta"].as_f64().unwrap();
    tensors[result].values.iter_mut().for_each(|value| *value *= beta);
    let ([_, _, height, width], w) = (tensors[0].dims, tensors[1].clone());
    for y in tensors[2].indices() {
        for tap in w.indices().filter(|tap| tap[0] == y[1]) {
            let position = [0, 1].map(|i| (y[2 + i] * stride[i] + tap[2 + i]).checked_sub(pad[i]));
            let [Some(row), Some(column)] = position else { continue };
            if row < height && column < width {
                let at = [tensors[0].at([y[0], tap[1], row, column]), tensors[1].at(tap), tensors[2].at(y)];
                let factors: Vec<f64> = (0..3).filter(|&i| i != result).map(|i| tensors[i].values[at[i]]).collect();
                tensors[result].values[at[result]] += factors[0] * factors[1];
            }
        }
    }
    let [x, w, y] = tensors;
    memory.extend(names.into_iter().zip([x, w, y]));
}

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
    let tensors = graph["tensors"].as_array().unwrap().iter();
    let mut memory: BTreeMap<String, Memory> =
        tensors.map(|tensor| (tensor["name"].as_str().unwrap().to_owned(), Memory::new(tensor))).collect();
    let id = |role: Role| (role as usize + 1).to_string();
    for &role in plan.roles().iter().filter(|role| !matches!(role, Role::Zeros | Role::Sum | Role::SquareSum)) {
        let memory = &mut memory.get_mut(&id(role)).unwrap().values;
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
                let sums = &memory[&id(role)].values;
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
    assert_eq!(memory[&id(result.0)].values, result.1.to_vec().unwrap(), "{plan}");
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
