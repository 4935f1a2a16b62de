//! Weights to and from PyTorch, by the scripts in `tools/`: the same outputs on both sides, and the same accuracy under an attack that
//! is not ours.
//!
//! Runs where there is a Python with the packages of `tools/requirements.txt`: the one that `ROCL_PYTHON` names, else
//! `target/venv/bin/python`. Says `skipped` where there is none; a `ROCL_PYTHON` that will not do is a failure.

#[path = "../common/mod.rs"]
mod common;
mod engine;
mod import;

use common::altered::Altered;
use common::python::Python;
use common::root;
use engine::{Outputs, outputs, rewritten, test_images, trained, trained_head};
use rocl::data::Dataset;
use rocl::nn::Architecture;
use rocl::ops::Norm;
use rocl::recipe::Recipe;
use rocl::recipe::evaluate::{Evaluation, share};
use rocl::recipe::settings::NamedAttack;
use rocl::recipe::trained::Encoder;
use rocl::recipe::verify::relative_l2;
use rocl::run::checkpoint::{Checkpoint, Kind};
use rocl::{Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// PyTorch and this engine are each about 1e-7 from the exact value, at any depth of these networks.
const TOLERANCE: f64 = 1e-5;
/// A rectifier whose input is zero but for rounding may be open on one side and shut on the other.
const GRADIENT_TOLERANCE: f64 = 1e-4;

impl Python {
    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.0);
        command
            .arg(root().join(script))
            .args(arguments)
            .env("PYTHONPATH", root().join("tools"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, script: &str, arguments: &[&str]) {
        let output = self.run(script, arguments);
        assert!(output.status.success(), "{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The script ends with one sentence that contains `expected`.
    #[track_caller]
    fn refuses(&self, script: &str, arguments: &[&str], expected: &str) {
        let output = self.run(script, arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let sentence = stderr.lines().last().unwrap_or_default();
        assert!(sentence.starts_with("error: ") && sentence.contains(expected), "{arguments:?}: {stderr}");
        assert_eq!(output.status.code(), Some(1));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Images and labels for Python, as they are in the data set: `[n, 32, 32, 3]` bytes.
fn write_images(data: &Dataset, path: &Path) {
    let shape = vec![data.len(), 32, 32, 3];
    let tensors = [
        ("images", TensorView::new(Dtype::U8, shape, &data.images).unwrap()),
        ("labels", TensorView::new(Dtype::U8, vec![data.len()], &data.labels).unwrap()),
    ];
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

fn read_f32(path: &Path, name: &str) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (elements, _) = file.tensor(name).unwrap().data().as_chunks();
    elements.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
}

#[track_caller]
fn equal(found: &Outputs, expected: &Path, what: &str) {
    for (name, found, tolerance) in [
        ("features", &found.features, TOLERANCE),
        ("embeddings", &found.embeddings, TOLERANCE),
        ("logits", &found.logits, TOLERANCE),
        ("gradient", &found.gradient, GRADIENT_TOLERANCE),
    ] {
        let expected = read_f32(expected, name);
        assert_eq!(found.len(), expected.len(), "{what}, {name}");
        let error = relative_l2(found, &expected);
        println!("{what}, {name}: {error:.1e} apart");
        assert!(error <= tolerance, "{what}, {name}: {error:.1e} apart");
    }
}

#[test]
fn our_checkpoints_give_the_same_outputs_in_pytorch() {
    let Some(python) = Python::with("torch, numpy, safetensors") else { return };
    let device = Device::host().unwrap();
    let images = test_images(8);
    for architecture in [Architecture::ResNet18, Architecture::ResNet50] {
        let folder = tempfile::tempdir().unwrap();
        let [checkpoint, head, data, out] =
            ["checkpoint", "head", "images", "out"].map(|name| folder.path().join(format!("{name}.safetensors")));
        trained(&device, architecture, 32, 2, &checkpoint);
        trained_head(&device, &checkpoint, 32, &head);
        write_images(&images, &data);
        python.succeeds("tests/interchange/forward.py", &[&checkpoint, &head, &data, &out].map(|path| text(path)));
        equal(&outputs(&device, &checkpoint, &head, &images), &out, &format!("{architecture:?}"));
    }
}

#[test]
fn pytorch_checkpoints_give_the_same_outputs_here() {
    let Some(python) = Python::with("torch, numpy, safetensors") else { return };
    let device = Device::host().unwrap();
    let images = test_images(8);
    for style in ["rocl", "pytorch-cifar", "torchvision"] {
        for architecture in ["resnet18", "resnet50"] {
            let folder = tempfile::tempdir().unwrap();
            let [data, expected, checkpoint, head] = ["images", "expected", "run/checkpoint", "run/head"]
                .map(|name| folder.path().join(format!("{name}.safetensors")));
            write_images(&images, &data);
            python.succeeds("tests/interchange/export.py", &[style, architecture, text(&data), text(folder.path())]);
            let files: Vec<PathBuf> = ["model.pt", "projector.pt", "linear.pt"].map(|name| folder.path().join(name)).into();
            let files = files.iter().filter(|path| path.exists()).map(|path| text(path));
            let map = root().join(format!("tools/maps/{style}.toml"));
            let arguments: Vec<&str> = files.chain(["--map", text(&map), "--out", text(&checkpoint)]).collect();
            python.succeeds("tools/import_pytorch.py", &arguments);
            let mut found = outputs(&device, &checkpoint, &head, &images);
            if style != "rocl" {
                // Those files have no projector, so that the embeddings are of an untrained one.
                found.embeddings = read_f32(&expected, "embeddings");
            }
            equal(&found, &expected, &format!("{style}, {architecture}"));
            python.refuses("tools/import_pytorch.py", &arguments, "is there already");
        }
    }
}

/// Networks that others train: imported, and written again by this engine.
#[test]
fn networks_for_evaluation_give_the_same_outputs_on_both_sides() {
    let Some(python) = Python::with("torch, numpy, safetensors") else { return };
    let device = Device::host().unwrap();
    let images = test_images(8);
    for (style, architecture) in [("pytorch-cifar", "preactresnet18"), ("wrn", "wrn16"), ("wrn", "wrn28")] {
        let folder = tempfile::tempdir().unwrap();
        let [data, expected, imported, head, ours, out] = ["images", "expected", "run/checkpoint", "run/head", "ours", "out"]
            .map(|name| folder.path().join(format!("{name}.safetensors")));
        write_images(&images, &data);
        python.succeeds("tests/interchange/export.py", &[style, architecture, text(&data), text(folder.path())]);
        let (file, map) = (folder.path().join("model.pt"), root().join(format!("tools/maps/{style}.toml")));
        python.succeeds("tools/import_pytorch.py", &[text(&file), "--map", text(&map), "--out", text(&imported)]);
        let (_, recipe) = load(&device, &imported);
        assert_eq!((recipe.network.architecture.to_string().as_str(), recipe.network.width), (architecture, 4));
        let mut found = outputs(&device, &imported, &head, &images);
        // The file has no projector, so that the embeddings are of an untrained one.
        let theirs = std::mem::replace(&mut found.embeddings, read_f32(&expected, "embeddings"));
        equal(&found, &expected, &format!("{architecture}, imported"));
        found.embeddings = theirs;
        rewritten(&device, &imported, &ours);
        python.succeeds("tests/interchange/forward.py", &[&ours, &head, &data, &out].map(|path| text(path)));
        equal(&found, &out, &format!("{architecture}, written by rocl"));
    }
}

/// A model of normalised images, imported, gives what it gave in PyTorch; so does the checkpoint that this engine makes of it.
#[test]
fn normalisation_is_carried_both_ways() {
    let Some(python) = Python::with("torch, numpy, safetensors") else { return };
    let device = Device::host().unwrap();
    let images = test_images(8);
    let folder = tempfile::tempdir().unwrap();
    let [data, plain, imported, ours, head, out] = ["images", "expected", "run/checkpoint", "ours", "run/head", "out"]
        .map(|name| folder.path().join(format!("{name}.safetensors")));
    write_images(&images, &data);
    python.succeeds("tests/interchange/export.py", &["torchvision", "resnet18", text(&data), text(folder.path())]);
    let (file, map) = (folder.path().join("model.pt"), root().join("tools/maps/torchvision.toml"));
    let arguments = [text(&file), "--map", text(&map), "--out", text(&imported)];
    let normalization = ["--mean", "0.5", "0.25", "0.125", "--std", "0.25", "0.5", "1"];
    python.succeeds("tools/import_pytorch.py", &[&arguments[..], &normalization[..]].concat());
    let bytes = std::fs::read(&imported).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let noted: serde_json::Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["normalization"]).unwrap();
    assert_eq!(noted, serde_json::json!({"mean": [0.5, 0.25, 0.125], "std": [0.25, 0.5, 1.0]}));

    rewritten(&device, &imported, &ours);
    for (what, checkpoint) in [("imported", &imported), ("written by rocl", &ours)] {
        python.succeeds("tests/interchange/forward.py", &[checkpoint, &head, &data, &out].map(|path| text(path)));
        equal(&outputs(&device, checkpoint, &head, &images), &out, what);
        // Both sides could agree because neither normalises.
        let [with, without] = [&out, &plain].map(|path| read_f32(path, "features"));
        let difference = relative_l2(&with, &without);
        assert!(difference > 100.0 * TOLERANCE, "{what}: normalisation changes features by {difference:.1e} only");
    }

    // To PyTorch's format and back: the file carries the normalisation, and says so.
    let (file, again) = (folder.path().join("exported.pt"), folder.path().join("again/checkpoint.safetensors"));
    let exported = python.run("tools/pytorch_model.py", &[text(&ours), "--head", text(&head), text(&file)]);
    let note = String::from_utf8(exported.stderr).unwrap();
    assert!(exported.status.success() && note.contains("by --mean 0.5 0.25 0.125 --std 0.25 0.5 1.0;"), "{note}");
    let map = root().join("tools/maps/rocl.toml");
    let arguments = [text(&file), "--map", text(&map), "--out", text(&again)];
    let other = ["--mean", "0", "0", "0", "--std", "1", "1", "1"];
    python.refuses("tools/import_pytorch.py", &[&arguments[..], &other].concat(), "more than one normalization");
    python.succeeds("tools/import_pytorch.py", &arguments);
    equal(&outputs(&device, &again, &head, &images), &out, "exported and imported again");
}

/// Files that `rocl` did not write, or that were changed since.
#[test]
fn what_is_no_checkpoint_is_refused_in_pytorch_in_a_sentence() {
    let Some(python) = Python::with("torch, numpy, safetensors") else { return };
    let device = Device::host().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [whole, altered, out] = ["whole", "altered", "out"].map(|name| folder.path().join(format!("{name}.safetensors")));
    trained(&device, Architecture::ResNet18, 32, 1, &whole);
    let original = || Altered::of(&whole);
    let stem = "model/conv1.weight";
    for (checkpoint, expected) in [
        (original().zeros(stem, &[]), "model.conv1.weight has no extents"),
        (original().zeros(stem, &[4, 27]), "give files that rocl wrote of one network"),
        (original().only(|name| name != stem), "there is no model.conv1.weight"),
        (original().set("kind", "linear_head"), "is no pretrain checkpoint of rocl"),
        (original().set("recipe", "[]"), "no readable recipe or normalization"),
        (original().set("normalization", "[]"), "a normalization is a mean and a std"),
        (original().set("normalization", r#"{"mean": [0, 0, 0]}"#), "a normalization is a mean and a std"),
        (original().set("normalization", r#"{"mean": [0, 0, 0], "std": [1, NaN, 1]}"#), "the std has to be"),
    ] {
        checkpoint.save(&altered);
        python.refuses("tools/pytorch_model.py", &[text(&altered), text(&out)], expected);
        assert!(!out.exists(), "{expected}");
    }
    std::fs::write(&altered, "neither").unwrap();
    python.refuses("tools/pytorch_model.py", &[text(&altered), text(&out)], "cannot be read");
    python.refuses("tools/plain_precision.py", &[text(&altered)], "cannot be read");
    python.refuses("tools/plain_precision.py", &[text(&whole)], "is not a whole recording");
}

/// PGD-20 of torchattacks (L∞, L2) and foolbox (L1) on the same model in PyTorch, against this engine's.
#[test]
fn public_attack_libraries_find_the_same_accuracy() {
    const IMAGES: usize = 300;
    // Fractions of the usual budgets: short training withstands no more.
    const BUDGETS: [&str; 3] = ["linf:2/255:20", "l2:0.125:20", "l1:2:20"];
    let Some(python) = Python::with("torch, numpy, safetensors, torchattacks, foolbox") else { return };
    let device = Device::host().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, head, data, out] =
        ["checkpoint", "head", "images", "out"].map(|name| folder.path().join(format!("{name}.safetensors")));
    trained(&device, Architecture::ResNet18, 1024, 3, &checkpoint);
    trained_head(&device, &checkpoint, 1024, &head);
    let images = test_images(IMAGES);
    write_images(&images, &data);

    let (encoder, recipe) = load(&device, &checkpoint);
    let classifier = Checkpoint::load(&head, Kind::LinearHead).unwrap();
    let classifier = encoder.load_head(&classifier, images.classes.len(), IMAGES).unwrap();
    let named = |budget: &str, start| format!("pgd:{budget}:start={start}").parse::<NamedAttack>().unwrap();
    let attacks: Vec<NamedAttack> = BUDGETS.iter().flat_map(|b| [named(b, "image"), named(b, "random")]).collect();
    let budgets: Vec<String> = attacks
        .iter()
        .step_by(2)
        .map(|attack| {
            let (epsilon, step_size) = (attack.epsilon.value(), attack.step_size.value());
            format!("{}:{epsilon}:{step_size}:{}", attack.norm_name(), attack.steps.unwrap())
        })
        .collect();
    let files = [&checkpoint, &head, &data, &out].map(|path| text(path));
    let arguments: Vec<&str> = files.into_iter().chain(budgets.iter().map(String::as_str)).collect();
    python.succeeds("tests/interchange/attack.py", &arguments);

    let batch = recipe.evaluate.batch_size as usize;
    let evaluation = Evaluation::new(&device, encoder.inference(), &classifier, &images, &attacks, batch, 0).unwrap();
    let right = evaluation.run(|_| Ok(())).unwrap();
    let clean = 100.0 * share(&right.clean);
    for (attack, right) in attacks.iter().zip(&right.attacked) {
        let start = if attack.random_start { "random" } else { "image" };
        let theirs: Vec<bool> =
            read_f32(&out, &format!("{}/{start}", attack.norm_name())).iter().map(|right| *right == 1.0).collect();
        let (here, there) = (100.0 * share(right), 100.0 * share(&theirs));
        let differing = right.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        println!("{attack}: clean {clean:.1} %, {here:.1} % here, {there:.1} % there, {differing} images differ");
        // Where all images fall, or none does, equal accuracies would mean nothing.
        assert!((5.0..=95.0).contains(&here) && here < clean - 5.0, "{attack} has to be neither futile nor total: {here}");
        // Three binomial standard errors of one accuracy. Generous: the images are the same, and only their random starts differ. Without
        // those the attacks do the same sums in another order but for the projection: libraries clip what is in the ball to [0, 1], which
        // is within both but not nearest. In L∞ that is one, and 1 % allows for images on the edge of two classes.
        let p = here / 100.0;
        let exact = attack.norm == Norm::Linf && !attack.random_start;
        let allowed = if exact { 1.0 } else { 300.0 * (p * (1.0 - p) / IMAGES as f64).sqrt() };
        assert!((here - there).abs() <= allowed, "{attack}: {here:.1} % and {there:.1} %, {allowed:.1} allowed");
    }
}

fn load(device: &Device, checkpoint: &Path) -> (Encoder<f32>, Recipe) {
    let checkpoint = Checkpoint::load(checkpoint, Kind::Pretrain).unwrap();
    let recipe = Recipe::from_json(&checkpoint.meta.recipe).unwrap();
    (Encoder::load(device, &recipe, &checkpoint).unwrap(), recipe)
}

fn doubles(tensor: &Tensor<f32>) -> Vec<f64> {
    tensor.to_vec().unwrap().into_iter().map(f64::from).collect()
}
