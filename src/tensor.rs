//! [`Tensor`]: a typed handle on device memory with a shape.
//!
//! A tensor is what a pointer is in CUDA: cloning it or slicing it shares the memory. Kernels write through the handle; the launch checks
//! that no kernel is given overlapping memory to write. Handles stay on the thread that drives the device.

use crate::device::record::{self, Call};
use crate::device::{Device, Memory, noise};
use crate::{Error, Result};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::Range;
use std::rc::Rc;

/// Up to four dimensions, row-major; images are `[n, height, width, channels]`, filters `[k, r, s, c]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    dims: [usize; 4],
    rank: usize,
}

impl Shape {
    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(given: [usize; N]) -> Self {
        const { assert!(N <= 4, "a tensor has at most four dimensions") };
        let mut dims = [1; 4];
        dims[..N].copy_from_slice(&given);
        Self { dims, rank: N }
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

/// A typed handle on device memory; see the [module](self).
pub struct Tensor<E> {
    memory: Rc<Memory>,
    /// In elements, from the start of the allocation.
    offset: usize,
    shape: Shape,
    element: PhantomData<E>,
}

impl<E> Clone for Tensor<E> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), offset: self.offset, shape: self.shape, element: PhantomData }
    }
}

impl<E> std::fmt::Debug for Tensor<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Tensor<{}>{:?}", std::any::type_name::<E>(), self.shape)
    }
}

impl<E: Pod> Tensor<E> {
    /// Allocates zeros, or [noise]. Fails when the device has no room, naming the size.
    pub fn zeros(device: &Device, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        let memory = Rc::new(device.allocate(shape.len() * size_of::<E>())?);
        let tensor = Self { memory, offset: 0, shape, element: PhantomData };
        noise::fill(&tensor)?;
        Ok(tensor)
    }

    /// Allocates and copies `values` in.
    pub fn from_slice(device: &Device, shape: impl Into<Shape>, values: &[E]) -> Result<Self> {
        let tensor = Self::zeros(device, shape)?;
        tensor.write(values)?;
        Ok(tensor)
    }

    /// The device the memory is on.
    pub fn device(&self) -> &Device {
        self.memory.device()
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the outermost dimension.
    pub fn rows_len(&self) -> usize {
        self.dims().first().copied().unwrap_or(1)
    }

    /// The dimensions as an array; fails when there are not exactly `N`.
    pub fn dims_of<const N: usize>(&self, op: &'static str) -> Result<[usize; N]> {
        self.dims()
            .try_into()
            .map_err(|_| Error::shape(op, format!("a tensor of {N} dimensions is needed, not {:?}", self.shape)))
    }

    /// A view of a range of the outermost dimension.
    pub fn rows(&self, range: Range<usize>) -> Result<Self> {
        let rows = self.rows_len();
        if range.start > range.end || range.end > rows || self.shape.rank == 0 {
            return Err(Error::shape("rows", format!("rows {range:?} do not lie within {:?}", self.shape)));
        }
        let mut shape = self.shape;
        shape.dims[0] = range.len();
        let row = self.len().checked_div(rows).unwrap_or(0);
        Ok(Self { offset: self.offset + range.start * row, shape, ..self.clone() })
    }

    /// A view of `shape` that starts `offset` elements in.
    pub fn slice(&self, offset: usize, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if offset + shape.len() > self.len() {
            return Err(Error::shape("slice", format!("{shape:?} from element {offset} does not lie within {:?}", self.shape)));
        }
        Ok(Self { offset: self.offset + offset, shape, ..self.clone() })
    }

    /// Copies the elements to the host, after everything launched before has finished.
    pub fn to_vec(&self) -> Result<Vec<E>> {
        let mut values = vec![E::zeroed(); self.len()];
        self.memory.read(self.offset * size_of::<E>(), bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// Copies `values` to the device; the lengths must agree.
    pub fn write(&self, values: &[E]) -> Result<()> {
        if values.len() != self.len() {
            return Err(Error::shape("write", format!("{} values do not fill {:?}", values.len(), self.shape)));
        }
        self.memory.write(self.offset * size_of::<E>(), bytemuck::cast_slice(values))
    }

    /// Copies the elements of `source`, which has the same length and is on the same device.
    pub fn copy_from(&self, source: &Self) -> Result<()> {
        if source.len() != self.len() {
            return Err(Error::shape("copy", format!("{:?} does not fit into {:?}", source.shape, self.shape)));
        }
        if !self.device().is(source.device()) {
            return Err(Error::shape(
                "copy",
                "the tensors are on different devices; copy through the host, by `to_vec` and `write`",
            ));
        }
        let call = || {
            let (from, to, bytes) = (source.clone(), self.clone(), (self.len() * size_of::<E>()) as u64);
            Call::new("memcpy", "u8", format!("{bytes} bytes"), move || to.copy_now(&from)).moving(bytes, bytes)
        };
        record::perform(|| self.copy_now(source), call)
    }

    fn copy_now(&self, source: &Self) -> Result<()> {
        let size = size_of::<E>();
        self.memory.copy(self.offset * size, &source.memory, source.offset * size, self.len() * size)
    }

    /// Sets every byte to zero.
    pub fn clear(&self) -> Result<()> {
        let call = || {
            let (to, bytes) = (self.clone(), (self.len() * size_of::<E>()) as u64);
            Call::new("memset", "u8", format!("{bytes} bytes"), move || to.clear_now()).moving(0, bytes)
        };
        record::perform(|| self.clear_now(), call)
    }

    fn clear_now(&self) -> Result<()> {
        self.memory.clear(self.offset * size_of::<E>(), self.len() * size_of::<E>())
    }

    /// All of `memory`'s beginning that `shape` takes; the memory is at least that large.
    pub(crate) fn of_memory(memory: Rc<Memory>, shape: impl Into<Shape>) -> Self {
        Self { memory, offset: 0, shape: shape.into(), element: PhantomData }
    }

    /// The allocation this is a part of.
    pub(crate) fn memory(&self) -> &Rc<Memory> {
        &self.memory
    }

    /// The address of the first element, as the device sees it.
    pub(crate) fn address(&self) -> u64 {
        self.memory.address() + (self.offset * size_of::<E>()) as u64
    }

    /// The same handle under another name for its element type, when both are the same type.
    pub fn same_type<F: Pod>(&self) -> Option<Tensor<F>> {
        (std::any::TypeId::of::<E>() == std::any::TypeId::of::<F>()).then(|| Tensor {
            memory: self.memory.clone(),
            offset: self.offset,
            shape: self.shape,
            element: PhantomData,
        })
    }
}
