//! `kernels/lars.cu`, `kernels/sgd.cu`, `kernels/adamw.cu`.

use crate::support::*;
use rocl::element::Real;
use rocl::ops::{self, AdamWSettings, ChunkTable, LarsSettings, LarsWorkspace, SgdSettings};
use rocl::{Device, Tensor};

/// Ragged tensors, some over several chunks, one empty, one of more items than a warp has lanes.
const LENGTHS: [usize; 8] = [1, 1024, 1025, 10, 0, 5000, 64, 600_000];
/// Tensors whose parameters, and whose gradients, start as zeros.
const ZERO_P: usize = 3;
const ZERO_G: usize = 6;
const RATES: [f64; 3] = [0.24, 0.38, 0.1];

const LARS: LarsSettings = LarsSettings { trust: 0.001, momentum: 0.9, weight_decay: 1e-2, epsilon: 1e-8 };
const SGD: SgdSettings = SgdSettings { momentum: 0.9, weight_decay: 5e-4 };
const ADAMW: AdamWSettings = AdamWSettings { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };

#[derive(Clone, Copy, Debug)]
enum Optimiser {
    Lars,
    Sgd,
    AdamW,
}

/// Parameters (step 0) or the gradients of a step, a vector per tensor.
fn tensors<R: Real>(step: usize) -> Vec<Vec<f64>> {
    let zero = |tensor| tensor == if step == 0 { ZERO_P } else { ZERO_G };
    let make = |(tensor, &length): (usize, &usize)| {
        let values = uniform((step * 100 + tensor) as u64, length, -1.0, 1.0);
        if zero(tensor) { vec![0.0; length] } else { widened(&stored::<R>(&values)) }
    };
    LENGTHS.iter().enumerate().map(make).collect()
}

/// One step of the oracle on one tensor with its two kinds of state; returns the scale that LARS reports.
fn oracle(optimiser: Optimiser, step: usize, p: &mut [f64], g: &[f64], a: &mut [f64], b: &mut [f64]) -> f64 {
    // Sums of sums: one running sum over a large tensor would be less exact than the kernel's.
    let norm = |x: &[f64]| x.chunks(256).map(|part| part.iter().map(|v| v * v).sum::<f64>()).sum::<f64>().sqrt();
    let (p_norm, g_norm, rate) = (norm(p), norm(g), RATES[step]);
    let adapted = LARS.trust * p_norm / (g_norm + LARS.weight_decay * p_norm + LARS.epsilon);
    let scale = if p_norm > 0.0 && g_norm > 0.0 { adapted } else { 1.0 };
    for i in 0..p.len() {
        match optimiser {
            Optimiser::Lars => {
                a[i] = LARS.momentum * a[i] + scale * (g[i] + LARS.weight_decay * p[i]);
                p[i] -= rate * a[i];
            }
            Optimiser::Sgd => {
                a[i] = SGD.momentum * a[i] + g[i] + SGD.weight_decay * p[i];
                p[i] -= rate * a[i];
            }
            Optimiser::AdamW => {
                let t = step as i32 + 1;
                a[i] = ADAMW.beta1 * a[i] + (1.0 - ADAMW.beta1) * g[i];
                b[i] = ADAMW.beta2 * b[i] + (1.0 - ADAMW.beta2) * g[i] * g[i];
                let mean = a[i] / (1.0 - ADAMW.beta1.powi(t));
                let square = b[i] / (1.0 - ADAMW.beta2.powi(t));
                p[i] -= rate * ADAMW.weight_decay * p[i];
                p[i] -= rate * mean / (square.sqrt() + ADAMW.epsilon);
            }
        }
    }
    scale
}

/// The arena's layout of a vector per tensor.
fn arena(table: &ChunkTable, tensors: &[Vec<f64>]) -> Vec<f64> {
    let mut flat = vec![0.0; table.padded_len()];
    tensors.iter().zip(table.offsets()).for_each(|(tensor, &at)| flat[at..at + tensor.len()].copy_from_slice(tensor));
    flat
}

/// Parameters, both states and scales after all steps.
fn run<R: Real>(device: &Device, optimiser: Optimiser) -> [Vec<R>; 4] {
    let table = ChunkTable::new(device, &LENGTHS).unwrap();
    let n = table.padded_len();
    let p = upload::<R, 1>(device, [n], &arena(&table, &tensors::<R>(0)));
    let g = Tensor::<R>::zeros(device, [n]).unwrap();
    let (a, b) = (Tensor::<R>::zeros(device, [n]).unwrap(), Tensor::<R>::zeros(device, [n]).unwrap());
    let rates = upload::<R, 1>(device, [RATES.len()], &RATES);
    let (clock, workspace) = (Tensor::<i64>::zeros(device, [2]).unwrap(), LarsWorkspace::new(device, &table).unwrap());
    let log = Tensor::<R>::zeros(device, [RATES.len(), 1]).unwrap();
    for step in 0..RATES.len() {
        g.write(&stored(&arena(&table, &tensors::<R>(step + 1)))).unwrap();
        match optimiser {
            Optimiser::Lars => ops::lars(&p, &g, &a, &table, &clock, &rates, &LARS, &workspace, None),
            Optimiser::Sgd => ops::sgd(&p, &g, &a, &clock, &rates, &SGD, None),
            Optimiser::AdamW => ops::adamw(&p, &g, &a, &b, &clock, &rates, &ADAMW, None),
        }
        .unwrap();
        ops::record_step(&rates.rows(0..1).unwrap(), &log, &clock).unwrap();
    }
    [p, a, b, workspace.scales].map(|tensor| tensor.to_vec().unwrap())
}

