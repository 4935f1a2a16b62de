//! The forms in which an attack is timed.

use crate::bench::subject::noise;
use crate::bench::unfused_pgd::UnfusedPgd;
use crate::device::CudaOptions;
use crate::element::{Element, Real};
use crate::nn::Network;
use crate::recipe::Recipe;
use crate::recipe::attacked::Attacked;
use crate::recipe::pretrain::Ingredients;
use crate::recipe::settings::AttackLoss;
use crate::{Device, Result, Tensor};
use half::{bf16, f16};

/// Precisions by name, and the device that computes in each.
pub type Precisions = Vec<(&'static str, Device)>;

/// Those that `device` has: a GPU's all four from Ampere on; a CPU's without tf32, which is fp32 there.
///
/// # Errors
/// [`crate::Error::Device`] when a GPU cannot be opened for tf32 besides.
pub fn precisions(device: &Device) -> Result<Precisions> {
    let Device::Cuda(cuda) = device else { return Ok(["fp32", "fp16", "bf16"].map(|name| (name, device.clone())).into()) };
    let with = |tf32| {
        let options = cuda.options();
        if options.tf32 == tf32 { Ok(device.clone()) } else { Device::cuda_with(CudaOptions { tf32, ..*options }) }
    };
    let mut all = vec![("fp32", with(false)?), ("fp16", device.clone())];
    if cuda.gpu().compute_capability >= (8, 0) {
        all.extend([("tf32", with(true)?), ("bf16", device.clone())]);
    }
    Ok(all)
}

/// An attack that is ready to be carried out, again and again.
pub(super) type Prepared = Box<dyn FnMut() -> Result<()>>;

/// How an attack is carried out.
#[derive(Clone)]
pub(super) struct Form {
    pub device: Device,
    pub recipe: Recipe,
    /// Sign, move, clamp and projection each by itself.
    pub unfused_step: bool,
    /// Replayed.
    pub graph: bool,
    /// As `--precision` says it.
    pub precision: &'static str,
    prepare: fn(&Form) -> Result<Prepared>,
}

impl Form {
    /// What training does, where the device has graphs as one.
    fn of<T: Element>(device: &Device, recipe: &Recipe) -> Self {
        let (device, recipe, graph, precision) = (device.clone(), recipe.clone(), !device.is_host(), device.precision::<T>());
        Self { device, recipe, unfused_step: false, graph, precision, prepare: prepared::<T> }
    }

    fn in_precision(name: &str, device: &Device, recipe: &Recipe) -> Self {
        match name {
            "fp16" => Self::of::<f16>(device, recipe),
            "bf16" => Self::of::<bf16>(device, recipe),
            _ => Self::of::<f32>(device, recipe),
        }
    }

    /// Allocates what the attack needs.
    pub fn prepare(&self) -> Result<Prepared> {
        (self.prepare)(self)
    }

    #[cfg(test)]
    pub fn for_tests() -> Self {
        Self::of::<f32>(&Device::dry(), &Recipe::load("demo").unwrap())
    }
}

/// As pretraining attacks, on a new network and on noise, without the memory that training needs.
fn prepared<T: Element>(form: &Form) -> Result<Prepared> {
    let Form { device, recipe, unfused_step, .. } = form;
    let batch = recipe.train.batch_size as usize;
    // Nothing goes through the network itself.
    let network = Network::<T>::with(device, &recipe.topology(), recipe.projection(), 1, recipe.train.seed)?;
    let model = Attacked::new(device, recipe, &network)?;
    let clock = Tensor::zeros(device, [2])?;
    let Ingredients { attack_loss, mut attack, .. } = Ingredients::<T::Real>::new(device, recipe, &clock)?;
    if *unfused_step {
        attack = Box::new(UnfusedPgd::<T::Real>::new(device, recipe, &clock)?);
    }
    let pixels: Vec<T::Real> =
        noise(2 * batch, recipe.train.seed).images.iter().map(|&byte| T::Real::from_f64(f64::from(byte) / 255.0)).collect();
    let views = Tensor::from_slice(device, [2 * batch, 32, 32, 3], &pixels)?;
    let (clean, target, x) = (views.rows(0..batch)?, views.rows(batch..2 * batch)?, Tensor::zeros(device, [batch, 32, 32, 3])?);
    Ok(Box::new(move || {
        model.copy_from(&network)?;
        let mut objective = model.objective(&*attack_loss, &target)?;
        attack.perturb(&clean, &mut objective, &x)
    }))
}

/// The rungs of the ladder.
pub(super) fn rungs<T: Element>(fused: &Device, unfused: &Device, recipe: &Recipe) -> Vec<(String, Form)> {
    let mut form = Form { unfused_step: true, graph: false, ..Form::of::<T>(unfused, recipe) };
    (form.recipe.attack.reuse_target, form.recipe.attack.fold_batch_norm) = (false, false);
    let mut rungs = vec![("reference algorithm".to_owned(), form.clone())];
    let mut climb = |name: &str, change: &dyn Fn(&mut Form)| {
        change(&mut form);
        rungs.push((name.to_owned(), form.clone()));
    };
    climb("+ target embedded once", &|form| form.recipe.attack.reuse_target = true);
    climb("+ batch norm folded", &|form| form.recipe.attack.fold_batch_norm = true);
    climb("+ epilogues fused", &|form| form.device = fused.clone());
    climb("+ sign and projection fused", &|form| form.unfused_step = false);
    if !fused.is_host() {
        climb("+ replayed as a graph", &|form| form.graph = true);
    }
    rungs
}

/// The recipe's own attack, and those with one setting changed.
pub(super) fn varied<T: Element>(device: &Device, recipe: &Recipe, precisions: &Precisions) -> Vec<(String, Form)> {
    let own = Form::of::<T>(device, recipe);
    let mut forms = vec![("as the recipe has it".to_owned(), own.clone())];
    let mut add = |name: String, change: &dyn Fn(&mut Recipe)| {
        let mut changed = recipe.clone();
        change(&mut changed);
        if forms.iter().all(|(_, form)| form.recipe != changed) {
            forms.push((name, Form { recipe: changed, ..own.clone() }));
        }
    };
    for steps in [1, 3, 5, 10, 20] {
        let name = format!("{steps} step{}", if steps == 1 { "" } else { "s" });
        add(name, &|recipe| recipe.attack.steps = steps);
    }
    for (name, factor) in [("a quarter of the batch", 0.25), ("half the batch", 0.5), ("twice the batch", 2.0)] {
        add(name.to_owned(), &|recipe| {
            recipe.train.batch_size = (f64::from(recipe.train.batch_size) * factor).max(2.0) as u32;
            recipe.attack.group = 0;
        });
    }
    for (name, loss) in [
        ("loss similarity", AttackLoss::Similarity),
        ("loss mse", AttackLoss::Mse),
        ("loss l1", AttackLoss::L1),
        ("loss cosine", AttackLoss::Cosine),
    ] {
        add(name.to_owned(), &|recipe| recipe.attack.loss = loss);
    }
    let random = recipe.attack.random_start;
    add(format!("{} random start", if random { "no" } else { "a" }), &|recipe| recipe.attack.random_start = !random);
    // A CPU computes the same in tf32 as in fp32.
    let others = precisions.iter().filter(|(name, _)| *name != own.precision && !(device.is_host() && *name == T::PRECISION));
    forms.extend(others.map(|(name, device)| (format!("precision {name}"), Form::in_precision(name, device, recipe))));
    forms
}
