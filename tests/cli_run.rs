//! The program, driven as a process through whole jobs at toy scale: train, interrupt, resume, fit, attack, compare.

mod common;
#[path = "common/jobs.rs"]
mod jobs;

use jobs::{TOY, command, finished, json, number, path, pretrain, recipe, refused, rocl, succeeds};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

#[test]
fn from_training_to_accuracy_under_attack() {
    let folder = TempDir::new().unwrap();
    let recipe = recipe(folder.path());
    for method in ["rocl", "simclr"] {
        let out = path(folder.path(), method);
        let report = json(&pretrain(&recipe, &out, &["--method", method]));
        assert_eq!((number(&report, "schema"), number(&report, "steps")), (1.0, 4.0));
        assert_eq!(report["recipe"], "toy");
        let (main, attack) = (number(&report["losses"], "main"), number(&report["losses"], "attack"));
        assert!(main > 0.0 && (attack > 0.0) == (method == "rocl"), "{report}");
        let checkpoint = path(Path::new(&out), "checkpoint.safetensors");
        assert_eq!(report["checkpoint"], checkpoint.as_str());
        let log = std::fs::read_to_string(path(Path::new(&out), "metrics.jsonl")).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "a header and one epoch");
        assert_eq!((&lines[0]["recipe"], number(&lines[1], "epoch")), (&Value::from("toy"), 0.0));
        assert_eq!(number(&lines[1], "main"), main);

        let fit = ["linear-eval", "--checkpoint", &checkpoint, "--quiet"];
        let fit = [&fit[..], &TOY].concat();
        let report = json(&fit);
        let head = path(Path::new(&out), "head.safetensors");
        assert_eq!((report["head"].as_str().unwrap(), number(&report, "n")), (head.as_str(), 64.0));
        assert!(number(&report, "loss") > 0.0 && (0.0..=100.0).contains(&number(&report, "train_accuracy")));
        // The same again, as text and elsewhere: a head is never overwritten.
        refused(&fit, 2, "head.safetensors is there already; choose another --out, or delete it");
        let again = path(folder.path(), &format!("{method}-again"));
        assert!(succeeds(&[&fit[..], &["--out", &again]].concat()).contains("linear head on 64 images: loss "));
        let second = std::fs::read(path(Path::new(&again), "head.safetensors")).unwrap();
        assert!(std::fs::read(&head).unwrap() == second, "the same fit gives the same head");

        let evaluate = ["evaluate", "--checkpoint", &checkpoint, "--head", &head, "--quiet"];
        let evaluate = [&evaluate[..], &TOY].concat();
        let report = json(&evaluate);
        let accuracies = |report: &Value| [&report["clean"], &report["attacks"][0]].map(|found| number(found, "accuracy"));
        let attack = &report["attacks"][0];
        assert_eq!((number(&report, "schema"), number(&report, "n"), number(attack, "steps")), (2.0, 64.0, 2.0));
        assert_eq!((&attack["epsilon"], &report["data"]), (&Value::from("8/255"), &Value::from("textures")));
        assert_eq!(attack["attack"], "pgd:linf:8/255:2");
        let [clean, pgd] = accuracies(&report);
        assert!((0.0..=100.0).contains(&pgd) && (0.0..=100.0).contains(&clean), "{report}");
        let text = succeeds(&evaluate);
        assert!(text.contains(&format!("{clean:.2} %")) && text.contains("PGD-2, L∞ 8/255"), "{text}");
        // No budget, no attack; and the step follows the radius.
        let still = json(&[&evaluate[..], &["--epsilon", "0"]].concat());
        assert_eq!(accuracies(&still), [clean, clean]);
        let wide = json(&[&evaluate[..], &["--epsilon", "16/255", "--out", &again]].concat());
        assert_eq!(wide["attacks"][0]["step_size"], "16/2550");
        let file: Value = serde_json::from_slice(&std::fs::read(path(Path::new(&again), "evaluate.json")).unwrap()).unwrap();
        assert_eq!(file, wide);
    }
    // The head of one encoder is not taken for another's.
    let file = |method: &str, name: &str| path(&folder.path().join(method), name);
    let (encoder, head) = (file("rocl", "checkpoint.safetensors"), file("simclr", "head.safetensors"));
    let mixed = ["evaluate", "--checkpoint", &encoder, "--head", &head, "--quiet"];
    refused(&[&mixed[..], &TOY].concat(), 2, "the head was fitted on another encoder");
}

