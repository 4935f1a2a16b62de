//! Networks that are for evaluating others' models, PreActResNet-18 and WRNs, at toy scale: everything but training.

mod common;
#[path = "common/jobs.rs"]
mod jobs;

use jobs::{TOY, json, number, path, pretrain, refused, succeeds};
use rocl::Device;
use rocl::nn::{Architecture, Weights};
use rocl::recipe::Recipe;
use rocl::recipe::saved::save_network;
use rocl::recipe::trained::Encoder;
use rocl::run::checkpoint::{Checkpoint, Kind, Meta};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

const NETWORKS: [Architecture; 2] = [Architecture::PreActResNet18, Architecture::WideResNet { blocks: 1 }];
const REFUSAL: &str =
    "PreActResNets and WRNs can be attacked, evaluated and given heads, but not trained; choose network.architecture";

fn recipe(architecture: Architecture) -> Recipe {
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.name = "toy".to_owned();
    (recipe.network.architecture, recipe.network.width) = (architecture, 2);
    recipe.linear_eval.epochs = 3;
    recipe.linear_eval.milestones = vec![2];
    recipe.evaluate.steps = 2;
    recipe
}

/// A checkpoint as an import leaves it, of random weights, and a head fitted on it.
fn model(folder: &Path, architecture: Architecture) -> [String; 2] {
    let recipe = recipe(architecture);
    let weights = Weights::<f32>::new(&Device::host().unwrap(), &recipe.topology(), None, 0).unwrap();
    let mut checkpoint = Checkpoint::new(Meta::new(Kind::Pretrain, recipe.to_json().unwrap(), 0, "textures"));
    save_network(&mut checkpoint, &weights, 0).unwrap();
    let out = folder.join(architecture.to_string());
    std::fs::create_dir(&out).unwrap();
    let [file, head] = ["checkpoint.safetensors", "head.safetensors"].map(|name| path(&out, name));
    checkpoint.save(Path::new(&file)).unwrap();
    succeeds(&[&["linear-eval", "--checkpoint", &file, "--quiet"][..], &TOY].concat());
    [file, head]
}

fn evaluate<'a>([checkpoint, head]: &'a [String; 2], more: &[&'a str]) -> Vec<&'a str> {
    [&["evaluate", "--checkpoint", checkpoint, "--head", head, "--quiet"], &TOY[..], more].concat()
}

fn accuracies(report: &Value) -> Vec<f64> {
    report["attacks"].as_array().unwrap().iter().map(|found| number(found, "accuracy")).collect()
}

#[test]
fn everything_is_measured_but_nothing_trained() {
    let folder = TempDir::new().unwrap();
    for architecture in NETWORKS {
        let model = model(folder.path(), architecture);
        let plain = ["--attack", "pgd:linf:8/255:2,pgd:l2:0.5:2,pgd:l1:12:2:margin,pgd:linf:0:1"];
        let report = json(&evaluate(&model, &plain));
        let (clean, found) = (number(&report["clean"], "accuracy"), accuracies(&report));
        assert!(clean > 0.0 && found[..3].iter().all(|found| *found <= clean), "{architecture}: {clean}, {found:?}");
        assert_eq!(found[3], clean, "{architecture}: an attack without a budget");
        for precision in ["fp16", "bf16"] {
            let narrow = json(&evaluate(&model, &[&plain[..], &["--precision", precision]].concat()));
            assert!(
                accuracies(&narrow).iter().all(|found| *found <= number(&narrow["clean"], "accuracy")),
                "{precision}: {narrow}"
            );
        }
        let smooth = ["--attack", "pgd:linf:2/255:2:eot", "--smooth", "2"];
        assert!(accuracies(&json(&evaluate(&model, &smooth)))[0] <= 100.0);
        let robust = path(folder.path(), &format!("{architecture}-robust"));
        succeeds(&[&["linear-eval", "--robust", "--checkpoint", &model[0], "--out", &robust, "--quiet"][..], &TOY].concat());

        let toml = path(folder.path(), "network.toml");
        std::fs::write(&toml, recipe(architecture).to_toml().unwrap()).unwrap();
        let out = path(folder.path(), "out");
        refused(&pretrain(&toml, &out, &[]), 2, REFUSAL);
        let train = ["train", "--method", "ce", "--recipe", &toml, "--out", &out, "--quiet"];
        refused(&[&train[..], &TOY].concat(), 2, REFUSAL);
        let finetune = ["finetune", "--method", "at", "--checkpoint", &model[0], "--out", &out, "--quiet"];
        refused(&[&finetune[..], &TOY].concat(), 2, REFUSAL);
        refused(&["bench", "step", "--recipe", &toml, "--batch-size", "4", "--device", "cpu"], 2, REFUSAL);
    }
}

#[test]
fn networks_of_all_kinds_attack_each_other() {
    let folder = TempDir::new().unwrap();
    let models = [Architecture::ResNet18, NETWORKS[0], NETWORKS[1]].map(|architecture| model(folder.path(), architecture));
    let attack = ["--attack", "pgd:linf:2/255:2"];
    let own: Vec<f64> = models.iter().map(|model| accuracies(&json(&evaluate(model, &attack)))[0]).collect();
    let others = models[1..].iter().map(|model| model.join(":")).collect::<Vec<_>>().join(",");
    let report = json(&evaluate(&models[0], &[&attack[..], &["--transfer-from", &others]].concat()));
    let matrix = &report["attacks"][0]["accuracy"];
    let diagonal: Vec<f64> = (0..3).map(|place| number(&matrix[place][place], "accuracy")).collect();
    assert_eq!(diagonal, own);
}

#[test]
fn networks_that_are_none_or_others_are_refused() {
    let folder = TempDir::new().unwrap();
    let [checkpoint, _] = model(folder.path(), NETWORKS[0]);
    let checkpoint = Checkpoint::load_encoder(Path::new(&checkpoint)).unwrap();
    let toml = path(folder.path(), "network.toml");
    for other in [Architecture::ResNet18, Architecture::WideResNet { blocks: 1 }] {
        let error = Encoder::<f32>::load(&Device::host().unwrap(), &recipe(other), &checkpoint).err().unwrap().to_string();
        assert!(error.contains("of another network (preactresnet18, width 2)"), "{error}");
    }
    std::fs::write(&toml, "schema = 1\nname = 'mine'\n[network]\narchitecture = 'wrn33'\n").unwrap();
    refused(
        &["pretrain", "--recipe", &toml],
        2,
        "network.architecture: there is no network \"wrn33\"; give resnet18, resnet50, preactresnet18, or wrn",
    );
}
