//! What an attack costs: a ladder from the released code's algorithm to this engine's, and each setting by itself.

use super::measure::{Repetitions, seconds};
use super::subject::{pretraining, pretraining_with_unfused_pgd};
use super::summary::Summary;
use crate::device::Graph;
use crate::element::Element;
use crate::recipe::Recipe;
use crate::recipe::pretrain::Pretraining;
use crate::{Device, Result};
use serde::Serialize;

/// One attack on a batch, in some form.
#[derive(Clone, Debug, Serialize)]
pub struct AttackCost {
    /// What is done, or which setting is another.
    pub name: String,
    /// Images attacked.
    pub batch_size: u32,
    /// Steps.
    pub steps: u32,
    /// Of the whole attack: fold, target, start and all steps.
    pub time: Summary,
}

impl AttackCost {
    /// Seconds a step, with the attack's preparations spread over its steps.
    pub fn per_step(&self) -> f64 {
        self.time.median / f64::from(self.steps.max(1))
    }

    fn measure<T: Element>(name: &str, form: &Form, repetitions: Repetitions) -> Result<Self> {
        let Form { device, recipe, .. } = form;
        let run = form.build::<T>(device)?;
        run.draw_views()?;
        let mut graph = Graph::new(device);
        let mut attack = || if form.graph { graph.run(|| run.perturb()) } else { run.perturb() };
        if form.graph {
            // Captured before the first sample, however few runs warm up.
            (0..=Graph::EAGER_RUNS).try_for_each(|_| attack())?;
        }
        let mut samples = Vec::new();
        for repetition in 0..repetitions.warmup + repetitions.samples {
            let time = seconds(device, &mut attack)?;
            if repetition >= repetitions.warmup {
                samples.push(time);
            }
        }
        let (batch_size, steps) = (recipe.train.batch_size, recipe.attack.steps);
        Ok(Self { name: name.to_owned(), batch_size, steps, time: Summary::of(samples) })
    }
}

/// How an attack is carried out.
#[derive(Clone)]
struct Form {
    device: Device,
    recipe: Recipe,
    /// Sign, move, clamp and projection each by itself.
    unfused_step: bool,
    /// Replayed.
    graph: bool,
}

impl Form {
    /// The run whose attack it is.
    fn build<T: Element>(&self, device: &Device) -> Result<Pretraining<T>> {
        if self.unfused_step { pretraining_with_unfused_pgd(device, &self.recipe) } else { pretraining(device, &self.recipe) }
    }
}

/// Takes what [`ladder`] and [`variations`] take, on a device that only plans.
///
/// # Errors
/// Those of the runs.
pub fn rehearse<T: Element>(dry: &Device, recipe: &Recipe) -> Result<()> {
    let perturb = |form: &Form| form.build::<T>(dry)?.perturb();
    rungs(dry, dry, recipe).iter().try_for_each(|(_, form)| perturb(form))?;
    varied(dry, recipe).iter().try_for_each(|(_, form)| perturb(form))
}

/// The rungs, from the released code's sequence of operations upwards; each adds to the one before. `unfused` runs what follows a
/// convolution's sum as kernels. The last, a graph, is for devices that have graphs.
///
/// # Errors
/// Those of the runs and the device.
pub fn ladder<T: Element>(
    fused: &Device,
    unfused: &Device,
    recipe: &Recipe,
    repetitions: Repetitions,
) -> Result<Vec<AttackCost>> {
    measured::<T, _>(rungs(fused, unfused, recipe), repetitions)
}

fn measured<T: Element, N: AsRef<str>>(forms: Vec<(N, Form)>, repetitions: Repetitions) -> Result<Vec<AttackCost>> {
    forms.iter().map(|(name, form)| AttackCost::measure::<T>(name.as_ref(), form, repetitions)).collect()
}

fn rungs(fused: &Device, unfused: &Device, recipe: &Recipe) -> Vec<(&'static str, Form)> {
    let mut form = Form { device: unfused.clone(), recipe: recipe.clone(), unfused_step: true, graph: false };
    (form.recipe.attack.reuse_target, form.recipe.attack.fold_batch_norm) = (false, false);
    let mut rungs = vec![("reference algorithm", form.clone())];
    let mut climb = |name, change: &dyn Fn(&mut Form)| {
        change(&mut form);
        rungs.push((name, form.clone()));
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

/// The attack with one setting at a time changed; the first is the recipe's own.
///
/// # Errors
/// Those of the runs and the device.
pub fn variations<T: Element>(device: &Device, recipe: &Recipe, repetitions: Repetitions) -> Result<Vec<AttackCost>> {
    measured::<T, _>(varied(device, recipe), repetitions)
}

fn varied(device: &Device, recipe: &Recipe) -> Vec<(String, Form)> {
    let mut forms = vec![("as the recipe has it".to_owned(), recipe.clone())];
    let mut add = |name: String, change: &dyn Fn(&mut Recipe)| {
        let mut changed = recipe.clone();
        change(&mut changed);
        if changed != *recipe {
            forms.push((name, changed));
        }
    };
    for steps in [1, 3, 5, 10, 20] {
        add(format!("{steps} steps"), &|recipe| recipe.attack.steps = steps);
    }
    for (name, factor) in [("a quarter of the batch", 0.25), ("half the batch", 0.5), ("twice the batch", 2.0)] {
        add(name.to_owned(), &|recipe| {
            recipe.train.batch_size = (f64::from(recipe.train.batch_size) * factor).max(1.0) as u32;
            recipe.attack.group = 0;
        });
    }
    let random = recipe.attack.random_start;
    add(format!("{} random start", if random { "no" } else { "a" }), &|recipe| recipe.attack.random_start = !random);
    let form = |recipe| Form { device: device.clone(), recipe, unfused_step: false, graph: !device.is_host() };
    forms.into_iter().map(|(name, recipe)| (name, form(recipe))).collect()
}
