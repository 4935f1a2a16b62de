//! Training with labels and robust heads, driven through the program.

mod common;
#[path = "common/jobs.rs"]
mod jobs;

use jobs::{TOY, json, number, path, pretrain, refused, succeeds};
use tempfile::TempDir;

/// A supervised recipe for toys, beside the one for pretraining.
fn recipe(folder: &std::path::Path) -> String {
    let mut recipe = rocl::recipe::Recipe::load("supervised@1").unwrap();
    recipe.name = "toy".to_owned();
    recipe.network.width = 2;
    recipe.train.epochs = 2;
    recipe.schedule = rocl::optim::schedule::Schedule::MultiStep { milestones: vec![1], decay: 0.1 };
    recipe.supervised.steps = 1;
    recipe.evaluate.steps = 1;
    let path = path(folder, "supervised.toml");
    std::fs::write(&path, recipe.to_toml().unwrap()).unwrap();
    path
}

#[test]
fn a_classifier_is_trained_resumed_and_evaluated() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "run"));
    let train = |more: &[&str]| json(&[&["train", "--recipe", &recipe, "--out", &out, "--quiet"], &TOY[..], more].concat());
    let report = train(&["--method", "trades"]);
    assert_eq!((number(&report, "steps"), number(&report, "schema")), (8.0, 1.0));
    assert!(
        (0.0..=100.0).contains(&number(&report["losses"], "train_accuracy")) && number(&report["losses"], "regularizer") > 0.0
    );
    // It is finished; the method is that of the run.
    let resume = ["train", "--out", &out, "--resume", "--limit", "64", "--device", "cpu", "--quiet"];
    assert!(succeeds(&resume).contains("the run is finished, after 8 steps; classifier in "));
    let checkpoint = path(folder.path(), "run/checkpoint.safetensors");
    let evaluate = ["evaluate", "--checkpoint", &checkpoint, "--limit", "32", "--device", "cpu", "--threads", "2", "--quiet"];
    assert_eq!(number(&json(&evaluate), "n"), 32.0);
    let head =
        json(&["linear-eval", "--checkpoint", &checkpoint, "--limit", "64", "--epochs", "1", "--device", "cpu", "--quiet"]);
    assert!(number(&head, "loss") > 0.0, "an encoder that was trained with labels has features, too");
}

#[test]
fn an_encoder_is_fine_tuned_and_its_head_made_robust() {
    let folder = TempDir::new().unwrap();
    let (contrastive, out) = (jobs::recipe(folder.path()), path(folder.path(), "run"));
    succeeds(&pretrain(&contrastive, &out, &[]));
    let (recipe, encoder) = (recipe(folder.path()), path(folder.path(), "run/checkpoint.safetensors"));
    let finetune = |command: &'static str, out: &str, method: &str| {
        let arguments = [command, "--checkpoint", &encoder, "--recipe", &recipe, "--method", method, "--out", out, "--quiet"];
        json(&[&arguments[..], &TOY[..]].concat())
    };
    for (command, method) in [("finetune", "at-ss"), ("aff", "ce")] {
        let tuned = path(folder.path(), method);
        assert_eq!(number(&finetune(command, &tuned, method), "steps"), 8.0);
        let checkpoint = path(std::path::Path::new(&tuned), "checkpoint.safetensors");
        json(&["evaluate", "--checkpoint", &checkpoint, "--limit", "32", "--device", "cpu", "--quiet"]);
    }
    // What was tuned without its projector cannot be contrasted on.
    let without = path(folder.path(), "ce/checkpoint.safetensors");
    let again = ["finetune", "--checkpoint", &without, "--recipe", &recipe, "--method", "at-ss", "--out", "again", "--quiet"];
    refused(&[&again[..], &TOY[..]].concat(), 2, "has no projector, which at-ss contrasts through; give an encoder of");
    for (command, more) in [("linear-eval", &["--robust"][..]), ("alf", &[]), ("slf", &[])] {
        let out = path(folder.path(), command);
        let arguments = [command, "--checkpoint", &encoder, "--recipe", &recipe, "--epochs", "1", "--out", &out, "--quiet"];
        assert_eq!(number(&json(&[&arguments[..], &TOY[..], more].concat()), "n"), 64.0);
    }
    let heads =
        ["linear-eval", "alf", "slf"].map(|name| std::fs::read(folder.path().join(name).join("head.safetensors")).unwrap());
    assert!(heads[0] == heads[1] && heads[0] != heads[2], "alf is linear-eval --robust, slf is not");
}
