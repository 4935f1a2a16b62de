//! Engines with one ingredient wrong, each a mistake that a re-implementation of RoCL could make.

use rocl::attack::{Attack, Objective};
use rocl::loss::EmbeddingLoss;
use rocl::recipe::Recipe;
use rocl::recipe::pretrain::{Ingredients, Pretraining};
use rocl::recipe::verify::Stage;
use rocl::{Device, Result, Tensor, ops};

/// The running statistics move with the main pass only.
pub fn one_statistics_update(run: &Pretraining<f32>, at: &mut dyn FnMut(Stage) -> Result<()>) -> Result<()> {
    run.network().parameters().clear_gradients()?;
    let statistics = run.network().encoder().running_statistics();
    let before: Vec<Vec<f32>> = statistics.iter().map(|(_, tensor)| tensor.to_vec()).collect::<Result<_>>()?;
    run.regularize()?;
    at(Stage::Regularized)?;
    for ((_, tensor), values) in statistics.iter().zip(&before) {
        tensor.write(values)?;
    }
    run.contrast()?;
    at(Stage::Differentiated)?;
    run.update()?;
    at(Stage::Updated)
}

/// LARS with plain SGD on vectors: biases and the affine parameters of batch normalisation are not scaled.
pub fn lars_without_vectors(run: &Pretraining<f32>, at: &mut dyn FnMut(Stage) -> Result<()>) -> Result<()> {
    let parameters = run.network().parameters();
    parameters.clear_gradients()?;
    run.regularize()?;
    at(Stage::Regularized)?;
    run.contrast()?;
    at(Stage::Differentiated)?;
    let vectors: Vec<_> = parameters.specs().iter().filter(|spec| spec.dims.len() == 1).map(|spec| spec.name.clone()).collect();
    let before: Vec<Vec<f32>> = vectors.iter().map(|name| parameters.get(name)?.value.to_vec()).collect::<Result<_>>()?;
    run.update()?;
    let rate = run.recipe().learning_rate(0) as f32;
    let (_, momentum) = &run.optimizer().state()[0];
    for (name, before) in vectors.iter().zip(before) {
        let parameter = parameters.get(name)?;
        let gradient = parameter.gradient.to_vec()?;
        let buffer: Vec<f32> = gradient.iter().zip(&before).map(|(g, p)| g + 1e-6 * p).collect();
        parameter.value.write(&before.iter().zip(&buffer).map(|(p, b)| p - rate * b).collect::<Vec<_>>())?;
        parameters.view(momentum, name)?.write(&buffer)?;
    }
    at(Stage::Updated)
}

fn with(
    device: &Device,
    recipe: &Recipe,
    clock: &Tensor<i64>,
    change: impl FnOnce(&mut Ingredients<f32>) -> Result<()>,
) -> Result<Ingredients<f32>> {
    let mut ingredients = Ingredients::new(device, recipe, clock)?;
    change(&mut ingredients)?;
    Ok(ingredients)
}

/// A loss whose value and gradient are `weight(views)` times those of another.
struct Weighted {
    inner: Box<dyn EmbeddingLoss<f32>>,
    value: fn(usize) -> f64,
    gradient: fn(usize) -> f64,
}

impl EmbeddingLoss<f32> for Weighted {
    fn evaluate(
        &self,
        z: &Tensor<f32>,
        views: usize,
        weight: f64,
        d_z: &Tensor<f32>,
        gradient_rows: usize,
        loss: &Tensor<f32>,
    ) -> Result<()> {
        let scratch = Tensor::zeros(z.device(), z.shape())?;
        self.inner.evaluate(z, views, weight * (self.value)(views), &scratch, gradient_rows, loss)?;
        let unused = Tensor::zeros(z.device(), [1])?;
        self.inner.evaluate(z, views, weight * (self.gradient)(views), d_z, gradient_rows, &unused)
    }
}

/// Positives are averaged instead of summed: with three views, half the loss.
pub fn averaged_positives(device: &Device, recipe: &Recipe, clock: &Tensor<i64>) -> Result<Ingredients<f32>> {
    let share = |views: usize| 1.0 / (views - 1) as f64;
    with(device, recipe, clock, |ingredients| {
        let inner = std::mem::replace(&mut ingredients.loss, Ingredients::new(device, recipe, clock)?.loss);
        ingredients.loss = Box::new(Weighted { inner, value: share, gradient: share });
        Ok(())
    })
}

