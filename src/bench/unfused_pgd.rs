//! PGD as a framework carries it out: what the fused step is set against.

use crate::attack::{Attack, Objective};
use crate::element::Real;
use crate::recipe::Recipe;
use crate::recipe::pretrain::Ingredients;
use crate::{Device, Result, Tensor, ops};

/// The recipe's attack to the same bits, with each step as a sequence of elementary operations: the gradient, its sign, a move along it, two clamps.
pub struct UnfusedPgd<R: Real> {
    /// The recipe's own, of no steps: it starts.
    start: Box<dyn Attack<R>>,
    epsilon: R,
    step_size: R,
    steps: u32,
    gradient: Tensor<R>,
    direction: Tensor<R>,
}

impl<R: Real> UnfusedPgd<R> {
    /// For batches of the recipe's size. `clock` is the run's step counter, for random starts.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when the device has no room.
    pub fn new(device: &Device, recipe: &Recipe, clock: &Tensor<i64>) -> Result<Self> {
        let images = || Tensor::zeros(device, [recipe.train.batch_size as usize, 32, 32, 3]);
        let mut start = recipe.clone();
        start.attack.steps = 0;
        Ok(Self {
            start: Ingredients::new(device, &start, clock)?.attack,
            epsilon: R::from_f64(recipe.attack.epsilon.value()),
            step_size: R::from_f64(recipe.attack.step_size.value()),
            steps: recipe.attack.steps,
            gradient: images()?,
            direction: images()?,
        })
    }
}

impl<R: Real> Attack<R> for UnfusedPgd<R> {
    fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        self.start.perturb(clean, objective, x)?;
        let n = x.rows_len();
        let (gradient, direction) = (self.gradient.rows(0..n)?, self.direction.rows(0..n)?);
        (0..self.steps).try_for_each(|_| {
            objective.gradient(x, &gradient)?;
            ops::pgd_linf_step_unfused(x, &gradient, clean, self.step_size, self.epsilon, &direction)
        })
    }
}
