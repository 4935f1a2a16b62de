//! `kernels/clock.cu`.

use crate::support::*;
use rocl::{Tensor, ops};

#[test]
fn steps_are_logged_and_counted() {
    for_each_device(|device| {
        let (values, log) = (Tensor::<f32>::zeros(device, [3]).unwrap(), Tensor::<f32>::zeros(device, [4, 3]).unwrap());
        let clock = Tensor::from_slice(device, [2], &[1i64, 100]).unwrap();
        // One step more than there is room for: it counts, and nothing is written past the log.
        for step in 1..5 {
            values.write(&[step as f32, 0.5, -1.0]).unwrap();
            ops::record_step(&values, &log, &clock).unwrap();
        }
        assert_eq!(clock.to_vec().unwrap(), [5, 104]);
        assert_eq!(log.to_vec().unwrap(), [0.0, 0.0, 0.0, 1.0, 0.5, -1.0, 2.0, 0.5, -1.0, 3.0, 0.5, -1.0]);
    });
}

#[test]
fn a_log_of_another_width_is_refused() {
    for_each_device(|device| {
        let (values, log) = (Tensor::<f32>::zeros(device, [3]).unwrap(), Tensor::<f32>::zeros(device, [4, 2]).unwrap());
        let message = ops::record_step(&values, &log, &Tensor::zeros(device, [2]).unwrap()).unwrap_err().to_string();
        assert!(message.contains("`values` is [3] but must be [2]"), "{message}");
    });
}
