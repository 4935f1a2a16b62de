//! Steps that are captured once and replayed.

use crate::common::devices::TestDevice;
use crate::{devices, fake_cuda};
use rocl::device::Graph;
use rocl::{Device, Result, Tensor, ops};

/// A step that counts: x goes up by the gradient's sign times the step size, and stays where ε ends.
struct Counter {
    x: Tensor<f32>,
    gradient: Tensor<f32>,
    clean: Tensor<f32>,
}

impl Counter {
    fn new(device: &Device) -> Self {
        let zeros = || Tensor::zeros(device, [5]).unwrap();
        let gradient = Tensor::from_slice(device, [5], &[1.0; 5]).unwrap();
        Self { x: zeros(), gradient, clean: zeros() }
    }

    fn step(&self) -> Result<()> {
        ops::pgd_linf_step(&self.x, &self.gradient, &self.clean, 1.0 / 1024.0, 1.0)
    }

    /// Steps done, since the last are in x.
    fn steps(&self) -> f32 {
        self.x.to_vec().unwrap()[4] * 1024.0
    }
}

#[test]
fn a_step_runs_once_each_time_captured_or_not() {
    let with_driver = devices::with_driver().flat_map(|device| [(device.open(), true), (device.open_eager(), false)]);
    for (device, captures) in with_driver.chain([(Device::host().unwrap(), false)]) {
        let (counter, mut graph) = (Counter::new(&device), Graph::new(&device));
        for run in 1..=40 {
            graph.run(|| counter.step()).unwrap();
            if run % 7 < 3 {
                assert_eq!(counter.steps(), run as f32, "{device:?}");
            }
        }
        assert_eq!(graph.is_captured(), captures, "{device:?}");
    }
}

#[test]
fn what_a_replayed_step_reads_may_change_in_between() {
    for device in devices::with_driver().map(TestDevice::open) {
        let (counter, mut graph) = (Counter::new(&device), Graph::new(&device));
        (0..5).for_each(|_| graph.run(|| counter.step()).unwrap());
        counter.x.write(&[0.5; 5]).unwrap();
        (0..3).for_each(|_| graph.run(|| counter.step()).unwrap());
        assert_eq!(counter.steps(), 512.0 + 3.0);
        counter.gradient.write(&[-1.0; 5]).unwrap();
        graph.run(|| counter.step()).unwrap();
        assert_eq!(counter.steps(), 512.0 + 2.0);
    }
}

/// With a GPU that does nothing until it must, a program that never waits would get away.
#[test]
fn the_program_does_not_run_away_from_the_gpu() {
    if !devices::can_simulate() {
        return;
    }
    let device = fake_cuda::device();
    let (counter, mut graph) = (Counter::new(&device), Graph::new(&device));
    let before = fake_cuda::kernels_run();
    for launched in 1..=100 {
        graph.run(|| counter.step()).unwrap();
        let done = fake_cuda::kernels_run() - before;
        // Two marks of eight steps each.
        assert!(launched - done <= 16, "{launched} steps launched, {done} done");
    }
}

type Step = fn(&Counter, &Device) -> Result<()>;

#[test]
fn a_captured_step_does_nothing_that_a_graph_cannot_hold() {
    let forbidden: [(&str, Step); 5] = [
        ("cannot allocate memory, as it does after kernel pgd_linf_step", |_, device| {
            Tensor::<f32>::zeros(device, [1]).map(drop)
        }),
        ("cannot write to the GPU, as it does after kernel pgd_linf_step", |counter, _| counter.x.write(&[0.0; 5])),
        ("cannot read from the GPU", |counter, _| counter.x.to_vec().map(drop)),
        ("cannot be waited for", |_, device| device.synchronize()),
        ("cannot load kernel weighted_sum", |counter, _| ops::weighted_sum(&counter.x, 1.0, false, &counter.clean.rows(0..1)?)),
    ];
    for (device, (message, step)) in devices::with_driver().flat_map(|device| forbidden.map(|case| (device.open(), case))) {
        let (counter, mut graph) = (Counter::new(&device), Graph::new(&device));
        (0..2).for_each(|_| graph.run(|| counter.step()).unwrap());
        let error = graph.run(|| counter.step().and_then(|()| step(&counter, &device))).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains("do so before the step"), "{error}");
        // What was captured did not run, and the device goes on.
        graph.run(|| counter.step()).unwrap();
        assert_eq!(counter.steps(), 3.0);
    }
}

#[test]
fn a_step_may_copy_and_clear_on_the_device() {
    for device in devices::with_driver().map(TestDevice::open) {
        let (counter, mut graph) = (Counter::new(&device), Graph::new(&device));
        let copy = Tensor::<f32>::zeros(&device, [5]).unwrap();
        for _ in 0..6 {
            let run = graph.run(|| {
                counter.x.clear()?;
                counter.step()?;
                copy.copy_from(&counter.x)
            });
            run.unwrap();
        }
        assert_eq!(copy.to_vec().unwrap(), [1.0 / 1024.0; 5]);
    }
}

/// The fake driver notices what a GPU may let pass: this is how the other tests know that nothing is freed too early.
#[test]
fn a_graph_that_outlives_its_tensors_fails() {
    if !devices::can_simulate() {
        return;
    }
    let device = fake_cuda::device();
    let (counter, mut graph) = (Counter::new(&device), Graph::new(&device));
    (0..4).for_each(|_| graph.run(|| counter.step()).unwrap());
    drop(counter);
    graph.run(|| Ok(())).unwrap();
    assert!(device.synchronize().unwrap_err().to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS"));
}
