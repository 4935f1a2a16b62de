//! `kernels/loss_scale.cu`, and what the optimisers do with it.

use crate::support::*;
use half::{bf16, f16};
use rocl::ops::{self, AdamWSettings, ChunkTable, LarsSettings, LarsWorkspace, LossScale, LossScaleState, SgdSettings};
use rocl::{Device, Tensor};

/// Several items, one of many chunks, and an empty tensor.
const LENGTHS: [usize; 4] = [3, 0, 40_000, 1024];
const RATES: [f64; 1] = [0.1];

#[derive(Clone, Copy, Debug)]
enum Optimiser {
    Lars,
    Sgd,
    AdamW,
}

/// Parameters with gradients and an optimiser, all on a device.
struct Training<'a> {
    device: &'a Device,
    optimiser: Optimiser,
    table: ChunkTable,
    tensors: [Tensor<f32>; 4],
    clock: Tensor<i64>,
    rates: Tensor<f32>,
    workspace: LarsWorkspace<f32>,
}

impl<'a> Training<'a> {
    fn new(device: &'a Device, optimiser: Optimiser) -> Self {
        let table = ChunkTable::new(device, &LENGTHS).unwrap();
        let n = table.padded_len();
        let tensors = [1, 2, 3, 4].map(|seed| upload::<f32, 1>(device, [n], &uniform(seed, n, 0.0, 1.0)));
        let (clock, rates) = (Tensor::zeros(device, [2]).unwrap(), upload::<f32, 1>(device, [1], &RATES));
        let workspace = LarsWorkspace::new(device, &table).unwrap();
        Self { device, optimiser, table, tensors, clock, rates, workspace }
    }

    /// Sets the gradients, times `scale`.
    fn differentiate(&self, seed: u64, scale: f64) {
        let n = self.table.padded_len();
        let values: Vec<f64> = widened(&stored::<f32>(&uniform(seed, n, -1.0, 1.0)));
        self.tensors[1].write(&stored::<f32>(&values.iter().map(|v| v * scale).collect::<Vec<_>>())).unwrap();
    }

    fn step(&self, scale: Option<&LossScale<f32>>) {
        let Self { table, tensors: [p, g, a, b], clock, rates, workspace, .. } = self;
        let lars = LarsSettings { trust: 0.001, momentum: 0.9, weight_decay: 1e-2, epsilon: 0.0 };
        let sgd = SgdSettings { momentum: 0.9, weight_decay: 5e-4 };
        let adamw = AdamWSettings { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };
        match self.optimiser {
            Optimiser::Lars => ops::lars(p, g, a, table, clock, rates, &lars, workspace, scale),
            Optimiser::Sgd => ops::sgd(p, g, a, clock, rates, &sgd, scale),
            Optimiser::AdamW => ops::adamw(p, g, a, b, clock, rates, &adamw, scale),
        }
        .unwrap();
        let nothing = Tensor::<f32>::zeros(self.device, [1]).unwrap();
        ops::record_step(&nothing, &Tensor::zeros(self.device, [1, 1]).unwrap(), clock).unwrap();
    }

    /// Parameters and both kinds of state.
    fn state(&self) -> Vec<f32> {
        [0, 2, 3].map(|index| self.tensors[index].to_vec().unwrap()).concat()
    }
}

fn scale_of(training: &Training) -> LossScale<f32> {
    LossScale::new::<f16>(training.device, &training.table).unwrap().unwrap()
}

/// Powers of two are exact, so a scaled and unscaled step is the step without a scale, bit for bit.
#[test]
fn the_scale_cancels() {
    for optimiser in [Optimiser::Lars, Optimiser::Sgd, Optimiser::AdamW] {
        // Against itself: AdamW has an exponential.
        answers(|device| {
            let [scaled, plain] = [(); 2].map(|()| Training::new(device, optimiser));
            let scale = scale_of(&scaled);
            for step in 0..3 {
                scaled.differentiate(10 + step, 65536.0);
                plain.differentiate(10 + step, 1.0);
                scaled.step(Some(&scale));
                plain.step(None);
            }
            assert!(scaled.state() == plain.state(), "{optimiser:?}");
            scaled.state()
        });
    }
}

