//! Initial parameters, as PyTorch's layers draw them: what the reference starts from.

use super::parameters::Parameters;
use crate::Result;
use crate::element::{Element, Real};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Convolutions and linear layers: U(−1/√fan_in, 1/√fan_in), weights and biases alike (He et al. 2015 with PyTorch's a = √5); batch normalisation:
/// γ = 1, β = 0. Each parameter draws from a stream of its own,
/// numbered by its place.
pub fn initialize<T: Element>(parameters: &Parameters<T>, seed: u64) -> Result<()> {
    if parameters.values().device().is_dry() {
        // Millions of draws that would go nowhere.
        return Ok(());
    }
    for (index, spec) in parameters.specs().iter().enumerate() {
        let len: usize = spec.dims.iter().product();
        let values: Vec<T::Real> = match fan_in(parameters, &spec.name) {
            Some(fan_in) => {
                let mut rng = ChaCha12Rng::seed_from_u64(seed);
                rng.set_stream(index as u64);
                let bound = 1.0 / (fan_in as f64).sqrt();
                (0..len).map(|_| T::Real::from_f64(rng.random_range(-bound..bound))).collect()
            }
            None => vec![T::Real::from_f64(if spec.name.ends_with("weight") { 1.0 } else { 0.0 }); len],
        };
        parameters.get(&spec.name)?.value.write(&values)?;
    }
    parameters.refresh()
}

/// Inputs to one output of the layer a parameter belongs to; none for batch normalisation, whose weight is a vector.
fn fan_in<T: Element>(parameters: &Parameters<T>, name: &str) -> Option<usize> {
    let layer = name.rsplit_once('.')?.0;
    let weight = parameters.specs().iter().find(|s| s.name == format!("{layer}.weight"))?;
    (weight.dims.len() > 1).then(|| weight.dims[1..].iter().product())
}
