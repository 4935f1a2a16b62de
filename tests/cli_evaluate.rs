//! `rocl evaluate` at toy scale: lists of attacks, seeds, images held out, models compared, adversaries kept and passed on.

mod common;
#[path = "common/jobs.rs"]
mod jobs;

use jobs::{TOY, json, number, path, pretrain, recipe, refused, succeeds};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// Every kind of attack, each short.
const LIST: &str = "pgd:linf:8/255:2,pgd:l2:0.5:2,pgd:l1:12:2,fgsm:linf:8/255,pgd:linf:4/255:2:restarts=3:margin,pgd:l2:0.5:2:kl";

/// An encoder and a head in `folder/name`.
fn model(folder: &Path, recipe: &str, name: &str, more: &[&str]) -> [String; 2] {
    let out = path(folder, name);
    succeeds(&[&pretrain(recipe, &out, &[])[..], more].concat());
    let [checkpoint, head] = ["checkpoint", "head"].map(|file| path(Path::new(&out), &format!("{file}.safetensors")));
    succeeds(&[&["linear-eval", "--checkpoint", &checkpoint, "--quiet"][..], &TOY].concat());
    [checkpoint, head]
}

fn evaluate<'a>([checkpoint, head]: &'a [String; 2], more: &[&'a str]) -> Vec<&'a str> {
    [&["evaluate", "--checkpoint", checkpoint, "--head", head, "--quiet"], &TOY[..], more].concat()
}

fn accuracy(found: &Value) -> f64 {
    let [accuracy, low, high] = ["accuracy", "low", "high"].map(|key| number(found, key));
    assert!(0.0 <= low && low <= accuracy && accuracy <= high && high <= 100.0, "{found}");
    accuracy
}

#[test]
fn a_list_of_attacks_has_a_worst_case_and_seeds_a_deviation() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "results"));
    let model = model(folder.path(), &recipe, "run", &[]);
    let report = json(&evaluate(&model, &["--attack", LIST, "--out", &out]));
    let names: Vec<&str> = report["attacks"].as_array().unwrap().iter().map(|a| a["attack"].as_str().unwrap()).collect();
    assert_eq!(names.join(","), LIST);
    let attacked: Vec<f64> = report["attacks"].as_array().unwrap().iter().map(accuracy).collect();
    let (clean, worst) = (accuracy(&report["clean"]), accuracy(&report["worst_case"]));
    assert!(worst <= clean && attacked.iter().all(|found| worst <= *found), "{report}");
    // What the file says of each image adds up to the same.
    let kept: Value = serde_json::from_slice(&std::fs::read(Path::new(&out).join("per_image.json")).unwrap()).unwrap();
    for (name, digits) in kept["right"].as_array().unwrap().iter().map(|pair| (&pair[0], pair[1].as_str().unwrap())) {
        let percent = 100.0 * digits.matches('1').count() as f64 / 64.0;
        let place = names.iter().position(|known| name == known);
        let expected = place.map_or(if name == "clean" { clean } else { worst }, |place| attacked[place]);
        assert_eq!((digits.len(), percent), (64, expected), "{name}");
    }

    // An attack does what it does in a list of its own, and in another place.
    let alone = json(&evaluate(&model, &["--attack", "pgd:l1:12:2"]));
    assert_eq!(alone["attacks"][0], report["attacks"][2]);
    let text = succeeds(&evaluate(&model, &["--attack", LIST]));
    for row in ["PGD-2, L2 0.5, step 0.625", "FGSM, L∞ 8/255 ", "step 4/2550, margin, 3 restarts", "the worst of these"] {
        assert!(text.contains(row), "{row}: {text}");
    }

    let several = json(&evaluate(&model, &["--attack", "pgd:l2:0.5:2,fgsm:linf:8/255", "--seeds", "3"]));
    let by_seed: Vec<f64> =
        several["attacks"][0]["by_seed"].as_array().unwrap().iter().map(|found| found.as_f64().unwrap()).collect();
    assert_eq!((by_seed.len(), by_seed[0]), (3, attacked[1]), "the first seed is the one");
    let second = json(&evaluate(&model, &["--attack", "pgd:l2:0.5:2", "--seed", "1"]));
    assert_eq!(by_seed[1], accuracy(&second["attacks"][0]));
    assert!((accuracy(&several["attacks"][0]) - by_seed.iter().sum::<f64>() / 3.0).abs() < 1e-9);
    // Nothing is random in FGSM.
    assert_eq!(number(&several["attacks"][1], "std"), 0.0);
    assert!(several["clean"].get("std").is_none());

    refused(&evaluate(&model, &["--attack", "fgsm:linf:8/255,fgsm:linf:8/255"]), 2, "attack `fgsm:linf:8/255` is there twice");
    refused(&evaluate(&model, &["--attack", "pgd:l3:1:2"]), 2, "`l3` is no norm");
    refused(&evaluate(&model, &["--seeds", "0"]), 2, "--seeds is 0, but must be at least 1");
    refused(&evaluate(&model, &["--attack", LIST, "--epsilon", "8/255"]), 2, "cannot be used with");
}