/// The regulariser is computed and logged, but no gradient comes of it.
pub fn no_regularizer(device: &Device, recipe: &Recipe, clock: &Tensor<i64>) -> Result<Ingredients<f32>> {
    with(device, recipe, clock, |ingredients| {
        let inner = std::mem::replace(&mut ingredients.regularizer, Ingredients::new(device, recipe, clock)?.regularizer);
        ingredients.regularizer = Box::new(Weighted { inner, value: |_| 1.0, gradient: |_| 0.0 });
        Ok(())
    })
}

/// PGD that projects onto the ball around the image it has reached, which is no projection at all.
struct Unprojected {
    epsilon: f32,
    step_size: f32,
    steps: usize,
}

impl Attack<f32> for Unprojected {
    fn perturb(&self, clean: &Tensor<f32>, objective: &mut dyn Objective<f32>, x: &Tensor<f32>) -> Result<()> {
        let (gradient, here) = (Tensor::zeros(x.device(), x.shape())?, Tensor::zeros(x.device(), x.shape())?);
        x.copy_from(clean)?;
        for _ in 0..self.steps {
            objective.gradient(x, &gradient)?;
            here.copy_from(x)?;
            ops::pgd_linf_step(x, &gradient, &here, self.step_size, self.epsilon)?;
        }
        Ok(())
    }
}

pub fn unprojected_attack(device: &Device, recipe: &Recipe, clock: &Tensor<i64>) -> Result<Ingredients<f32>> {
    let settings = &recipe.attack;
    let (epsilon, step_size) = (settings.epsilon.value(), settings.step_size.value());
    with(device, recipe, clock, |ingredients| {
        let steps = settings.steps as usize;
        ingredients.attack = Box::new(Unprojected { epsilon: epsilon as f32, step_size: step_size as f32, steps });
        Ok(())
    })
}

/// PGD whose kernel never reaches the last element.
struct Ragged(Box<dyn Attack<f32>>);

impl Attack<f32> for Ragged {
    fn perturb(&self, clean: &Tensor<f32>, objective: &mut dyn Objective<f32>, x: &Tensor<f32>) -> Result<()> {
        self.0.perturb(clean, objective, x)?;
        let last = x.len() - 1;
        x.slice(last, [1])?.copy_from(&clean.slice(last, [1])?)
    }
}

pub fn attack_without_the_last_pixel(device: &Device, recipe: &Recipe, clock: &Tensor<i64>) -> Result<Ingredients<f32>> {
    with(device, recipe, clock, |ingredients| {
        let whole = std::mem::replace(&mut ingredients.attack, Ingredients::new(device, recipe, clock)?.attack);
        ingredients.attack = Box::new(Ragged(whole));
        Ok(())
    })
}

/// The optimiser's kernel stops before it has reached the last tenth of the parameters.
pub fn partial_update(run: &Pretraining<f32>, at: &mut dyn FnMut(Stage) -> Result<()>) -> Result<()> {
    let parameters = run.network().parameters();
    parameters.clear_gradients()?;
    run.regularize()?;
    at(Stage::Regularized)?;
    run.contrast()?;
    at(Stage::Differentiated)?;
    let count = parameters.specs().len();
    let left_out: Vec<_> =
        parameters.specs()[count - count / 10..].iter().map(|spec| parameters.get(&spec.name)).collect::<Result<_>>()?;
    let before: Vec<Vec<f32>> = left_out.iter().map(|parameter| parameter.value.to_vec()).collect::<Result<_>>()?;
    run.update()?;
    for (parameter, before) in left_out.iter().zip(&before) {
        parameter.value.write(before)?;
    }
    at(Stage::Updated)
}

/// One parameter's gradient is NaN.
pub fn a_nan(run: &Pretraining<f32>, at: &mut dyn FnMut(Stage) -> Result<()>) -> Result<()> {
    let parameters = run.network().parameters();
    parameters.clear_gradients()?;
    run.regularize()?;
    at(Stage::Regularized)?;
    run.contrast()?;
    parameters.get("model/layer2.0.bn1.weight")?.gradient.rows(0..1)?.write(&[-f32::NAN])?;
    at(Stage::Differentiated)?;
    run.update()?;
    at(Stage::Updated)
}