/// A single value that is not finite, wherever it is, skips the step: nothing moves, and the scale halves. What follows is as if the step
/// had not been.
#[test]
fn an_overflow_skips_the_step() {
    for optimiser in [Optimiser::Lars, Optimiser::Sgd, Optimiser::AdamW] {
        for (place, value) in [(0, f32::NAN), (41_023, f32::INFINITY), (43_007, f32::NEG_INFINITY)] {
            answers(|device| {
                let [skipping, plain] = [(); 2].map(|()| Training::new(device, optimiser));
                let scale = scale_of(&skipping);
                let before = skipping.state();
                skipping.differentiate(1, 65536.0);
                skipping.tensors[1].slice(place, [1]).unwrap().write(&[value]).unwrap();
                skipping.step(Some(&scale));
                assert!(skipping.state() == before, "{optimiser:?}: a skipped step changed something");
                assert!(scale.has_skipped().unwrap());
                let state = scale.state().unwrap();
                assert_eq!(state, LossScaleState { scale: 32768.0, good_steps: 0, skipped: 1, skipped_in_epoch: 1 });

                skipping.differentiate(2, 32768.0);
                skipping.step(Some(&scale));
                plain.differentiate(2, 1.0);
                plain.step(None);
                assert!(!scale.has_skipped().unwrap());
                assert!(skipping.state() == plain.state(), "{optimiser:?}: the skipped step counted");
                skipping.state()
            });
        }
    }
}

/// The scale over many steps, each with or without an overflow, from a given state.
fn course(device: &Device, bf: bool, from: LossScaleState, overflows: &[bool]) -> Vec<f64> {
    let training = Training::new(device, Optimiser::Sgd);
    let scale = if bf { LossScale::new::<bf16>(device, &training.table) } else { LossScale::new::<f16>(device, &training.table) };
    let scale = scale.unwrap().unwrap();
    scale.restore(from).unwrap();
    let step = |&overflow: &bool| {
        training.differentiate(1, 0.0);
        training.tensors[1].slice(5, [1]).unwrap().write(&[if overflow { f32::NAN } else { 0.0 }]).unwrap();
        training.step(Some(&scale));
        scale.state().unwrap().scale
    };
    overflows.iter().map(step).collect()
}

#[test]
fn the_scale_doubles_after_good_steps_and_halves_after_bad_ones() {
    for_each_device(|device| {
        let at = |scale, good_steps| LossScaleState { scale, good_steps, skipped: 0, skipped_in_epoch: 0 };
        assert_eq!(course(device, false, at(1024.0, 1998), &[false; 4]), [1024.0, 2048.0, 2048.0, 2048.0]);
        // A bad step starts the count anew.
        assert_eq!(course(device, false, at(1024.0, 1998), &[true, false, false]), [512.0; 3]);
        assert_eq!(course(device, false, at(2.0, 0), &[true; 3]), [1.0; 3], "not below 1");
        let most = 2f64.powi(24);
        assert_eq!(course(device, false, at(most, 1999), &[false; 2]), [most; 2], "not above 2²⁴");
        assert_eq!(course(device, true, at(1.0, 1999), &[false, true, false]), [1.0; 3], "bf16 keeps 1");
    });
}

#[test]
fn an_epoch_counts_its_own_skipped_steps() {
    let device = Device::host().unwrap();
    let training = Training::new(&device, Optimiser::Sgd);
    let scale = scale_of(&training);
    scale.restore(LossScaleState { scale: 8.0, good_steps: 7, skipped: 5, skipped_in_epoch: 2 }).unwrap();
    scale.begin_epoch().unwrap();
    let state = scale.state().unwrap();
    assert_eq!(state, LossScaleState { scale: 8.0, good_steps: 7, skipped: 5, skipped_in_epoch: 0 });
}

#[test]
fn only_a_skipped_step_is_undone() {
    for n in [1, 4, 33, 5000] {
        same_bits_everywhere(|device| {
            let training = Training::new(device, Optimiser::Sgd);
            let scale = scale_of(&training);
            let (after, before) = (stored::<f32>(&uniform(1, n, 0.0, 1.0)), stored::<f32>(&uniform(2, n, 0.0, 1.0)));
            let undone = |gradient: f32| {
                training.tensors[1].slice(0, [1]).unwrap().write(&[gradient]).unwrap();
                training.step(Some(&scale));
                let x = Tensor::from_slice(device, [n], &after).unwrap();
                ops::undo_if_skipped(&x, &Tensor::from_slice(device, [n], &before).unwrap(), &scale).unwrap();
                x.to_vec().unwrap()
            };
            assert_eq!(undone(0.5), after);
            assert_eq!(undone(f32::NAN), before);
            before.clone()
        });
    }
}
