//! NVIDIA's libraries on the fake driver: cuDNN's plans are made for a card that is only described and run by interpretation, cuBLASLt's products
//! are computed by their definition. Both work in the stream's order, on the memory they are given, and are captured with everything else.

use crate::common::fake_cuda;
use crate::common::skipped::missing;
use crate::plan_interpreter::{interpret, name_of, tensors};
use cudarc::driver::sys::CUstream as Stream;
use half::{bf16, f16};
use rocl::Device;
use rocl::device::cublas::{CublasLt, Product, ProductKind};
use rocl::device::cudnn::{CARDS, Cudnn, Plan, Role};
use rocl::device::{Arithmetic, CudaOptions};
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;

/// A device with both; none, said aloud, where cuDNN is missing.
pub fn device(options: CudaOptions) -> Option<Device> {
    let device = with_products(options);
    let Device::Cuda(cuda) = &device else { unreachable!() };
    match simulated_cudnn() {
        Ok(cudnn) => {
            cuda.library(|_| Ok(cudnn)).unwrap();
            Some(device)
        }
        Err(error) => {
            missing(error);
            None
        }
    }
}

/// A cuDNN whose plans are interpreted.
pub fn simulated_cudnn() -> rocl::Result<Cudnn> {
    let card = CARDS.iter().find(|card| card.architecture == "sm_90").unwrap();
    let run = |plan: &Plan, stream, operands: &[_]| {
        run_plan(plan, stream, operands);
        Ok(())
    };
    Cudnn::simulated(card.name, card.properties, Box::new(run))
}

/// cuDNN on a [`device`].
pub fn cudnn(device: &Device) -> Rc<Cudnn> {
    let Device::Cuda(cuda) = device else { panic!("{device:?}") };
    cuda.library(|_| panic!("it was opened with the device")).unwrap()
}

/// A device that multiplies, but does not convolve.
pub fn with_products(options: CudaOptions) -> Device {
    let device = fake_cuda::device_with(options).unwrap();
    let Device::Cuda(cuda) = &device else { unreachable!() };
    let run = |product: &Product, stream, factors, bias, result| {
        multiply(*product, stream, factors, bias, result);
        Ok(())
    };
    cuda.library(|_| Ok(CublasLt::simulated(Rc::new(run)))).unwrap();
    device
}

type Cost = Box<dyn Fn(&Plan) -> u32>;

thread_local! {
    static COST: RefCell<Cost> = RefCell::new(Box::new(|_| 0));
}

/// How many more things to do a plan costs than the one it is.
pub fn set_cost(cost: impl Fn(&Plan) -> u32 + 'static) {
    COST.set(Box::new(cost));
}

fn run_plan(plan: &Plan, stream: Stream, operands: &[(Role, u64)]) {
    let description: Value = serde_json::from_str(&plan.describe().unwrap()).unwrap();
    let operands = operands.to_vec();
    (0..COST.with_borrow(|cost| cost(plan))).for_each(|_| fake_cuda::put(stream.cast(), || true));
    fake_cuda::put(stream.cast(), move || {
        let graph = &description["operationGraph"];
        let mut memory = tensors(graph);
        let mut arrays = Vec::new();
        for &(role, address) in &operands {
            let name = name_of(role);
            let described = graph["tensors"].as_array().unwrap().iter().find(|tensor| tensor["name"] == name.as_str()).unwrap();
            let values = &mut memory.get_mut(&name).unwrap().values;
            let array = Array { address, len: values.len(), storage: Storage::named(described["dataType"].as_str().unwrap()) };
            if !array.is_allocated() {
                eprintln!("{role:?} is not as large as the plan has it");
                return false;
            }
            *values = array.load();
            arrays.push((name, array));
        }
        let result = interpret(graph, &mut memory);
        let (_, array) = arrays.iter().find(|(name, _)| *name == result).unwrap();
        array.store(&memory[&result].values);
        true
    });
}

