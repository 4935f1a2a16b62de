//! Weights to and from PyTorch, by the scripts in `tools/`: the same outputs on both sides, and the same accuracy under an attack that
//! is not ours.
//!
//! Runs where there is a Python with the packages of `tools/requirements.txt`: the one that `ROCL_PYTHON` names, else
//! `target/venv/bin/python`. Says `skipped` where there is none; a `ROCL_PYTHON` that will not do is a failure.

mod attacked;
#[path = "../common/mod.rs"]
mod common;
mod engine;
mod import;

use common::altered::Altered;
use common::python::Python;
use common::root;
use engine::{Outputs, outputs, rewritten, small, test_images, trained, trained_head, trained_with_labels};
use rocl::data::Dataset;
use rocl::nn::Architecture;
use rocl::recipe::Recipe;
use rocl::recipe::settings::Method;
use rocl::recipe::trained::Encoder;
use rocl::recipe::verify::relative_l2;
use rocl::run::checkpoint::Checkpoint;
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
    let embeddings = found.embeddings.as_ref().map(|embeddings| ("embeddings", embeddings, TOLERANCE));
    for (name, found, tolerance) in [
        ("features", &found.features, TOLERANCE),
        ("logits", &found.logits, TOLERANCE),
        ("gradient", &found.gradient, GRADIENT_TOLERANCE),
    ]
    .into_iter()
    .chain(embeddings)
    {
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
        trained(&device, &small(architecture, 2), 32, &checkpoint);
        trained_head(&device, &checkpoint, 32, &head);
        write_images(&images, &data);
        python.succeeds("tests/interchange/forward.py", &[&checkpoint, &head, &data, &out].map(|path| text(path)));
        equal(&outputs(&device, &checkpoint, &head, &images), &out, &format!("{architecture:?}"));
    }
}

/// A classifier has its head in it, and a projector if it was trained with one. To PyTorch's format and back it is an encoder and a head.
#[test]
fn our_classifiers_give_the_same_outputs_in_pytorch() {
    let Some(python) = Python::with("torch, numpy, safetensors") else { return };
    let device = Device::host().unwrap();
    let images = test_images(8);
    for (method, architecture) in [(Method::Ce, Architecture::ResNet50), (Method::AtSs, Architecture::ResNet18)] {
        let folder = tempfile::tempdir().unwrap();
        let [classifier, data, out, imported, head] = ["classifier", "images", "out", "run/checkpoint", "run/head"]
            .map(|name| folder.path().join(format!("{name}.safetensors")));
        let mut recipe = small(architecture, 1);
        recipe.train.method = method;
        trained_with_labels(&device, &recipe, &classifier);
        write_images(&images, &data);
        let found = outputs(&device, &classifier, &classifier, &images);
        assert_eq!(found.embeddings.is_some(), method == Method::AtSs);
        // Its own head, and the head of a file, which is the same.
        for head in ["", text(&classifier)] {
            python.succeeds("tests/interchange/forward.py", &[text(&classifier), head, text(&data), text(&out)]);
            equal(&found, &out, &format!("{method:?}"));
        }
        let (file, map) = (folder.path().join("model.pt"), root().join("tools/maps/rocl.toml"));
        python.succeeds("tools/pytorch_model.py", &[text(&classifier), text(&file)]);
        python.succeeds("tools/import_pytorch.py", &[text(&file), "--map", text(&map), "--out", text(&imported)]);
        let again = outputs(&device, &imported, &head, &images);
        assert_eq!((again.features, again.logits), (found.features, found.logits), "{method:?}");
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
                found.embeddings = Some(read_f32(&expected, "embeddings"));
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
        let theirs = found.embeddings.replace(read_f32(&expected, "embeddings"));
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
    trained(&device, &small(Architecture::ResNet18, 1), 32, &whole);
    let original = || Altered::of(&whole);
    let stem = "model/conv1.weight";
    for (checkpoint, expected) in [
        (original().zeros(stem, &[]), "model.conv1.weight has no extents"),
        (original().zeros(stem, &[4, 27]), "give files that rocl wrote of one network"),
        (original().only(|name| name != stem), "there is no model.conv1.weight"),
        (original().set("kind", "linear_head"), "is no pretrain or classifier checkpoint of rocl"),
        (original().set("kind", "classifier"), "there is no linear.*"),
        (original().only(|name| !name.starts_with("projector/")), "there is no projector.*"),
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

fn load(device: &Device, checkpoint: &Path) -> (Encoder<f32>, Recipe) {
    let checkpoint = Checkpoint::load_encoder(checkpoint).unwrap();
    let recipe = Recipe::from_json(&checkpoint.meta.recipe).unwrap();
    (Encoder::load(device, &recipe, &checkpoint).unwrap(), recipe)
}

fn doubles(tensor: &Tensor<f32>) -> Vec<f64> {
    tensor.to_vec().unwrap().into_iter().map(f64::from).collect()
}
