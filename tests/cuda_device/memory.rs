//! Allocations and copies.

use crate::common::devices::TestDevice;
use crate::{devices, fake_cuda};
use rocl::{Device, Result, Tensor};

/// Values that differ from place to place, and from one `salt` to another.
fn values(len: usize, salt: u32) -> Vec<u32> {
    (0..len as u32).map(|i| (i ^ salt).wrapping_mul(0x9E37_79B9)).collect()
}

#[test]
fn memory_starts_as_zeros() {
    for device in devices::with_driver().map(TestDevice::open) {
        assert_eq!(Tensor::<f32>::zeros(&device, [1000]).unwrap().to_vec().unwrap(), vec![0.0; 1000]);
        assert_eq!(Tensor::<f32>::zeros(&device, [0]).unwrap().to_vec().unwrap(), vec![0.0; 0]);
        Tensor::<f32>::zeros(&device, [0, 3]).unwrap().write(&[]).unwrap();
    }
}

/// More than the staging buffers hold, with a ragged end: each is used several times before anything waits.
#[test]
fn large_copies_arrive_whole_and_in_order() {
    const LEN: usize = (21 << 18) + 12_345;
    for device in devices::with_driver().map(TestDevice::open) {
        let (first, second) = (values(LEN, 1), values(LEN, 2));
        let (a, b) = (Tensor::<u32>::zeros(&device, [LEN]).unwrap(), Tensor::<u32>::zeros(&device, [LEN]).unwrap());
        a.write(&first).unwrap();
        b.copy_from(&a).unwrap();
        a.write(&second).unwrap();
        assert!(b.to_vec().unwrap() == first, "the copy is of what was there when it was asked for");
        assert!(a.to_vec().unwrap() == second);
    }
}

#[test]
fn parts_are_written_read_and_cleared() {
    for device in devices::with_driver().map(TestDevice::open) {
        let tensor = Tensor::from_slice(&device, [10, 3], &values(30, 3)).unwrap();
        let mut expected = values(30, 3);
        tensor.rows(2..4).unwrap().write(&[7; 6]).unwrap();
        expected[6..12].fill(7);
        tensor.rows(8..10).unwrap().clear().unwrap();
        expected[24..].fill(0);
        tensor.rows(0..1).unwrap().copy_from(&tensor.rows(3..4).unwrap()).unwrap();
        expected.copy_within(9..12, 0);
        assert_eq!(tensor.to_vec().unwrap(), expected);
        assert_eq!(tensor.rows(1..3).unwrap().to_vec().unwrap(), expected[3..9]);
    }
}

#[test]
fn what_is_in_use_is_counted() {
    for device in devices::with_driver().map(TestDevice::open) {
        let first = Tensor::<f32>::zeros(&device, [100]).unwrap();
        let second = Tensor::<f32>::zeros(&device, [50]).unwrap();
        let view = second.clone();
        drop((first, second));
        assert_eq!(device.memory_use(), (200, 600));
        drop(view);
        assert_eq!(device.memory_use(), (0, 600));
    }
}

#[test]
fn tensors_of_two_devices_do_not_mix() {
    let Some(cuda) = devices::with_driver().next() else { return };
    let (first, second, host) = (cuda.open(), cuda.open(), Device::host().unwrap());
    let on = |device| Tensor::<f32>::zeros(device, [4]).unwrap();
    for other in [&second, &host] {
        let message = on(&first).copy_from(&on(other)).unwrap_err().to_string();
        assert!(message.contains("different devices"), "{message}");
        let message = rocl::ops::unit_range(
            &Tensor::zeros(other, [1, 32, 32, 3]).unwrap(),
            &Tensor::<f32>::zeros(&first, [1, 32, 32, 3]).unwrap(),
        );
        let message = message.unwrap_err().to_string();
        assert!(message.contains("different devices"), "{message}");
    }
}

/// Some memory that stays and some that does not, with a launch in between.
fn build(device: &Device) -> Result<Vec<Tensor<f32>>> {
    let values = Tensor::from_slice(device, [3 << 18], &vec![1.0; 3 << 18])?;
    let sum = Tensor::zeros(device, [1])?;
    rocl::ops::weighted_sum(&Tensor::zeros(device, [2 << 18])?, 1.0, false, &sum)?;
    rocl::ops::weighted_sum(&values, 1.0, false, &sum)?;
    Ok(vec![values, sum])
}

#[test]
fn what_is_needed_is_known_before_it_is_allocated() {
    if !devices::can_simulate() {
        return;
    }
    let device = fake_cuda::device();
    let _before = Tensor::<f32>::zeros(&device, [1 << 18]).unwrap();
    // 3 MiB, a number, and for a while 2 MiB.
    let needs = device.needs(|dry| build(dry).map(drop)).unwrap();
    assert_eq!((needs.bytes(), needs.tensors), ((5 << 20) + 4, (5 << 20) + 4));
    fake_cuda::set("free=5,cuMemAlloc_v2=2");
    let message = device.check_room("the run", &needs, |free| format!("{} bytes are all", free)).unwrap_err().to_string();
    let expected =
        "the run needs 6 MiB, and Fake GPU has 5 of 8192 MiB free; 5242880 bytes are all; nvidia-smi shows who uses the rest";
    assert_eq!(message, expected);
    fake_cuda::set("free=6");
    device.check_room("the run", &needs, |_| unreachable!("there is room")).unwrap();
    fake_cuda::set("");
    assert_eq!(device.memory_use(), (1 << 20, 1 << 20), "nothing was allocated");
    let most = fake_cuda::most_allocated(|| {
        let built = build(&device).unwrap();
        assert_eq!(built[1].to_vec().unwrap(), [(3 << 18) as f32], "made for real");
    });
    assert_eq!((most, device.memory_use()), (needs.bytes(), (1 << 20, (6 << 20) + 4)));
}

/// What libraries compute in is the device's, and counts with it.
#[test]
fn scratch_memory_is_counted() {
    if !devices::can_simulate() {
        return;
    }
    let device = fake_cuda::device();
    let Device::Cuda(cuda) = &device else { panic!("{device:?}") };
    cuda.workspace(1000).unwrap();
    assert_eq!(device.memory_use(), (1000, 1000));
    cuda.workspace(3000).unwrap();
    assert_eq!(device.memory_use(), (3000, 3000), "the smaller one is given back first");
    cuda.workspace(2000).unwrap();
    assert_eq!(device.memory_use(), (3000, 3000));
}