fn matches_the_oracle<R: Real>(optimiser: Optimiser, tolerance: f64) {
    let run = |device: &Device| run::<R>(device, optimiser).concat();
    // The corrections of AdamW are exponentials.
    let answers = if let Optimiser::AdamW = optimiser { answers(run) } else { vec![same_bits_everywhere(run)] };
    let table = ChunkTable::new(&Device::host().unwrap(), &LENGTHS).unwrap();
    let n = table.padded_len();

    let mut p = tensors::<R>(0);
    let mut a: Vec<Vec<f64>> = LENGTHS.iter().map(|&length| vec![0.0; length]).collect();
    let mut b = a.clone();
    let mut scales = vec![0.0; LENGTHS.len()];
    for step in 0..RATES.len() {
        let g = tensors::<R>(step + 1);
        for tensor in 0..LENGTHS.len() {
            scales[tensor] = oracle(optimiser, step, &mut p[tensor], &g[tensor], &mut a[tensor], &mut b[tensor]);
        }
    }
    for found in answers.iter().map(|bits| widened(bits)) {
        // The arena's layout puts zeros into the padding, so this says that padding stays exactly zero, too.
        for (what, values, at) in [("p", &p, 0), ("first state", &a, n), ("second state", &b, 2 * n)] {
            let expected = arena(&table, values);
            let found = &found[at..at + n];
            assert_close(&format!("{optimiser:?}: {what}"), found, &expected, tolerance, 1.0);
            let padding = arena(&table, &LENGTHS.map(|length| vec![1.0; length]));
            assert!(found.iter().zip(padding).all(|(&x, used)| used == 1.0 || x == 0.0), "{optimiser:?}: {what}: padding moved");
        }
        if let Optimiser::Lars = optimiser {
            // A value passes through some eighty additions of positive numbers; the root halves their error.
            assert_close("scales", &found[3 * n..], &scales, 60.0 * rounding::<R>(), 0.0);
        }
    }
}

#[test]
fn three_steps_equal_the_oracle() {
    // A handful of roundings per step, of numbers of size one.
    for optimiser in [Optimiser::Lars, Optimiser::Sgd] {
        matches_the_oracle::<f32>(optimiser, 30.0 * rounding::<f32>());
        matches_the_oracle::<f64>(optimiser, 30.0 * rounding::<f64>());
    }
    // 1 - β₂ᵗ starts at a thousandth: ln β₂ has a relative error of one rounding, but 1 - β₂ as f32 adds one of its own to v.
    matches_the_oracle::<f32>(Optimiser::AdamW, 60.0 * rounding::<f32>());
    matches_the_oracle::<f64>(Optimiser::AdamW, 60.0 * rounding::<f64>());
}

#[test]
fn the_table_lays_tensors_out_in_chunks_and_cuts_them_into_items() {
    let device = Device::host().unwrap();
    let table = ChunkTable::new(&device, &[1, 1024, 1025, 0, 16 * 1024, 33 * 1024 - 1, 3]).unwrap();
    assert_eq!(table.offsets(), [0, 1024, 2048, 4096, 4096, 20_480, 54_272]);
    assert_eq!(table.padded_len(), 54 * 1024);
    assert_eq!((table.tensors(), table.items()), (7, 9));
    assert_eq!(table.item_chunks.to_vec().unwrap(), [0, 1, 2, 4, 4, 20, 36, 52, 53, 54]);
    assert_eq!(table.item_tensor.to_vec().unwrap(), [0, 1, 2, 3, 4, 5, 5, 5, 6]);
    assert_eq!(table.tensor_items.to_vec().unwrap(), [0, 1, 2, 3, 4, 5, 8, 9]);
}

#[test]
fn a_state_of_another_length_is_refused() {
    for_each_device(|device| {
        let (p, short) = (Tensor::<f32>::zeros(device, [2048]).unwrap(), Tensor::<f32>::zeros(device, [1024]).unwrap());
        let (clock, rates) = (Tensor::zeros(device, [2]).unwrap(), Tensor::zeros(device, [1]).unwrap());
        let message = ops::sgd(&p, &p.clone(), &short, &clock, &rates, &SGD, None).unwrap_err().to_string();
        assert!(message.contains("`buffer` is [1024] but `p` is [2048]"), "{message}");
    });
}