#[test]
fn a_job_in_sixteen_bits() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "run"));
    succeeds(&pretrain(&recipe, &out, &["--precision", "fp16"]));
    let log = std::fs::read_to_string(Path::new(&out).join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["precision"], "fp16");
    // Four steps: at most as many halvings.
    let (scale, skipped) = (number(&lines[1], "loss_scale"), number(&lines[1], "skipped_steps"));
    assert_eq!(scale, 65536.0 / 2f64.powf(skipped));

    // A run goes on in its own precision, in no other.
    succeeds(&pretrain(&recipe, &out, &["--resume"]));
    let other = pretrain(&recipe, &out, &["--resume", "--precision", "bf16"]);
    refused(&other, 2, "the run was trained in fp16, not in bf16; give --precision fp16");

    // What it gave can be used in any.
    let [checkpoint, head] = ["checkpoint", "head"].map(|name| path(Path::new(&out), &format!("{name}.safetensors")));
    let fit = ["linear-eval", "--checkpoint", &checkpoint, "--quiet", "--precision", "bf16"];
    succeeds(&[&fit[..], &TOY].concat());
    for precision in ["fp16", "bf16", "tf32"] {
        let evaluate = ["evaluate", "--checkpoint", &checkpoint, "--head", &head, "--quiet", "--precision", precision];
        assert_eq!(number(&json(&[&evaluate[..], &TOY].concat()), "n"), 64.0);
    }
}

