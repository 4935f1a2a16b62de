//! What NVML says of a card at work, and the ranges that NVTX is told of; from libraries of our own under their names.

mod common;

use common::{devices, fake_cuda};
use rocl::Device;
use rocl::bench::gauge::{Gauge, Spread};
use rocl::bench::subject::pretraining;
use rocl::recipe::Recipe;
use rocl::recipe::settings::Overrides;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::process::Command;
use std::time::Duration;

const SOURCE: &str = include_str!("fake_cuda/monitors.cpp");
/// Set in the process that is to load NVTX.
const CHILD: &str = "ROCL_TEST_CHILD";

#[test]
fn a_card_says_what_it_does_under_load() {
    if !devices::can_simulate() {
        return;
    }
    fake_cuda::library("libnvidia-ml.so.1", SOURCE);
    let device = fake_cuda::device();
    let runs = Cell::new(0);
    let work = || {
        runs.set(runs.get() + 1);
        Ok(())
    };
    let load = Gauge::open(&device).unwrap().unwrap().load(Duration::from_millis(20), work).unwrap();
    assert_eq!(load.runs, runs.get());
    assert_eq!(load.driver.as_deref(), Some("580.1.2"));
    let sm = load.sm_mhz.unwrap();
    assert_eq!((sm.min, sm.max), (1470.0, 1500.0), "it went down from 1500 and stayed");
    assert_eq!(load.memory_mhz, Some(Spread { min: 3000.0, median: 3000.0, max: 3000.0 }));
    assert_eq!(load.watts.unwrap().median, 300.0);
    assert_eq!(load.celsius, None);
    // 60 J went by from the look before to the one after.
    assert_eq!(load.joules_per_run, Some(60.0 / runs.get() as f64));
    assert_eq!(load.held_back_by.as_deref(), Some(&["sw power cap".to_owned()][..]), "idling is no reason");
    let line = load.line("a step");
    assert!(line.contains("300 W (300 to 300)") && line.contains("held back by sw power cap"), "{line}");
    assert!(Gauge::open(&Device::host().unwrap()).unwrap().is_none());
}

#[test]
fn profilers_see_the_phases_of_a_step() {
    if !devices::can_simulate() {
        return;
    }
    // A process looks for NVTX once, and in the folders that are named first of all: one of its own, where none are.
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "profilers_see_the_phases_of_a_step"]).env(CHILD, "1").env_remove("ROCL_CUDA_LIBS");
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let library = fake_cuda::library("libnvtx3interop.so.1", SOURCE);
    let overrides = Overrides { width: Some(2), batch_size: Some(4), attack_steps: Some(1), ..Overrides::default() };
    let run = pretraining::<f32>(&fake_cuda::device(), &Recipe::load("paper").unwrap().with(&overrides).unwrap()).unwrap();
    let told = || {
        let mut text = [0 as c_char; 256];
        // SAFETY: the function's signature in `monitors.cpp`.
        unsafe {
            let function = libc::dlsym(library, c"fake_ranges".as_ptr());
            std::mem::transmute::<*mut c_void, extern "C" fn(*mut c_char, c_uint)>(function)(text.as_mut_ptr(), 256);
            CStr::from_ptr(text.as_ptr()).to_str().unwrap().to_owned()
        }
    };
    run.step().unwrap();
    assert_eq!(told(), "+augment-+attack-+regularizer-+main-+optimizer-");
    pretraining::<f32>(&Device::host().unwrap(), run.recipe()).unwrap().step().unwrap();
    assert_eq!(told(), "", "a CPU has other profilers");
}
