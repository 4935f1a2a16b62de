//! The momentum iterative fast gradient method (MI-FGSM, Dong et al. 2018), and the launch of its kernel.

use rocl::attack::{Attack, Objective};
use rocl::element::Real;
use rocl::ops::check::same_shape;
use rocl::own::{self, Work};
use rocl::{Device, Result, Tensor};

/// Threads of a block, which has an image; as in `kernels/momentum.cu`.
const THREADS: usize = 128;
/// Numbers of an image.
const NUMBERS: usize = 32 * 32 * 3;

/// `steps` steps of `epsilon`/`steps` along the sign of a velocity, into which gradients are gathered as they come: those of the first steps keep their
/// say, so that the attack is not led astray by the last one, and carries over to other models.
pub struct Momentum<R> {
    steps: usize,
    epsilon: R,
    step_size: R,
    decay: R,
    gradient: Tensor<R>,
    velocity: Tensor<R>,
}

impl<R: Real> Momentum<R> {
    /// For batches of up to `max_batch` images of 32×32; a `decay` of 1 is the paper's.
    pub fn new(device: &Device, max_batch: usize, epsilon: f64, steps: usize, decay: f64) -> Result<Self> {
        let images = || Tensor::zeros(device, [max_batch, 32, 32, 3]);
        let [epsilon, step_size, decay] = [epsilon, epsilon / steps as f64, decay].map(R::from_f64);
        Ok(Self { steps, epsilon, step_size, decay, gradient: images()?, velocity: images()? })
    }
}

impl<R: Real> Attack<R> for Momentum<R> {
    fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        let n = clean.rows_len();
        let (gradient, velocity) = (&self.gradient.rows(0..n)?, &self.velocity.rows(0..n)?);
        same_shape("momentum_linf_step", &[("velocity", velocity), ("clean", clean), ("x", x)])?;
        velocity.clear()?;
        x.copy_from(clean)?;
        for _ in 0..self.steps {
            objective.gradient(x, gradient)?;
            let (work, numbers) = (Work::Blocks(n, THREADS), NUMBERS as i32);
            own::momentum_linf_step(work, x, velocity, gradient, clean, numbers, self.decay, self.step_size, self.epsilon)?;
        }
        Ok(())
    }
}
