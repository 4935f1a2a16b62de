//! Every recipe that comes with the program, run by its own command at toy scale.

mod common;
#[path = "common/jobs.rs"]
mod jobs;

use jobs::{json, number, path};
use rayon::prelude::*;
use rocl::Device;
use rocl::data::{Split, textures};
use rocl::recipe::Recipe;
use rocl::recipe::settings::{Overrides, Preset, presets};
use rocl::recipe::trained::Encoder;
use rocl::run::checkpoint::Checkpoint;
use serde_json::Value;
use std::path::Path;

/// Two steps of four images. Presets run side by side, on a thread each.
const TOY: [&str; 9] = ["--limit", "8", "--batch-size", "4", "--threads", "1", "--device", "cpu", "--quiet"];
const STEPS: f64 = 2.0;
/// For the commands that make a network.
const NARROW: [&str; 2] = ["--width", "2"];

/// Runs a preset, in a folder of its own name; returns what it reports.
fn run(preset: &Preset, folder: &Path, encoder: &str) -> Value {
    let out = path(folder, preset.name);
    let shared = [preset.command, "--recipe", preset.name, "--epochs", "1", "--out", &out];
    let own: &[&str] = match preset.command {
        "finetune" => &["--checkpoint", encoder],
        "linear-eval" => &["--checkpoint", encoder, "--robust"],
        _ => &NARROW,
    };
    json(&[&shared[..], &TOY, own].concat())
}

/// What a network says of images that it has not seen is made of numbers.
fn is_of_use(preset: &Preset, folder: &Path, encoder: &str) {
    let file = |name: &str| path(&folder.join(preset.name), name);
    let trained = if preset.command == "linear-eval" { encoder.to_owned() } else { file("checkpoint.safetensors") };
    let checkpoint = Checkpoint::load_encoder(Path::new(&trained)).unwrap();
    let (device, data) = (Device::host().unwrap(), textures::render(textures::SEED, Split::Test, 4));
    let small = Overrides { evaluate_batch_size: Some(4), ..Overrides::default() };
    let recipe = Recipe::from_json(&checkpoint.meta.recipe).unwrap().with(&small).unwrap();
    let encoder = Encoder::<f32>::load(&device, &recipe, &checkpoint).unwrap();
    let features = encoder.features(&data, |_| Ok(())).unwrap();
    let head = match preset.command {
        "pretrain" => None,
        "linear-eval" => Some(Checkpoint::load_head(Path::new(&file("head.safetensors"))).unwrap()),
        _ => Some(checkpoint),
    };
    let scores = match head {
        Some(head) => encoder.load_head(&head, data.classes.len(), data.len()).unwrap().forward(&features).unwrap(),
        None => features,
    };
    assert!(scores.to_vec().unwrap().iter().all(|score| score.is_finite()), "{}: {scores:?}", preset.name);
    if preset.command != "linear-eval" {
        assert_eq!(recipe.name, preset.name);
    }
}

#[test]
fn every_preset_runs_by_its_command() {
    let folder = tempfile::tempdir().unwrap();
    // What is fine-tuned, and what heads are fitted on.
    let demo = presets().iter().find(|preset| preset.name == "demo@1").unwrap();
    let encoder = path(&folder.path().join("encoder").join(demo.name), "checkpoint.safetensors");
    run(demo, &folder.path().join("encoder"), "");
    presets().par_iter().for_each(|preset| {
        let report = run(preset, folder.path(), &encoder);
        let losses = if preset.command == "linear-eval" { &report } else { &report["losses"] };
        let losses = losses.as_object().unwrap().iter().filter(|(name, _)| !["schema", "head"].contains(&name.as_str()));
        // JSON has null where a number is not finite.
        assert!(losses.clone().all(|(_, value)| value.is_number()) && losses.count() >= 2, "{}: {report}", preset.name);
        if preset.command != "linear-eval" {
            assert_eq!((number(&report, "steps"), &report["recipe"]), (STEPS, &Value::from(preset.name)));
        }
        is_of_use(preset, folder.path(), &encoder);
    });
}

/// `docs/paper.md` has each row that there is a recipe for, and no recipe that does not exist.
#[test]
fn the_paper_is_mapped_to_recipes() {
    let text = std::fs::read_to_string(common::root().join("docs/paper.md")).unwrap();
    let stem = |preset: &Preset| preset.name.split('@').next().unwrap().to_owned();
    for row in presets().iter().map(stem).filter(|stem| stem.starts_with("paper")) {
        assert!(text.contains(&format!("`{row}`")), "docs/paper.md does not have {row}");
    }
    let code = text.split('`').skip(1).step_by(2).filter(|word| word.starts_with("paper-"));
    let commands = text.split("--recipe ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    for name in code.chain(commands).map(|name| name.trim_end_matches('`')).filter(|name| *name != "$row") {
        assert!(rocl::recipe::settings::preset(name).is_some(), "docs/paper.md has {name}, which is no preset");
    }
}
