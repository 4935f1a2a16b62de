//! All trainable parameters of a model, in one flat arena.
//!
//! Values, gradients and optimiser state lie in flat tensors with equal offsets, each parameter padded with zeros to whole chunks of
//! [`CHUNK`](crate::ops::CHUNK) elements. So the optimiser runs over all of them in one or two launches, gradients are cleared in one,
//! and the working copies of 16-bit training are cast in one. The padding stays zero under every optimiser; a kernel that wrote past its
//! parameter would show there.

use crate::element::Element;
use crate::ops::{self, ChunkTable, LossScale};
use crate::{Device, Error, Result, Tensor};

/// Name and shape of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// As in the reference's state dict, behind `model/` or `projector/`.
    pub name: String,
    /// Filters are `[k, r, s, c]`, linear weights `[out, in]`.
    pub dims: Vec<usize>,
}

impl ParameterSpec {
    /// A name and a shape.
    pub fn new(name: impl Into<String>, dims: &[usize]) -> Self {
        Self { name: name.into(), dims: dims.to_vec() }
    }

    fn len(&self) -> usize {
        self.dims.iter().product()
    }
}

/// One parameter: views into the arena.
#[derive(Clone)]
pub struct Parameter<T: Element> {
    /// The master value.
    pub value: Tensor<T::Real>,
    /// What the forward and backward passes read: the master itself when the types agree, else its rounded copy.
    pub working: Tensor<T>,
    /// Accumulates over the passes of a step; times the loss scale, where there is one.
    pub gradient: Tensor<T::Real>,
}

/// The arena. A clone is another handle on the same memory.
#[derive(Clone)]
pub struct Parameters<T: Element> {
    specs: Vec<ParameterSpec>,
    table: ChunkTable,
    values: Tensor<T::Real>,
    gradients: Tensor<T::Real>,
    working: Tensor<T>,
    loss_scale: Option<LossScale<T::Real>>,
}

impl<T: Element> Parameters<T> {
    /// Allocates zeros for all of `specs`.
    pub fn new(device: &Device, specs: Vec<ParameterSpec>) -> Result<Self> {
        let lengths: Vec<usize> = specs.iter().map(ParameterSpec::len).collect();
        let table = ChunkTable::new(device, &lengths)?;
        let values = Tensor::<T::Real>::zeros(device, [table.padded_len()])?;
        let gradients = Tensor::zeros(device, [table.padded_len()])?;
        let working = match values.same_type::<T>() {
            Some(shared) => shared,
            None => Tensor::zeros(device, [table.padded_len()])?,
        };
        let loss_scale = LossScale::new::<T>(device, &table)?;
        Ok(Self { specs, table, values, gradients, working, loss_scale })
    }

    /// The specifications, in order.
    pub fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    /// Which chunk belongs to which parameter.
    pub fn table(&self) -> &ChunkTable {
        &self.table
    }

    /// All values, padded.
    pub fn values(&self) -> &Tensor<T::Real> {
        &self.values
    }

    /// All gradients, padded; times the loss scale, where there is one.
    pub fn gradients(&self) -> &Tensor<T::Real> {
        &self.gradients
    }

    /// What the gradients are multiplied by; none where the storage type is that of arithmetic.
    pub fn loss_scale(&self) -> Option<&LossScale<T::Real>> {
        self.loss_scale.as_ref()
    }

    /// The parameter of that name.
    pub fn get(&self, name: &str) -> Result<Parameter<T>> {
        Ok(Parameter {
            value: self.view(&self.values, name)?,
            working: self.view(&self.working, name)?,
            gradient: self.view(&self.gradients, name)?,
        })
    }

    /// The part of a flat tensor with this arena's layout (values, momentum, …) that belongs to the parameter `name`.
    pub fn view<E: bytemuck::Pod>(&self, flat: &Tensor<E>, name: &str) -> Result<Tensor<E>> {
        let index = self
            .specs
            .iter()
            .position(|s| s.name == name)
            .ok_or_else(|| Error::shape("parameters", format!("the network has no parameter `{name}`")))?;
        let offset = self.table.offsets()[index];
        match self.specs[index].dims[..] {
            [a] => flat.slice(offset, [a]),
            [a, b] => flat.slice(offset, [a, b]),
            [a, b, c, d] => flat.slice(offset, [a, b, c, d]),
            _ => {
                let rank = self.specs[index].dims.len();
                Err(Error::shape("parameters", format!("`{name}` has {rank} dimensions; 1, 2 and 4 are known")))
            }
        }
    }

    /// Sets all gradients to zero.
    pub fn clear_gradients(&self) -> Result<()> {
        self.gradients.clear()
    }

    /// Renews the working copies after the values changed; nothing to do when they are the values.
    pub fn refresh(&self) -> Result<()> {
        match self.values.same_type::<T>() {
            Some(_) => Ok(()),
            None => ops::cast_from_real(&self.values, &self.working),
        }
    }
}