/// On a CPU it is fp32's arithmetic, but the run is what it was asked to be.
#[test]
fn a_run_in_tf32_stays_one() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "run"));
    succeeds(&pretrain(&recipe, &out, &["--precision", "tf32"]));
    let log = std::fs::read_to_string(Path::new(&out).join("metrics.jsonl")).unwrap();
    let header: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(header["precision"], "tf32");
    succeeds(&pretrain(&recipe, &out, &["--resume"]));
    succeeds(&pretrain(&recipe, &out, &["--resume", "--precision", "tf32"]));
    let other = pretrain(&recipe, &out, &["--resume", "--precision", "fp32"]);
    refused(&other, 2, "the run was trained in tf32, not in fp32; give --precision tf32");
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let recipe = recipe(folder.path());
    let [whole, cut] = ["whole", "cut"].map(|name| path(folder.path(), name));
    let epochs = ["--epochs", "20"];
    succeeds(&pretrain(&recipe, &whole, &epochs));

    let mut child = command(&pretrain(&recipe, &cut, &epochs)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The log has a line when the first epoch is over.
    let log = folder.path().join("cut/metrics.jsonl");
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 2 {
        assert_eq!(child.try_wait().unwrap(), None, "the run ended before its first epoch did");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // SAFETY: kill takes any two integers; the process is our child and has not been waited for.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) }, 0);
    let job = finished(child.wait_with_output().unwrap());
    assert_eq!((job.code, job.stdout.as_str()), (Some(130), ""), "{}", job.stderr);
    assert!(
        job.stderr.contains("stopping as soon as this step is done") && job.stderr.contains("--resume goes on"),
        "{}",
        job.stderr
    );

    // All settings are the checkpoint's; a recipe that is named is compared with them.
    refused(&pretrain(&recipe, &cut, &["--resume"]), 2, "train.epochs is 1, not 20");
    succeeds(&["pretrain", "--out", &cut, "--limit", "64", "--resume", "--quiet"]);
    let read = |run: &str, name: &str| std::fs::read(Path::new(run).join(name)).unwrap();
    assert!(read(&whole, "checkpoint.safetensors") == read(&cut, "checkpoint.safetensors"), "the resumed run ends elsewhere");
    let lines = |run: &str| -> Vec<Value> {
        let text = String::from_utf8(read(run, "metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| {
                let mut value: Value = serde_json::from_str(line).unwrap();
                value.as_object_mut().unwrap().remove("images_per_second");
                value
            })
            .collect()
    };
    assert_eq!(lines(&whole), lines(&cut), "every epoch once, with the same losses");
}

#[test]
fn unusable_files_and_devices_are_explained() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "run"));
    refused(&pretrain(&recipe, &out, &["--data", "nowhere"]), 1, "nowhere: there is no such file or folder");
    let too_few = ["pretrain", "--recipe", &recipe, "--out", &out, "--limit", "8", "--device", "cpu"];
    refused(&too_few, 2, "do not fill one batch of 128; lower --batch-size (train.batch_size) to at most 8");
    let cores = std::thread::available_parallelism().unwrap().get();
    let crowd = (4 * cores + 1).to_string();
    let crowd = ["pretrain", "--recipe", &recipe, "--out", &out, "--threads", &crowd];
    refused(&crowd, 2, &format!("but must be at most {}, 4 for each core here; leave it out to use all cores", 4 * cores));
    // The recipe is a file, and no folder can be made in it.
    refused(
        &pretrain(&recipe, &path(Path::new(&recipe), "run"), &[]),
        1,
        "(Not a directory (os error 20)); choose another path for the output",
    );
    refused(&pretrain(&recipe, &out, &["--resume"]), 1, "there is no such checkpoint");
    assert!(!Path::new(&out).exists(), "a refused run leaves nothing behind");

    succeeds(&pretrain(&recipe, &out, &[]));
    let checkpoint = path(Path::new(&out), "checkpoint.safetensors");
    let fit = |checkpoint: &str, out: &str| -> Vec<String> {
        let arguments = ["linear-eval", "--checkpoint", checkpoint, "--out", out, "--quiet"];
        arguments.iter().chain(&TOY).map(ToString::to_string).collect()
    };
    let refuse = |arguments: Vec<String>, expected: &str| {
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 1, expected);
    };

    // A head of a wider encoder.
    let wide = path(folder.path(), "wide");
    succeeds(&pretrain(&recipe, &wide, &["--width", "4"]));
    let arguments = fit(&path(Path::new(&wide), "checkpoint.safetensors"), &wide);
    succeeds(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let head = path(Path::new(&wide), "head.safetensors");
    refused(
        &["evaluate", "--checkpoint", &checkpoint, "--head", &head, "--limit", "8"],
        2,
        "the head was fitted on another encoder",
    );
    refused(&["evaluate", "--checkpoint", &head, "--head", &head], 1, "give an encoder from `rocl pretrain` here");

    let bytes = std::fs::read(&checkpoint).unwrap();
    for (length, expected) in [(0, "is empty"), (6, "is truncated"), (bytes.len() / 2, "is truncated")] {
        std::fs::write(&checkpoint, &bytes[..length]).unwrap();
        refuse(fit(&checkpoint, &out), expected);
        refused(&pretrain(&recipe, &out, &["--resume"]), 1, expected);
    }
    std::fs::write(&checkpoint, vec![0xff; bytes.len()]).unwrap();
    let job = rocl(&["linear-eval", "--checkpoint", &checkpoint]);
    assert_eq!(job.code, Some(1), "{}", job.stderr);
}

/// A folder with CIFAR-10's layout: two training files and a test file, 40 records each.
fn cifar(folder: &Path) -> PathBuf {
    let data = folder.join("cifar-10-batches-bin");
    std::fs::create_dir_all(&data).unwrap();
    for (file, name) in ["data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"].iter().enumerate() {
        let records: Vec<u8> = (0..40_usize)
            .flat_map(|record| {
                let pixels = (0..3072).map(move |at| ((file * 40 + record) * 31 + at * at % 251) as u8);
                std::iter::once((record % 10) as u8).chain(pixels)
            })
            .collect();
        std::fs::write(data.join(name), records).unwrap();
    }
    data
}

