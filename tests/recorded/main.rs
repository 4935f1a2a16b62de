//! The engine against tensors recorded from the authors' PyTorch implementation: features, loss, attack and a whole training step.
//!
//! `tests/golden/README.md` says what was recorded and how.

mod recording;

use recording::{Recording, nhwc, relative_l2};
use rocl::attack::{InstanceBuffers, InstanceObjective, Objective};
use rocl::data::Dataset;
use rocl::loss::{EmbeddingLoss, NtXent};
use rocl::nn::{Folded, Network, PROJECTOR, Projector, Topology};
use rocl::recipe::Recipe;
use rocl::recipe::pretrain::Pretraining;
use rocl::recipe::settings::{Number, Overrides};
use rocl::{Device, Tensor};

/// Forward quantities and attack gradients: f32 PyTorch itself is 1e-7 to 5e-7 away from its f64 self, and the recording is f32 too.
const FORWARD: f64 = 1e-5;
/// A ReLU whose input is within rounding of zero may fall on either side; one flipped mask bit moves a gradient by up to 6e-3.
const FLIP: f64 = 1e-2;
/// No parameter's gradient may be further away, flip or not: leaving out the regulariser moves them all by 2e-3.
const PARAMETER: f64 = 1e-3;

fn images(device: &Device, recording: &Recording, name: &str) -> Tensor<f32> {
    let (shape, values) = recording.get(name);
    let [n, c, h, w] = shape[..] else { panic!("{name} is no batch of images") };
    Tensor::from_slice(device, [n, h, w, c], &nhwc(&values, [n, c, h, w])).unwrap()
}

fn tensor<const N: usize>(device: &Device, recording: &Recording, name: &str) -> Tensor<f32> {
    let (shape, values) = recording.get(name);
    let shape: [usize; N] = shape.try_into().unwrap();
    Tensor::from_slice(device, shape, &values).unwrap()
}

/// The recorded network, loaded from `init/`.
struct Loaded {
    device: Device,
    recording: Recording,
    topology: Topology,
    recipe: Recipe,
}

impl Loaded {
    fn new() -> Self {
        let recording = Recording::open();
        let width = recording.get("init/model/conv1.weight").0[0];
        let mut recipe = Recipe::load("reference@1").unwrap();
        recipe.network.width = width as u32;
        recipe.network.projection_hidden = Some(recording.get("init/projector/linear_1.bias").0[0] as u32);
        recipe.network.projection = recording.get("init/projector/linear_2.bias").0[0] as u32;
        recipe.attack.epsilon = Number::Decimal(0.0314);
        let batch = recording.get("in/y").0[0] as u32;
        let recipe = recipe.with(&Overrides { batch_size: Some(batch), ..Overrides::default() }).unwrap();
        let topology = Topology::new(recipe.network.architecture, width);
        Self { device: Device::host().unwrap(), recording, topology, recipe }
    }

    fn batch(&self) -> usize {
        self.recipe.train.batch_size as usize
    }

    fn load(&self, network: &Network<f32>) {
        for spec in network.parameters().specs() {
            let value = network.parameters().get(&spec.name).unwrap().value;
            value.write(&self.recording.parameter(&format!("init/{}", spec.name))).unwrap();
        }
        network.parameters().refresh().unwrap();
        for (name, tensor) in network.encoder().running_statistics() {
            tensor.write(&self.recording.get(&format!("init/model/{name}")).1).unwrap();
        }
    }

    fn network(&self) -> Network<f32> {
        let (hidden, projection) = (self.recipe.projection_hidden() as usize, self.recipe.network.projection as usize);
        let network = Network::new(&self.device, &self.topology, hidden, projection, self.batch(), 0).unwrap();
        self.load(&network);
        network
    }

    fn expect(&self, name: &str, found: &[f32], tolerance: f64) {
        let error = relative_l2(found, &self.recording.get(name).1);
        assert!(error <= tolerance, "{name}: relative error {error:e}, allowed {tolerance:e}");
    }
}

#[test]
fn features_and_projections() {
    let loaded = Loaded::new();
    let network = loaded.network();
    let folded = Folded::new(&loaded.device, &loaded.topology, loaded.batch()).unwrap();
    folded.fold(&network).unwrap();
    let projector = Projector::new(&loaded.device, network.parameters(), PROJECTOR, loaded.batch()).unwrap();
    let features = folded.forward(&images(&loaded.device, &loaded.recording, "in/x1")).unwrap();
    loaded.expect("eval/x1/feat", &features.to_vec().unwrap(), FORWARD);
    loaded.expect("eval/x1/proj", &projector.forward(&features).unwrap().to_vec().unwrap(), FORWARD);
}

