//! What the device offers to libraries, and where it finds kernels.

use crate::common::skipped;
use crate::{devices, fake_cuda};
use rocl::device::{Cuda, CudaOptions, Graph, launch};
use rocl::{Device, Error, Tensor, ops};
use std::cell::Cell;
use std::rc::Rc;

fn cuda(device: &Device) -> &Rc<Cuda> {
    let Device::Cuda(cuda) = device else { panic!("{device:?}") };
    cuda
}

/// Tells when it is closed.
struct Library(Rc<Cell<bool>>);

impl Drop for Library {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn a_library_is_opened_once_and_closed_with_the_device() {
    if !devices::can_simulate() {
        return;
    }
    let device = fake_cuda::device();
    let closed = Rc::new(Cell::new(false));
    let open = |_: &Cuda| Ok(Library(closed.clone()));
    let failed = cuda(&device).library::<Library>(|_| Err(Error::Device("not there".to_owned())));
    assert!(failed.is_err());
    let first = cuda(&device).library(open).unwrap();
    let again = cuda(&device).library::<Library>(|_| panic!("opened again")).unwrap();
    assert!(Rc::ptr_eq(&first, &again));
    drop((first, again));
    assert!(!closed.get());
    drop(device);
    assert!(closed.get());
}

/// While there is no graph, nothing but the largest is needed.
#[test]
fn a_workspace_that_was_too_small_is_given_back() {
    let device = fake_cuda::device();
    let cuda = cuda(&device);
    let small = cuda.workspace(1 << 20).unwrap();
    let large = cuda.workspace(2 << 20).unwrap();
    assert!(large.address == small.address || !fake_cuda::holds(small.address, small.bytes));
}

#[test]
fn the_workspace_grows_and_stays_where_it_was() {
    if !devices::can_simulate() {
        return;
    }
    let device = fake_cuda::device();
    let cuda = cuda(&device);
    let (x, sum) = (Tensor::<f32>::zeros(&device, [4]).unwrap(), Tensor::<f32>::zeros(&device, [1]).unwrap());
    let mut any = Graph::new(&device);
    (0..3).for_each(|_| any.run(|| ops::weighted_sum(&x, 1.0, false, &sum)).unwrap());
    let small = cuda.workspace(1000).unwrap();
    assert_eq!(cuda.workspace(10).unwrap(), small);
    let large = cuda.workspace(2000).unwrap();
    assert_ne!(large, small, "a captured graph may still write to the smaller one");
    assert_eq!([1000, 2000].map(|bytes| cuda.workspace(bytes).unwrap()), [large; 2]);

    let mut graph = Graph::new(&device);
    let mut step = |bytes: usize| {
        graph.run(|| {
            cuda.workspace(bytes)?;
            ops::weighted_sum(&x, 1.0, false, &sum)
        })
    };
    (0..2).for_each(|_| step(2000).unwrap());
    let message = step(3000).unwrap_err().to_string();
    assert!(message.contains("cannot allocate memory"), "{message}");
    step(2000).unwrap();
}

/// The other tests look kernels up in a module without code; here they come from the code that the program carries.
#[test]
fn embedded_code_has_every_kernel_under_its_name() {
    if !devices::can_simulate() {
        return;
    }
    if !launch::has_gpu_code() {
        return skipped("this build carries no GPU code");
    }
    fake_cuda::device();
    let device = Device::cuda_with(CudaOptions::default()).unwrap();
    let (x, sum) = (Tensor::from_slice(&device, [4], &[1.0f32, 2.0, 3.0, 4.0]).unwrap(), Tensor::zeros(&device, [1]).unwrap());
    ops::weighted_sum(&x, 0.5, false, &sum).unwrap();
    assert_eq!(sum.to_vec().unwrap(), [5.0]);
    let (wide, single) = (Tensor::<f64>::zeros(&device, [4]).unwrap(), Tensor::<f64>::zeros(&device, [1]).unwrap());
    let message = ops::weighted_sum(&wide, 1.0, false, &single).unwrap_err().to_string();
    assert!(message.contains("does not exist for f64 on a GPU"), "{message}");
}
