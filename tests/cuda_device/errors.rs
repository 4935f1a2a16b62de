//! What the driver refuses, as sentences.

use crate::{devices, fake_cuda, libraries};
use rocl::device::CudaOptions;
use rocl::{Device, Tensor, ops};

/// What opening a device says on a machine as given to `fake_cuda::set`.
fn refusal(machine: &str) -> String {
    fake_cuda::set(machine);
    let refused = fake_cuda::device_with(CudaOptions::default());
    fake_cuda::set("");
    refused.err().unwrap_or_else(|| panic!("{machine} opens")).to_string()
}

#[test]
fn a_machine_that_cannot_serve_says_why_and_what_to_do() {
    if !devices::can_simulate() {
        return;
    }
    for (machine, parts) in [
        ("devices=0", ["finds no GPU", "nvidia-smi"]),
        ("cuInit=100", ["finds no GPU", "CUDA_VISIBLE_DEVICES"]),
        ("cuDeviceGetCount=100", ["finds no GPU", "--device cpu"]),
        ("cuInit=34", ["stub and no driver", "LD_LIBRARY_PATH"]),
        ("cuInit=803", ["different versions", "restart"]),
        ("cuInit=999", ["does not start: CUDA_ERROR_OF_THE_FAKE (as the test asked for)", "nvidia-smi"]),
        ("version=11080", ["supports CUDA 11.8 at most", "525 or later"]),
        ("capability=61", ["compute capability 6.1, but the kernels need 7.5", "--device cpu"]),
        ("cuDevicePrimaryCtxRetain=46", ["cannot open Fake GPU", "nvidia-smi"]),
        ("cuStreamCreate=999", ["cannot open Fake GPU", "nvidia-smi"]),
        ("cuMemHostAlloc=2", ["cannot open Fake GPU: CUDA_ERROR_OUT_OF_MEMORY", "nvidia-smi"]),
    ] {
        let message = refusal(machine);
        assert!(parts.iter().all(|part| message.contains(part)), "{machine}: {message}");
    }
}

#[test]
fn a_gpu_that_is_not_there_is_named_with_those_that_are() {
    if !devices::can_simulate() {
        return;
    }
    for (machine, expected) in
        [("", "there is no GPU cuda:4; there is one GPU, cuda:0"), ("devices=3", "there are 3, cuda:0 to cuda:2")]
    {
        fake_cuda::set(machine);
        let message = fake_cuda::device_with(CudaOptions { ordinal: 4, ..CudaOptions::default() }).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    }
    fake_cuda::set("devices=3");
    let device = fake_cuda::device_with(CudaOptions { ordinal: 2, ..CudaOptions::default() }).unwrap();
    assert_eq!(device.description(), "Fake GPU (cuda:2), 8 GiB");
}

#[test]
fn too_little_memory_says_what_needs_less() {
    if !devices::can_simulate() {
        return;
    }
    let device = fake_cuda::device();
    let _held = Tensor::<f32>::zeros(&device, [3 << 18]).unwrap();
    fake_cuda::set("cuMemAlloc_v2=2");
    let message = Tensor::<f32>::zeros(&device, [5 << 18]).unwrap_err().to_string();
    let expected = "no room for another 5 MiB (3 MiB used by this run, 1024 of 8192 MiB free); a smaller --batch-size";
    assert!(message.contains(expected), "{message}");
    fake_cuda::set("");
    assert_eq!(device.memory_use().0, 3 << 20, "what failed is not counted");
    Tensor::<f32>::zeros(&device, [5 << 18]).unwrap();
}

fn launch(device: &Device) -> rocl::Result<Tensor<f32>> {
    let x = Tensor::<f32>::from_slice(device, [4], &[0.5; 4])?;
    ops::weighted_sum(&x, 1.0, false, &Tensor::zeros(device, [1])?)?;
    Ok(x)
}

#[test]
fn a_launch_that_is_refused_names_its_kernel() {
    if !devices::can_simulate() {
        return;
    }
    for (failing, part) in [
        ("cuLaunchKernel=701", "kernel weighted_sum cannot be launched on 1 blocks"),
        ("cuModuleLoadData=209", "no code of kernels/reduce.cu for Fake GPU (sm_90); build it with ROCL_CUDA_ARCHS"),
        ("cuModuleGetFunction=500", "kernel weighted_sum cannot be loaded on Fake GPU"),
    ] {
        let device = fake_cuda::device();
        fake_cuda::set(failing);
        let message = launch(&device).unwrap_err().to_string();
        fake_cuda::set("");
        assert!(message.contains(part), "{failing}: {message}");
    }
}