/// y = relu(x Wᵀ + b); dx = dy W; dW += dyᵀ x.
fn multiply(product: Product, stream: Stream, factors: [u64; 2], bias: Option<u64>, result: u64) {
    let Product { kind, rows, inputs, outputs, arithmetic } = product;
    fake_cuda::put(stream.cast(), move || {
        let narrow = Storage::of(arithmetic);
        let array = |address, len, storage| Array { address, len, storage };
        let (x, w, y) = (rows * inputs, outputs * inputs, rows * outputs);
        let (lens, result) = match kind {
            ProductKind::Forward { .. } => ([x, w], array(result, y, narrow)),
            ProductKind::InputGradient => ([y, w], array(result, x, narrow)),
            ProductKind::WeightGradient => ([x, y], array(result, w, Storage::F32)),
        };
        let factors = [0, 1].map(|i| array(factors[i], lens[i], narrow));
        let bias = bias.map(|bias| array(bias, outputs, narrow));
        if !factors.iter().chain(&bias).chain([&result]).all(Array::is_allocated) {
            return false;
        }
        let [a, b] = factors.map(|factor| factor.load());
        let bias = bias.map(|bias| bias.load());
        let sum = |len: usize, term: &dyn Fn(usize) -> f64| (0..len).map(term).sum::<f64>();
        let values: Vec<f64> = match kind {
            ProductKind::Forward { relu, .. } => (0..y)
                .map(|at| {
                    let (row, out) = (at / outputs, at % outputs);
                    let start = bias.as_ref().map_or(0.0, |bias| bias[out]);
                    let value = start + sum(inputs, &|i| a[row * inputs + i] * b[out * inputs + i]);
                    if relu { value.max(0.0) } else { value }
                })
                .collect(),
            ProductKind::InputGradient => {
                (0..x).map(|at| sum(outputs, &|out| a[at / inputs * outputs + out] * b[out * inputs + at % inputs])).collect()
            }
            ProductKind::WeightGradient => result
                .load()
                .iter()
                .enumerate()
                .map(|(at, old)| old + sum(rows, &|row| b[row * outputs + at / inputs] * a[row * inputs + at % inputs]))
                .collect(),
        };
        result.store(&values);
        true
    });
}

#[derive(Clone, Copy)]
enum Storage {
    F32,
    F16,
    Bf16,
}

impl Storage {
    /// As cuDNN calls it.
    fn named(name: &str) -> Self {
        match name {
            "CUDNN_DATA_FLOAT" => Self::F32,
            "CUDNN_DATA_HALF" => Self::F16,
            "CUDNN_DATA_BFLOAT16" => Self::Bf16,
            other => panic!("no such type here: {other}"),
        }
    }

    fn of(arithmetic: Arithmetic) -> Self {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::Tf32 => Self::F32,
            Arithmetic::F16 => Self::F16,
            Arithmetic::Bf16 => Self::Bf16,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Numbers in the fake GPU's memory.
struct Array {
    address: u64,
    len: usize,
    storage: Storage,
}

impl Array {
    fn is_allocated(&self) -> bool {
        fake_cuda::holds(self.address, self.len * self.storage.bytes())
    }

    fn load(&self) -> Vec<f64> {
        // SAFETY: allocated, as `is_allocated` has said, and initialised by the fake driver; nothing else runs meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(self.address as *const u8, self.len * self.storage.bytes()) };
        match self.storage {
            Storage::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
            Storage::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).into()).collect(),
            Storage::Bf16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).into()).collect(),
        }
    }

    fn store(&self, values: &[f64]) {
        // SAFETY: as in `load`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.address as *mut u8, self.len * self.storage.bytes()) };
        for (bytes, &value) in bytes.chunks_exact_mut(self.storage.bytes()).zip(values) {
            match self.storage {
                Storage::F32 => bytes.copy_from_slice(&(value as f32).to_le_bytes()),
                Storage::F16 => bytes.copy_from_slice(&f16::from_f64(value).to_le_bytes()),
                Storage::Bf16 => bytes.copy_from_slice(&bf16::from_f64(value).to_le_bytes()),
            }
        }
    }
}
