//! `rocl transfer` at toy scale: heads of other data on an encoder, beside what the single commands give.

mod common;
#[path = "common/formats.rs"]
mod formats;
#[path = "common/jobs.rs"]
mod jobs;

use formats::{cifar_binary, large_pixels, npy, npy_labels, npz, put, stl10_images};
use jobs::{Job, TOY, command, json, number, path, pretrain, recipe, refused, rocl, succeeds};
use rocl::data::{Dataset, Split, textures};
use rocl::recipe::Recipe;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

const ATTACKS: &str = "pgd:linf:4/255:2,fgsm:l2:0.25";

/// Other textures than the built-in ones, told apart as three classes, in `folder/other.npz`.
fn other_data(folder: &Path) -> String {
    let arrays = |data: Dataset| {
        let labels: Vec<u8> = data.labels.iter().map(|label| label % 3).collect();
        (npy("|u1", &[data.len(), 32, 32, 3], &data.images), npy_labels(&labels))
    };
    let [train, test] = [(Split::Train, 64), (Split::Test, 40)].map(|(split, n)| arrays(textures::render(7, split, n)));
    let arrays = [("train_images", train.0), ("train_labels", train.1), ("test_images", test.0), ("test_labels", test.1)];
    put(folder.join("other.npz"), npz(&arrays, false));
    path(folder, "other.npz")
}

/// Writes the recipe of a file with so many steps of the attack of robust fits to another.
fn with_attack(recipe: &str, steps: u32, to: &str) {
    let mut changed = Recipe::load(recipe).unwrap();
    changed.supervised.steps = steps;
    fs::write(to, changed.to_toml().unwrap()).unwrap();
}

/// A recipe with a short attack in robust fits; an encoder of textures in `folder/run`, and the data that it is transferred to.
fn fixtures(folder: &Path) -> [String; 3] {
    let recipe = recipe(folder);
    with_attack(&recipe, 2, &recipe);
    let out = path(folder, "run");
    succeeds(&pretrain(&recipe, &out, &[]));
    [recipe, path(Path::new(&out), "checkpoint.safetensors"), other_data(folder)]
}

fn transfer<'a>(checkpoint: &'a str, data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["transfer", "--checkpoint", checkpoint, "--data", data, "--attack", ATTACKS, "--quiet"], &TOY[..], more].concat()
}

#[test]
fn a_transfer_is_what_its_parts_are() {
    let folder = TempDir::new().unwrap();
    let [_, checkpoint, data] = fixtures(folder.path());
    let report = json(&transfer(&checkpoint, &data, &["--seeds", "2", "--seed", "3"]));
    assert_eq!(report["trained"]["data"], "textures, 64 images");
    assert_eq!((&report["test"]["name"], number(&report["train"], "images")), (&Value::from("other.npz"), 64.0));
    let out = folder.path().join("run/transfer");
    let kept: Value = serde_json::from_slice(&fs::read(out.join("transfer.json")).unwrap()).unwrap();
    assert_eq!(kept, report);

    for (place, (name, more)) in [("plain", &[][..]), ("robust", &["--robust"])].into_iter().enumerate() {
        let by_hand = path(folder.path(), name);
        let shared = ["--checkpoint", &checkpoint, "--data", &data, "--seed", "3", "--quiet"];
        let fit = json(&[&["linear-eval", "--out", &by_hand], &shared[..], &TOY, more].concat());
        let head = path(Path::new(&by_hand), "head.safetensors");
        let row = &report["heads"][place];
        assert_eq!((&row["head"], &row["fit"]["loss"]), (&Value::from(name), &fit["loss"]));
        assert_eq!(row["fit"]["train_accuracy"], fit["train_accuracy"]);
        assert!(fs::read(&head).unwrap() == fs::read(out.join(format!("{name}.safetensors"))).unwrap(), "{name}");
        let evaluate = ["evaluate", "--head", &head, "--attack", ATTACKS, "--seeds", "2"];
        let found = json(&[&evaluate[..], &shared, &TOY].concat());
        for key in ["n", "clean", "attacks", "worst_case"] {
            assert_eq!(row[key], found[key], "{name}, {key}");
        }
    }
    assert_ne!(report["heads"][0]["fit"], report["heads"][1]["fit"]);
}

