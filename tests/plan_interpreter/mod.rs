//! What a plan of cuDNN's computes, by the library's own description of it.
//!
//! A description names a graph's tensors with their strides and its operations with their scalars. Here they are executed number by number, in
//! `f64`.

#![allow(dead_code)]

use rocl::device::cudnn::Role;
use serde_json::Value;
use std::collections::BTreeMap;

/// A tensor of a graph, as it lies in memory.
#[derive(Clone)]
pub struct Memory {
    pub dims: [usize; 4],
    strides: [usize; 4],
    pub values: Vec<f64>,
}

/// The name that a role's tensor has in a description.
pub fn name_of(role: Role) -> String {
    (role as usize + 1).to_string()
}

/// The tensors of a graph by name, all zero.
pub fn tensors(graph: &Value) -> BTreeMap<String, Memory> {
    let tensors = graph["tensors"].as_array().unwrap().iter();
    tensors.map(|tensor| (tensor["name"].as_str().unwrap().to_owned(), Memory::new(tensor))).collect()
}

/// Four numbers of a description.
fn four(value: &Value) -> [usize; 4] {
    let numbers: Vec<usize> = value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
    numbers.try_into().unwrap()
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

/// Executes the graph on `memory`. Returns the name of what its last operation writes.
pub fn interpret(graph: &Value, memory: &mut BTreeMap<String, Memory>) -> String {
    let mut result = String::new();
    for node in graph["nodes"].as_array().unwrap() {
        let name = |key: &str| node[key].as_str().unwrap_or_else(|| panic!("no {key} in {node}")).to_owned();
        result = match node["operation"].as_str().unwrap() {
            "CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR" => {
                convolve(node, [name("X"), name("W"), name("Y")], 2, memory)
            }
            "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR" => {
                convolve(node, [name("dX"), name("W"), name("dY")], 0, memory)
            }
            "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR" => {
                convolve(node, [name("X"), name("dW"), name("dY")], 1, memory)
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
                name("Y")
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
                name("X")
            }
            operation => panic!("no such operation here: {operation}"),
        }
    }
    result
}

/// The sum over all terms x · w → y of a cross-correlation, gathered in one of x, w and y, whose name is returned.
fn convolve(node: &Value, names: [String; 3], result: usize, memory: &mut BTreeMap<String, Memory>) -> String {
    assert_eq!((node["mode"].as_str(), node["alpha"].as_f64()), (Some("CUDNN_CROSS_CORRELATION"), Some(1.0)));
    let pair = |key: &str| [0, 1].map(|i| node[key][i].as_u64().unwrap() as usize);
    let (stride, pad) = (pair("stride"), pair("pad"));
    assert_eq!(pair("dilation"), [1, 1]);
    let [mut x, mut w, mut y] = names.clone().map(|name| memory[&name].clone());
    let beta = node["beta"].as_f64().unwrap();
    // Without a beta, what is there is not read.
    let scale = |value: &mut f64| *value = if beta == 0.0 { 0.0 } else { beta * *value };
    [&mut x, &mut w, &mut y][result].values.iter_mut().for_each(scale);
    let ([_, channels, height, width], [_, _, rows, columns]) = (x.dims, w.dims);
    assert_eq!((x.strides[1], w.strides[1]), (1, 1));
    for index @ [n, k, out_row, out_column] in y.indices() {
        let to = y.at(index);
        for (r, s) in (0..rows).flat_map(|r| (0..columns).map(move |s| (r, s))) {
            let row = (out_row * stride[0] + r).checked_sub(pad[0]).filter(|row| *row < height);
            let column = (out_column * stride[1] + s).checked_sub(pad[1]).filter(|column| *column < width);
            let (Some(row), Some(column)) = (row, column) else { continue };
            let (from, tap) = (x.at([n, 0, row, column]), w.at([k, 0, r, s]));
            // Channels lie side by side.
            let (x, w) = (&mut x.values[from..from + channels], &mut w.values[tap..tap + channels]);
            let y = &mut y.values[to];
            match result {
                0 => x.iter_mut().zip(w).for_each(|(x, w)| *x += *w * *y),
                1 => w.iter_mut().zip(x).for_each(|(w, x)| *w += *x * *y),
                _ => *y += x.iter().zip(w).map(|(x, w)| *x * *w).sum::<f64>(),
            }
        }
    }
    let name = names[result].clone();
    memory.extend(names.into_iter().zip([x, w, y]));
    name
}