#[test]
fn models_are_compared_and_attack_each_other() {
    let folder = TempDir::new().unwrap();
    let recipe = recipe(folder.path());
    let [first, second] = ["first", "second"].map(|name| {
        let seed = if name == "first" { "0" } else { "5" };
        model(folder.path(), &recipe, name, &["--seed", seed])
    });
    let [out, other] = ["out", "other"].map(|name| path(folder.path(), name));
    let attack = ["--attack", "pgd:l2:0.03:2"];
    let ours = json(&evaluate(&first, &[&attack[..], &["--out", &out]].concat()));
    let per_image = path(Path::new(&out), "per_image.json");
    let beside = [&attack[..], &["--out", &other, "--against", &per_image]].concat();
    let theirs = json(&evaluate(&second, &beside));
    let comparisons = theirs["against"]["comparisons"].as_array().unwrap();
    assert_eq!(comparisons.len(), 3);
    for (comparison, key) in comparisons.iter().zip(["clean", "attacks", "worst_case"]) {
        let found = |report: &Value| accuracy(if key == "attacks" { &report[key][0] } else { &report[key] });
        let difference = 100.0 * (number(comparison, "only_here") - number(comparison, "only_there")) / 64.0;
        assert!((found(&theirs) - found(&ours) - difference).abs() < 1e-9, "{comparison}");
        assert!((0.0..=1.0).contains(&number(comparison, "p")));
    }
    assert!(succeeds(&evaluate(&second, &beside)).contains("p by McNemar's exact test"));
    let fewer = ["--limit", "32", "--quiet", "--device", "cpu", "--against", &per_image];
    let arguments = [&["evaluate", "--checkpoint", &second[0], "--head", &second[1]], &fewer[..]].concat();
    refused(&arguments, 2, "was measured on other images (textures)");

    // Kept adversaries are those that were measured, and the matrix is made of such measurements.
    let files = [&first, &second].map(|model| {
        let file = path(folder.path(), &format!("{}.safetensors", if model == &first { "a" } else { "b" }));
        succeeds(&evaluate(model, &[&attack[..], &["--save-adversaries", &file]].concat()));
        file
    });
    let on = |model: &[String; 2], file: &str| accuracy(&json(&evaluate(model, &["--adversaries", file]))["attacks"][0]);
    let by_hand = [&files[0], &files[1]].map(|file| [on(&first, file), on(&second, file)]);
    assert_eq!(by_hand[0][0], accuracy(&ours["attacks"][0]));
    assert_eq!(by_hand[1][1], accuracy(&theirs["attacks"][0]));
    let pair = second.join(":");
    let across = [&attack[..], &["--transfer-from", &pair]].concat();
    let report = json(&evaluate(&first, &across));
    for (source, row) in by_hand.iter().enumerate() {
        for (target, expected) in row.iter().enumerate() {
            assert_eq!(accuracy(&report["attacks"][0]["accuracy"][source][target]), *expected, "{source} on {target}");
        }
    }
    let text = succeeds(&evaluate(&first, &across));
    assert!(text.contains("made against model 2") && text.contains("on model 1"), "{text}");
    assert!(text.contains(&format!("model 2 is {}", second[0])), "{text}");
    refused(&evaluate(&first, &["--transfer-from", "somewhere"]), 2, "give an encoder and its head as ENCODER:HEAD");
    refused(&evaluate(&first, &["--adversaries", &first[0]]), 1, "holds no adversaries");
}