#[test]
fn cifar_binaries_are_trained_on() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "run"));
    cifar(folder.path());
    let data = folder.path().to_str().unwrap();
    // All 80 images of both files: five batches of 16.
    let flags = ["--batch-size", "16", "--data", data, "--json", "--quiet"];
    let train = ["pretrain", "--recipe", &recipe, "--out", &out];
    let report: Value = serde_json::from_str(&succeeds(&[&train[..], &flags].concat())).unwrap();
    assert_eq!(number(&report, "steps"), 5.0);
    let checkpoint = path(Path::new(&out), "checkpoint.safetensors");
    let fit = ["linear-eval", "--checkpoint", &checkpoint];
    let report: Value = serde_json::from_str(&succeeds(&[&fit[..], &flags].concat())).unwrap();
    assert_eq!(number(&report, "n"), 80.0);
    let evaluate = ["evaluate", "--checkpoint", &checkpoint, "--head", &path(Path::new(&out), "head.safetensors")];
    let report: Value = serde_json::from_str(&succeeds(&[&evaluate[..], &flags].concat())).unwrap();
    assert_eq!((number(&report, "n"), &report["data"]), (40.0, &Value::from("cifar-10")));
}

#[test]
fn a_hundred_classes_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "run"));
    let hundred = folder.path().join("cifar-100-binary");
    std::fs::create_dir_all(&hundred).unwrap();
    for (name, labels) in [("train.bin", 0..100_u8), ("test.bin", 60..100)] {
        // A coarse label, the fine one, and pixels.
        let records = labels.flat_map(|label| [vec![label / 5, label], vec![label; 3072]].concat());
        std::fs::write(hundred.join(name), records.collect::<Vec<u8>>()).unwrap();
    }
    let flags = ["--batch-size", "16", "--device", "cpu", "--quiet"];
    let data = ["--data", hundred.to_str().unwrap()];
    succeeds(&[&["pretrain", "--recipe", &recipe, "--out", &out], &data[..], &flags].concat());
    let checkpoint = path(Path::new(&out), "checkpoint.safetensors");
    let report = json(&[&["linear-eval", "--checkpoint", &checkpoint], &data[..], &flags].concat());
    assert_eq!(number(&report, "n"), 100.0);
    let head = path(Path::new(&out), "head.safetensors");
    let evaluate = ["evaluate", "--checkpoint", &checkpoint, "--head", &head];
    let report = json(&[&evaluate, &data[..], &flags].concat());
    assert_eq!((number(&report, "n"), &report["data"]), (40.0, &Value::from("cifar-100")));
    // Ten classes are others.
    let ten = cifar(folder.path());
    let elsewhere = ["--data", ten.to_str().unwrap()];
    let expected = "the head tells 100 classes apart, but cifar-10 has 10; give the --data that it was fitted on";
    refused(&[&evaluate, &elsewhere[..], &flags].concat(), 2, expected);
}

#[test]
fn the_demonstration_compares_both_methods() {
    let folder = TempDir::new().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "demo"));
    let arguments = [&["demo", "--recipe", &recipe, "--out", &out, "--quiet"], &TOY[..]].concat();
    refused(&arguments, 2, "the demonstration reports PGD-20, but evaluate.steps is 2; set it to 20");
    let text = std::fs::read_to_string(&recipe).unwrap();
    // The section at the end of the file is [evaluate].
    let (rest, evaluate) = text.split_once("[evaluate]").unwrap();
    std::fs::write(&recipe, format!("{rest}[evaluate]{}", evaluate.replace("steps = 2", "steps = 20"))).unwrap();
    let text = succeeds(&arguments);
    assert!(text.starts_with("Training SimCLR and RoCL encoders (ResNet-18, width 2) on 64 images of textures"), "{text}");
    assert!(text.contains("PGD-20, ε 8/255") && text.contains("(64 test images"), "{text}");
    let summary: Value = serde_json::from_slice(&std::fs::read(Path::new(&out).join("summary.json")).unwrap()).unwrap();
    let counts = ["schema", "seed", "width", "train_images", "test_images"].map(|key| number(&summary, key));
    assert_eq!(counts, [1.0, 0.0, 2.0, 64.0, 64.0]);
    let models = summary["models"].as_array().unwrap();
    assert_eq!([&models[0]["name"], &models[1]["name"]], ["simclr", "rocl"]);
    for model in models {
        assert!(["clean", "pgd20"].iter().all(|key| (0.0..=100.0).contains(&number(model, key))), "{model}");
        let run = Path::new(&out).join(model["name"].as_str().unwrap());
        assert!(run.join("checkpoint.safetensors").exists() && run.join("metrics.jsonl").exists());
    }
    refused(&arguments, 2, "is there already; choose another --out, or delete it");
}