#[test]
fn heads_that_are_there_are_used_again_or_refused() {
    let folder = TempDir::new().unwrap();
    let [recipe, checkpoint, data] = fixtures(folder.path());
    let out = path(folder.path(), "out");
    let into = |more: &[&'static str]| {
        [&transfer(&checkpoint, &data, &["--out", &out])[..], more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |more: &[&'static str]| {
        let arguments = into(more);
        rocl(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refuses = |more: &[&'static str], expected: &str| {
        let arguments = into(more);
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 2, expected);
    };
    let Job { code, stdout, .. } = run(&["--only", "plain", "--json"]);
    assert_eq!(code, Some(0));
    let first: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(first["heads"].as_array().unwrap().len(), 1);
    let head = fs::read(Path::new(&out).join("plain.safetensors")).unwrap();
    let Job { stdout, stderr, .. } = run(&["--json"]);
    assert!(stderr.contains("the plain head is there already, in "), "{stderr}");
    let second: Value = serde_json::from_str(&stdout).unwrap();
    assert!(second["heads"][0].get("fit").is_none() && number(&second["heads"][1]["fit"], "loss") > 0.0, "{second}");
    for key in ["clean", "attacks", "worst_case"] {
        assert_eq!(first["heads"][0][key], second["heads"][0][key]);
    }
    assert!(fs::read(Path::new(&out).join("plain.safetensors")).unwrap() == head);
    let text = run(&[]).stdout;
    for part in
        ["plain ", "robust ", "pgd:linf:4/255:2", "worst case", "40 images of other.npz", "trained on textures, 64 images"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }

    // Another fit is another head.
    refuses(&["--epochs", "2"], "plain.safetensors is there already and another head (its linear_eval.epochs is 3, not 2");
    refuses(&["--seed", "1"], "its seed is 0, not 1); choose another --out, or delete it");
    refuses(&["--val", "16"], "its data is other.npz, 64 images, not other.npz, without 16 held out, 48 images");
    let wider = path(folder.path(), "wider.toml");
    with_attack(&recipe, 3, &wider);
    let arguments = transfer(&checkpoint, &data, &["--out", &out, "--recipe", &wider]);
    refused(&arguments, 2, "robust.safetensors is there already and another head (its supervised.steps is 2, not 3)");
    // Of a plain head the attack of robust ones says nothing.
    succeeds(&[&arguments[..], &["--only", "plain"]].concat());
    // Heads may have been moved.
    fs::copy(Path::new(&out).join("plain.safetensors"), Path::new(&out).join("robust.safetensors")).unwrap();
    refuses(&["--only", "robust"], "it is not known to be robust");
    let other = path(folder.path(), "other");
    succeeds(&pretrain(&recipe, &other, &["--seed", "5"]));
    let other = path(Path::new(&other), "checkpoint.safetensors");
    refused(&transfer(&other, &data, &["--out", &out]), 2, "it is of another encoder");
}

#[test]
fn what_is_held_out_is_measured_on() {
    let folder = TempDir::new().unwrap();
    let [recipe, checkpoint, data] = fixtures(folder.path());
    let report = json(&transfer(&checkpoint, &data, &["--val", "0.25", "--only", "plain"]));
    let row = &report["heads"][0];
    assert_eq!((number(&report["train"], "images"), number(row, "n")), (48.0, 16.0));
    assert_eq!(report["test"]["name"], "other.npz, held out of 64 for training");
    // An encoder that has seen them is said to have, and no other.
    let apart = path(folder.path(), "apart");
    succeeds(&pretrain(&recipe, &apart, &["--val", "16"]));
    let apart = path(Path::new(&apart), "checkpoint.safetensors");
    for (encoder, data, seen) in [(&checkpoint, "textures", true), (&apart, "textures", false), (&checkpoint, &*data, false)] {
        let out = path(folder.path(), &format!("heads-{seen}-{}", data.len()));
        let job = rocl(&transfer(encoder, data, &["--val", "16", "--only", "plain", "--out", &out]));
        assert_eq!(job.code, Some(0), "{}", job.stderr);
        let noted =
            job.stderr.contains("the encoder was trained on textures, 64 images, which may include the images that are held out");
        assert_eq!(noted, seen, "{encoder} on {data}: {}", job.stderr);
    }
}

/// To a hundred classes, of an encoder that was trained as a classifier of ten; and to STL-10, whose images are scaled.
#[test]
fn encoders_of_classifiers_and_other_numbers_of_classes() {
    let folder = TempDir::new().unwrap();
    let out = path(folder.path(), "classifier");
    let mut supervised = Recipe::load("supervised@1").unwrap();
    (supervised.network.width, supervised.linear_eval.epochs, supervised.linear_eval.milestones) = (2, 2, vec![]);
    supervised.supervised.steps = 1;
    let recipe = path(folder.path(), "supervised.toml");
    fs::write(&recipe, supervised.to_toml().unwrap()).unwrap();
    let train = ["train", "--method", "ce", "--recipe", &recipe, "--epochs", "1", "--out", &out, "--quiet"];
    succeeds(&[&train[..], &TOY].concat());
    let checkpoint = path(Path::new(&out), "checkpoint.safetensors");

    let labels: Vec<u8> = (0..100).collect();
    put(folder.path().join("hundred/train.bin"), cifar_binary(&labels, 0, Some(0)));
    put(folder.path().join("hundred/test.bin"), cifar_binary(&labels[80..], 3, Some(0)));
    let images: Vec<Vec<u8>> = (0..20).map(large_pixels).collect();
    let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    let labels: Vec<u8> = (0..20).map(|index| index % 10 + 1).collect();
    for split in ["train", "test"] {
        put(folder.path().join(format!("stl10_binary/{split}_X.bin")), stl10_images(&images));
        put(folder.path().join(format!("stl10_binary/{split}_y.bin")), &labels);
    }
    for (data, name, classes, n) in [("hundred", "cifar-100", 100, 20.0), ("stl10_binary", "stl-10", 10, 20.0)] {
        let (data, out) = (path(folder.path(), data), path(folder.path(), name));
        let report = json(&transfer(&checkpoint, &data, &["--out", &out]));
        assert_eq!((&report["test"]["name"], number(&report["heads"][1], "n")), (&Value::from(name), n));
        let head = rocl::run::checkpoint::Checkpoint::load_head(&Path::new(&out).join("plain.safetensors")).unwrap();
        assert_eq!(head.get("linear.bias").unwrap().shape, [classes]);
    }
    // The built-in data are the encoder's own, and no others are guessed.
    let stl10 = path(folder.path(), "stl10_binary");
    let pretrained = path(folder.path(), "of-stl10");
    put(folder.path().join("stl10_binary/unlabeled_X.bin"), stl10_images(&images));
    let toy = jobs::recipe(folder.path());
    let report = json(&pretrain(&toy, &pretrained, &["--data", &stl10, "--unlabeled"]));
    assert_eq!(number(&report, "steps"), 2.0, "40 images in batches of 16");
    let of_stl10 = path(Path::new(&pretrained), "checkpoint.safetensors");
    let arguments = [&["transfer", "--checkpoint", &of_stl10, "--quiet"], &TOY[..]].concat();
    refused(
        &arguments,
        2,
        "the encoder was trained on stl-10 with unlabeled, 40 images; say with --data which images to use now",
    );
}

#[test]
fn misuse_is_answered() {
    let folder = TempDir::new().unwrap();
    let [_, checkpoint, data] = fixtures(folder.path());
    let with = |more: &[&'static str]| -> Vec<String> {
        let fixed = ["transfer", "--checkpoint", &checkpoint, "--data", &data, "--quiet"];
        [&fixed[..], &TOY, more].concat().into_iter().map(str::to_owned).collect()
    };
    let refuses = |more: &[&'static str], code, expected: &str| {
        refused(&with(more).iter().map(String::as_str).collect::<Vec<_>>(), code, expected);
    };
    refuses(&["--attack", "fgsm:l2:1,fgsm:l2:1"], 2, "attack `fgsm:l2:1` is there twice");
    refuses(&["--attack", "pgd:l2:1:2:eot"], 2, "goes through random views, which no head here has");
    refuses(&["--seeds", "0"], 2, "--seeds is 0, but must be at least 1");
    refuses(&["--only", "both"], 2, "invalid value 'both'");
    refuses(&["--epochs", "0"], 2, "linear_eval.epochs is 0, but must be at least 1");
    refuses(&["--val", "64"], 2, "--val 64 of 64 training images leaves none to train on");
    refuses(&["--max-memory", "1MiB"], 2, "the run needs ");
    refuses(&["--out", "/dev/null/x"], 1, "cannot be written");
    assert!(!Path::new(&folder.path().join("run/transfer/plain.safetensors")).exists(), "nothing was begun");
    put(folder.path().join("run/transfer/plain.safetensors"), "");
    refuses(&[], 1, "plain.safetensors: is empty");
    let head = path(folder.path(), "run/transfer/plain.safetensors");
    refused(&["transfer", "--checkpoint", &head, "--data", &data], 1, "is empty");
    refused(&["transfer", "--checkpoint", "nowhere", "--data", &data], 1, "there is no such checkpoint");
    let unlabeled = ["pretrain", "--unlabeled", "--out", "nowhere", "--quiet"];
    refused(&unlabeled, 2, "textures has no images without labels, only STL-10 has; leave --unlabeled out");
    refused(&[&unlabeled[..], &["--method", "scl"]].concat(), 2, "learns from labels, which --unlabeled images lack");
    refused(&[&unlabeled[..], &["--val", "0.1"]].concat(), 2, "cannot be used with");
}

#[cfg(unix)]
#[test]
fn an_interrupted_transfer_says_what_is_kept() {
    let folder = TempDir::new().unwrap();
    let [_, checkpoint, data] = fixtures(folder.path());
    let epochs = ["--epochs", "100000", "--only", "robust"];
    let mut arguments = transfer(&checkpoint, &data, &epochs);
    arguments.retain(|argument| *argument != "--quiet");
    let mut child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // By then it listens.
    assert!(lines.any(|line| line.starts_with("needs ")));
    // SAFETY: kill takes any two integers; the process is our child and has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    let expected = "error: stopped; heads that are fitted stay in ";
    assert!(rest.iter().any(|line| line.starts_with(expected)), "{rest:?}");
    assert!(!folder.path().join("run/transfer/transfer.json").exists());
}