#[test]
fn what_is_held_out_is_measured_on_and_not_trained_on() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "run"));
    let report = json(&pretrain(&recipe, &out, &["--val", "0.25"]));
    assert_eq!(number(&report, "steps"), 3.0, "48 images in batches of 16");
    let [checkpoint, head] = ["checkpoint", "head"].map(|file| path(Path::new(&out), &format!("{file}.safetensors")));
    let fit = [&["linear-eval", "--checkpoint", &checkpoint, "--quiet"][..], &TOY].concat();
    let report = json(&[&fit[..], &["--val", "16"]].concat());
    assert_eq!(number(&report, "n"), 48.0);
    let model = [checkpoint, head];
    let report = json(&evaluate(&model, &["--val", "16"]));
    assert_eq!((number(&report, "n"), &report["data"]), (16.0, &Value::from("textures, held out of 64 for training")));
    refused(&evaluate(&model, &["--val", "8"]), 2, "the head was fitted on textures, without 16 held out, 48 images, not on");
    refused(&evaluate(&model, &["--val", "64"]), 2, "--val 64 of 64 training images leaves none to train on");
    refused(&evaluate(&model, &["--val", "2.5"]), 2, "`2.5` is no part of the training images");
}

#[test]
fn smoothed_classifiers_are_attacked_plainly_and_through_the_expectation() {
    let folder = TempDir::new().unwrap();
    let recipe = recipe(folder.path());
    let model = model(folder.path(), &recipe, "run", &[]);
    let attacks = ["--attack", "pgd:linf:2/255:2,pgd:linf:2/255:2:eot,pgd:l2:0.1:2:margin:eot"];
    let smooth = [&attacks[..], &["--smooth", "3"]].concat();
    let report = json(&evaluate(&model, &smooth));
    assert_eq!(number(&report, "smooth"), 3.0);
    assert!(report["attacks"].as_array().unwrap().iter().all(|found| accuracy(found) <= 100.0));
    assert_eq!(report, json(&evaluate(&model, &smooth)), "views are drawn by the seed");
    // Without a budget no attack does anything, through whatever it goes; and views are others than the image.
    let still = json(&evaluate(&model, &["--attack", "pgd:l2:0:1,pgd:l2:0:1:eot", "--smooth", "3"]));
    let clean = accuracy(&still["clean"]);
    assert_eq!([0, 1].map(|attack| accuracy(&still["attacks"][attack])), [clean; 2]);
    assert!(succeeds(&evaluate(&model, &smooth)).contains("through the expectation"));
    // Other seeds draw other views, of images without an attack too.
    let seeds = json(&evaluate(&model, &["--attack", "pgd:linf:2/255:2:eot:restarts=2", "--smooth", "1", "--seeds", "3"]));
    let by_seed = seeds["clean"]["by_seed"].as_array().unwrap();
    assert_eq!(by_seed.len(), 3);
    let mean = by_seed.iter().map(|accuracy| accuracy.as_f64().unwrap()).sum::<f64>() / 3.0;
    assert!((accuracy(&seeds["clean"]) - mean).abs() < 1e-9, "{seeds}");
    // Smoothed and plain results are not held against each other.
    let out = folder.path().join("smoothed");
    let out = out.to_str().unwrap();
    succeeds(&evaluate(&model, &["--smooth", "2", "--out", out]));
    let other = format!("{out}/per_image.json");
    refused(&evaluate(&model, &["--against", &other]), 2, "was measured with --smooth 2; measure both models alike");
    refused(&evaluate(&model, &["--save-adversaries", &other]), 2, "per_image.json is there already; choose another file");
    refused(&evaluate(&model, &attacks), 2, "goes through random views, but there are none; add --smooth N");
    refused(&evaluate(&model, &["--smooth", "0"]), 2, "--smooth is 0, but must be at least 1");
}
