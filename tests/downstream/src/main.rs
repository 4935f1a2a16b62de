//! An attack with a kernel of its own in a crate of its own.

use rocl::attack::{Attack, Objective};
use rocl::data::{Split, textures};
use rocl::element::Real;
use rocl::ops::check::same_shape;
use rocl::own::{self, Work};
use rocl::recipe::Recipe;
use rocl::recipe::pretrain::Ingredients;
use rocl::recipe::settings::Overrides;
use rocl::recipe::training::Training;
use rocl::{Device, Result, Tensor};

struct Damped<R> {
    steps: usize,
    step_size: R,
    epsilon: R,
    gradient: Tensor<R>,
}

impl<R: Real> Attack<R> for Damped<R> {
    fn perturb(&self, clean: &Tensor<R>, objective: &mut dyn Objective<R>, x: &Tensor<R>) -> Result<()> {
        same_shape("damped_linf_step", &[("x", x), ("clean", clean), ("gradient", &self.gradient)])?;
        x.copy_from(clean)?;
        for _ in 0..self.steps {
            objective.gradient(x, &self.gradient)?;
            let n = x.len();
            own::damped_linf_step(Work::Elements(n), x, &self.gradient, clean, self.step_size, self.epsilon, n as i64)?;
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let device = Device::host()?;
    let smaller = Overrides { width: Some(2), epochs: Some(1), batch_size: Some(16), attack_steps: Some(2), ..Overrides::default() };
    let recipe = Recipe::load("demo@1")?.with(&smaller)?;
    let batch = recipe.train.batch_size as usize;
    let data = textures::render(textures::SEED, Split::Train, 2 * batch);
    let epsilon = 0.03125;

    let mut training = Training::<f32>::with(&device, &recipe, &data, |clock| {
        let gradient = Tensor::zeros(&device, [batch, 32, 32, 3])?;
        let attack = Box::new(Damped { steps: 2, step_size: 0.25, epsilon, gradient });
        Ok(Ingredients { attack, ..Ingredients::new(&device, &recipe, clock)? })
    })?;
    training.advance()?;
    training.advance()?;

    let images = training.pretraining().images();
    let (clean, adversary) = (images.rows(0..batch)?.to_vec()?, images.rows(2 * batch..3 * batch)?.to_vec()?);
    let distance = clean.iter().zip(&adversary).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    println!("{:?}; an adversary is at most {distance} away", training.pretraining().losses(2)?);
    assert!(distance > 0.0 && distance <= epsilon + f32::EPSILON, "the ball has radius {epsilon}");
    Ok(())
}