/// As on a GPU, the launch itself succeeds.
#[test]
fn a_kernel_that_fails_is_named_at_the_next_wait() {
    if !devices::can_simulate() {
        return;
    }
    let device = fake_cuda::device();
    fake_cuda::set("kernel=weighted_sum");
    let x = launch(&device).unwrap();
    let message = x.to_vec().unwrap_err().to_string();
    assert!(
        message.contains("kernel weighted_sum, or something launched before it, failed: CUDA_ERROR_ILLEGAL_ADDRESS"),
        "{message}"
    );
    assert!(message.contains("ROCL_CUDA_SYNC=1"), "{message}");
    let message = launch(&device).unwrap_err().to_string();
    assert!(message.contains("kernel weighted_sum, or something launched before it"), "an error of the GPU stays: {message}");

    let device = fake_cuda::device_with(CudaOptions { synchronous: true, ..CudaOptions::default() }).unwrap();
    let message = launch(&device).unwrap_err().to_string();
    assert!(message.contains("kernel weighted_sum failed: CUDA_ERROR_ILLEGAL_ADDRESS"), "{message}");
    fake_cuda::set("");
}

/// Calls of libraries are launches too: what fails in one is not blamed on the kernel before it.
#[test]
fn a_library_call_that_fails_is_named() {
    if !devices::can_simulate() {
        return;
    }
    let multiply = |device: &Device| {
        let zeros = |shape: [usize; 2]| Tensor::<f32>::zeros(device, shape);
        let (x, weight, y) = (launch(device)?.slice(0, [1, 4])?, zeros([8, 4])?, zeros([1, 8])?);
        fake_cuda::set("put=1");
        let outcome = ops::linear(&x, &weight, None, false, &y).map(|()| y);
        fake_cuda::set("");
        outcome
    };
    let message = multiply(&libraries::with_products(CudaOptions::default())).unwrap().to_vec().unwrap_err().to_string();
    let late = "library call linear_fprop, or something launched before it, failed: CUDA_ERROR_ILLEGAL_ADDRESS";
    assert!(message.contains(late) && message.contains("ROCL_CUDA_SYNC=1"), "{message}");

    let synchronous = libraries::with_products(CudaOptions { synchronous: true, ..CudaOptions::default() });
    let message = multiply(&synchronous).map(drop).unwrap_err().to_string();
    assert!(
        message.contains("library call linear_fprop (") && message.contains("failed: CUDA_ERROR_ILLEGAL_ADDRESS"),
        "{message}"
    );
}

/// Libraries work in the context of the thread, which is that of the GPU used last.
#[test]
fn two_gpus_take_turns_on_one_thread() {
    if !devices::can_simulate() {
        return;
    }
    fake_cuda::set("devices=2");
    let devices = [0, 1].map(|ordinal| libraries::with_products(CudaOptions { ordinal, ..CudaOptions::default() }));
    let operands = devices.each_ref().map(|device| {
        let ones = |shape: [usize; 2]| Tensor::<f32>::from_slice(device, shape, &vec![1.0; shape[0] * shape[1]]).unwrap();
        [ones([2, 4]), ones([8, 4]), ones([2, 8])]
    });
    for [x, weight, y] in operands.iter().chain(&operands) {
        ops::linear(x, weight, None, false, y).unwrap();
    }
    for [_, _, y] in &operands {
        assert_eq!(y.to_vec().unwrap(), [4.0; 16]);
    }
    fake_cuda::set("");
}

#[test]
fn a_graph_that_cannot_be_made_says_how_to_do_without() {
    if !devices::can_simulate() {
        return;
    }
    for failing in ["cuStreamEndCapture=900", "cuGraphInstantiateWithFlags=2"] {
        let device = fake_cuda::device();
        let (x, sum) = (Tensor::<f32>::zeros(&device, [4]).unwrap(), Tensor::<f32>::zeros(&device, [1]).unwrap());
        let mut graph = rocl::device::Graph::new(&device);
        (0..2).for_each(|_| graph.run(|| ops::weighted_sum(&x, 1.0, false, &sum)).unwrap());
        fake_cuda::set(failing);
        let message = graph.run(|| ops::weighted_sum(&x, 1.0, false, &sum)).unwrap_err().to_string();
        fake_cuda::set("");
        assert!(message.contains("cannot be captured as a graph") && message.contains("ROCL_CUDA_SYNC=1"), "{message}");
    }
}

#[test]
fn without_a_library_convolutions_say_what_to_do() {
    if !devices::can_simulate() {
        return;
    }
    fake_cuda::device();
    let options = CudaOptions { simulated: true, ..CudaOptions::default() };
    let device = Device::cuda_with(options).unwrap();
    let zeros = |shape: [usize; 4]| Tensor::<f32>::zeros(&device, shape).unwrap();
    let (x, filter, y) = (zeros([1, 4, 4, 2]), zeros([2, 3, 3, 2]), zeros([1, 4, 4, 2]));
    let message = ops::conv_fprop(&x, &filter, 1, 1, ops::Epilogue::default(), &y).unwrap_err().to_string();
    // There is none, or it finds no GPU behind this driver.
    assert!(message.contains("cuDNN"), "{message}");
}