#[test]
fn contrastive_loss_and_its_gradient() {
    let Loaded { device, recording, .. } = Loaded::new();
    for views in [2, 3] {
        let z = tensor::<2>(&device, &recording, &format!("nt/{views}view/z"));
        let d_z = Tensor::zeros(&device, z.shape()).unwrap();
        let loss = Tensor::zeros(&device, [1]).unwrap();
        let nt_xent = NtXent::new(&device, z.rows_len(), 0.5, 1, true).unwrap();
        nt_xent.evaluate(&z, views, 1.0, &d_z, z.rows_len(), &loss).unwrap();
        for (name, found) in [("loss", &loss), ("grad_z", &d_z)] {
            let name = format!("nt/{views}view/{name}");
            let error = relative_l2(&found.to_vec().unwrap(), &recording.get(&name).1);
            assert!(error <= FORWARD, "{name}: relative error {error:e}");
        }
    }
}

/// Teacher-forced: the gradient at every image the recorded attack went through.
#[test]
fn attack_gradient_at_every_recorded_image() {
    let loaded = Loaded::new();
    let (device, batch) = (&loaded.device, loaded.batch());
    let network = loaded.network();
    let folded = Folded::new(device, &loaded.topology, batch).unwrap();
    folded.fold(&network).unwrap();
    let projector = Projector::new(device, network.parameters(), PROJECTOR, batch).unwrap();
    let loss = NtXent::new(device, 2 * batch, 0.5, 1, true).unwrap();
    let buffers = InstanceBuffers::new(device, batch, loaded.recipe.network.projection as usize).unwrap();
    let target = images(device, &loaded.recording, "in/x2");
    let mut objective = InstanceObjective::new(&folded, &projector, &loss, &buffers, &target).unwrap();
    let (losses, gradients) = (loaded.recording.get("attack/loss").1, loaded.recording.get("attack/grad").1);
    let mut errors = Vec::new();
    for (step, expected_loss) in losses.iter().enumerate() {
        let x = loaded.recording.images(device, "attack/x_traj", step);
        let gradient = Tensor::zeros(device, x.shape()).unwrap();
        objective.gradient(&x, &gradient).unwrap();
        let found = objective.loss().to_vec().unwrap()[0];
        assert!(
            ((found - expected_loss) / expected_loss).abs() <= 1e-5,
            "loss at step {step}: {found} instead of {expected_loss}"
        );
        let expected = nhwc(&gradients[step * x.len()..][..x.len()], [batch, 3, 32, 32]);
        errors.push(relative_l2(&gradient.to_vec().unwrap(), &expected));
    }
    errors.sort_by(f64::total_cmp);
    assert!(errors[errors.len() / 2] <= FORWARD, "median of {errors:?}");
    assert!(errors.iter().all(|&e| e <= FLIP), "{errors:?}");
}

/// One whole step with the recorded views and adversary: both losses, every parameter's gradient, the LARS scales, both updates of
/// every running statistic.
#[test]
fn training_step() {
    let loaded = Loaded::new();
    let Loaded { device, recording, recipe, .. } = &loaded;
    let batch = loaded.batch();
    let data = Dataset {
        name: "blank".to_owned(),
        images: vec![0; batch * 3072],
        labels: vec![0; batch],
        classes: vec!["blank".to_owned()],
    };
    let run = Pretraining::<f32>::new(device, recipe, &data).unwrap();
    let network = run.network();
    loaded.load(network);
    run.begin_epoch(0, 0).unwrap();
    let last = recording.get("attack/x_traj").0[0] - 1;
    let views =
        [images(device, recording, "in/x1"), images(device, recording, "in/x2"), recording.images(device, "attack/x_traj", last)];
    for (index, view) in views.iter().enumerate() {
        run.images().rows(index * batch..(index + 1) * batch).unwrap().copy_from(view).unwrap();
    }
    let statistics = |stage: &str| {
        for (name, tensor) in network.encoder().running_statistics() {
            loaded.expect(&format!("step1/{stage}{name}"), &tensor.to_vec().unwrap(), FORWARD);
        }
    };

    network.parameters().clear_gradients().unwrap();
    run.regularize().unwrap();
    statistics("bn_after_adv/");
    run.contrast().unwrap();
    statistics("after/model/");
    let mut errors = Vec::new();
    for spec in network.parameters().specs() {
        let expected = recording.parameter(&format!("step1/grad/{}", spec.name));
        let found = network.parameters().get(&spec.name).unwrap().gradient.to_vec().unwrap();
        errors.push((relative_l2(&found, &expected), spec.name.clone()));
    }
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (worst, name) = &errors[errors.len() - 1];
    assert!(errors[errors.len() / 2].0 <= FORWARD, "median parameter gradient: {:e}", errors[errors.len() / 2].0);
    assert!(*worst <= PARAMETER, "gradient of {name}: {worst:e}");

    run.update().unwrap();
    let losses = run.losses(1).unwrap();
    for (name, found) in [("step1/adv_loss", losses.regularizer), ("step1/simloss", losses.main)] {
        loaded.expect(name, &[found as f32], FORWARD);
    }
    let scales = run.optimizer().lars_scales().unwrap().to_vec().unwrap();
    for (spec, scale) in network.parameters().specs().iter().zip(scales) {
        // The scale divides by the gradient's norm, so it is as exact as that.
        loaded.expect(&format!("step1/adaptive_lr/{}", spec.name), &[scale], PARAMETER);
    }
}
