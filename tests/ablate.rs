//! `rocl ablate`, as a process: what a grid gives is what its cells give by hand, whatever happens in between.

mod common;
#[path = "common/jobs.rs"]
mod jobs;

use jobs::{command, finished, json, number, path, recipe, refused, rocl, succeeds};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

const FLAGS: [&str; 7] = ["--limit", "64", "--threads", "2", "--device", "cpu", "--quiet"];

/// Writes a grid of toys: batches of 16, a short attack, and what is said of cells.
fn grid(folder: &Path, name: &str, more: &str) -> String {
    let (recipe, path) = (recipe(folder), path(folder, name));
    let head = format!("schema = 1\nrecipe = \"{recipe}\"\nattacks = [\"pgd:linf:8/255:2\", \"fgsm:l2:0.5\"]\n");
    fs::write(&path, format!("{head}{more}")).unwrap();
    path
}

fn ablate<'a>(grid: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["ablate", grid, "--out", out], &FLAGS[..], more].concat()
}

fn document(out: &str) -> Value {
    serde_json::from_slice(&fs::read(Path::new(out).join("ablate.json")).unwrap()).unwrap()
}

fn cells(document: &Value) -> &Vec<Value> {
    document["cells"].as_array().unwrap()
}

/// Without what depends on time.
fn timeless(mut document: Value) -> Value {
    for cell in document["cells"].as_array_mut().unwrap() {
        assert!(number(cell, "seconds_per_step") > 0.0);
        cell.as_object_mut().unwrap().remove("seconds_per_step");
    }
    document
}

#[test]
fn a_cell_is_what_the_commands_give_by_hand() {
    let folder = TempDir::new().unwrap();
    let out = path(folder.path(), "out");
    let more =
        "robust = true\n[fixed]\n\"train.batch_size\" = 16\n[grid]\nloss.lambda = [16]\nnetwork.projector = [true, false]\n";
    let grid = grid(folder.path(), "grid.toml", more);
    let report = json(&ablate(&grid, &out, &[]));
    assert_eq!(report, document(&out));
    assert_eq!((cells(&report).len(), report["rows"].as_array().unwrap().len()), (2, 2));
    assert!(
        fs::read_to_string(Path::new(&out).join("ablate.svg")).unwrap().contains("loss.lambda = 16, network.projector = false")
    );

    let cell = &cells(&report)[1];
    assert_eq!((&cell["values"]["network.projector"], &cell["state"]), (&Value::from(false), &Value::from("done")));
    let [cell_folder, hand] = [path(Path::new(&out), cell["folder"].as_str().unwrap()), path(folder.path(), "hand")];
    let [recipe, robust] = [path(Path::new(&cell_folder), "recipe.toml"), path(Path::new(&hand), "robust")];
    let [checkpoint, head] = ["checkpoint.safetensors", "head.safetensors"].map(|name| path(Path::new(&hand), name));
    let by_hand = |arguments: &[&str]| succeeds(&[arguments, &FLAGS[..]].concat());
    by_hand(&["pretrain", "--recipe", &recipe, "--out", &hand]);
    by_hand(&["linear-eval", "--checkpoint", &checkpoint]);
    by_hand(&["linear-eval", "--checkpoint", &checkpoint, "--robust", "--out", &robust]);
    let measured = |head: &str, out: &str| {
        let attacks = ["--attack", "pgd:linf:8/255:2,fgsm:l2:0.5"];
        json(&[&["evaluate", "--checkpoint", &checkpoint, "--head", head, "--out", out], &attacks[..], &FLAGS].concat())
    };
    let found = [measured(&head, &hand), measured(&path(Path::new(&robust), "head.safetensors"), &robust)];

    let read = |folder: &str, name: &str| fs::read(Path::new(folder).join(name)).unwrap();
    for name in ["checkpoint.safetensors", "head.safetensors", "robust/head.safetensors"] {
        assert!(read(&cell_folder, name) == read(&hand, name), "{name} is another by hand");
    }
    let names: Vec<String> = rocl::run::checkpoint::Checkpoint::load_encoder(Path::new(&checkpoint))
        .unwrap()
        .entries()
        .map(|entry| entry.name.clone())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("model/")) && !names.iter().any(|name| name.contains("projector")));
    for (measured, name) in found.iter().zip(["plain", "robust"]) {
        for key in ["n", "clean", "attacks", "worst_case"] {
            assert_eq!(cell[name][key], measured[key], "{name}, {key}");
        }
    }
    // The losses and the head of a network with a projector are others.
    assert_ne!(cells(&report)[0]["losses"], cell["losses"]);
    // What is pretrained without a projector is fine-tuned without one, also where it is contrasted on.
    let finetune = ["finetune", "--checkpoint", &checkpoint, "--method", "at-ss", "--epochs", "1", "--batch-size", "16"];
    by_hand(&finetune);
}

/// Stopped in the second of three cells, a study ends as one that was not.
#[test]
fn an_interrupted_study_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let more = "[fixed]\n\"train.batch_size\" = 16\n[[cell]]\n\"train.epochs\" = 1\n[[cell]]\n\"train.epochs\" = 20\n[[cell]]\n\"train.epochs\" = 2\n";
    let grid = grid(folder.path(), "grid.toml", more);
    let [whole, cut] = ["whole", "cut"].map(|name| path(folder.path(), name));
    succeeds(&ablate(&grid, &whole, &[]));

    let mut child = command(&ablate(&grid, &cut, &[])).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = Path::new(&cut).join("train.epochs=20/metrics.jsonl");
    while fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 2 {
        assert_eq!(child.try_wait().unwrap(), None, "the study ended before its second cell did");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // SAFETY: kill takes any two integers; the process is our child and has not been waited for.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) }, 0);
    let job = finished(child.wait_with_output().unwrap());
    assert_eq!((job.code, job.stdout.as_str()), (Some(130), ""), "{}", job.stderr);
    assert!(job.stderr.contains("stopped; 1 of 3 cells are done, and --resume goes on"), "{}", job.stderr);
    let states = |out: &str| cells(&document(out)).iter().map(|cell| cell["state"].clone()).collect::<Vec<_>>();
    assert_eq!(states(&cut), ["done", "pending", "pending"]);

    refused(&ablate(&grid, &cut, &[]), 2, "holds an ablation already; add --resume to go on with it");
    let others = [&["ablate", &grid, "--out", &cut, "--limit", "48", "--resume", "--device", "cpu"][..]].concat();
    refused(&others, 2, "of textures, 64 and 64 images");
    refused(&ablate(&grid, &cut, &["--resume", "--precision", "bf16"]), 2, "are in fp32, not in bf16; give --precision fp32");
    let first = Path::new(&cut).join("train.epochs=1/checkpoint.safetensors");
    let written = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = written(&first);
    succeeds(&ablate(&grid, &cut, &["--resume"]));
    assert_eq!(written(&first), before, "a cell that was done was done again");
    assert_eq!(timeless(document(&cut)), timeless(document(&whole)));
    for cell in ["train.epochs=1", "train.epochs=20", "train.epochs=2"] {
        let read = |out: &str| fs::read(Path::new(out).join(cell).join("checkpoint.safetensors")).unwrap();
        assert!(read(&whole) == read(&cut), "{cell} ends elsewhere");
    }
}

#[test]
fn seeds_are_averaged_and_cells_kept_by_their_recipe() {
    let folder = TempDir::new().unwrap();
    let fixed = "[fixed]\n\"train.batch_size\" = 16\n";
    let first = grid(folder.path(), "first.toml", &format!("{fixed}[grid]\n\"train.seed\" = [3, 4]\n"));
    let out = path(folder.path(), "out");
    let text = succeeds(&ablate(&first, &out, &[]));
    assert!(text.lines().next().unwrap().starts_with("seeds") && text.contains(" ± "), "{text}");
    let report = document(&out);
    let row = &report["rows"][0];
    assert_eq!((&report["rows"].as_array().unwrap().len(), &row["seeds"]), (&1, &serde_json::json!([3, 4])));
    for measure in ["clean", "worst_case"] {
        let [a, b] = [0, 1].map(|cell| number(&report["cells"][cell]["plain"][measure], "accuracy"));
        let mean = &row["plain"][measure];
        assert!((number(mean, "accuracy") - (a + b) / 2.0).abs() < 1e-9, "{mean}, {a}, {b}");
        // Of two values, half their distance times the root of 2.
        assert!((number(mean, "std") - (a - b).abs() / 2f64.sqrt()).abs() < 1e-9, "{mean}, {a}, {b}");
    }

    // Another grid, in which one cell is the same, under another name.
    let second = format!("{fixed}[grid]\n\"train.seed\" = [4]\n\"loss.lambda\" = [256, 16]\n");
    let second = grid(folder.path(), "second.toml", &second);
    let kept = fs::metadata(Path::new(&out).join("train.seed=4/checkpoint.safetensors")).unwrap().modified().unwrap();
    let text = succeeds(&ablate(&second, &out, &["--resume"]));
    let header: Vec<&str> = text.lines().next().unwrap().split_whitespace().take(3).collect();
    assert_eq!(header, ["loss.lambda", "seeds", "clean"]);
    let folders: Vec<Value> = cells(&document(&out)).iter().map(|cell| cell["folder"].clone()).collect();
    assert_eq!(folders, ["train.seed=4", "loss.lambda=16,train.seed=4"]);
    let again = fs::metadata(Path::new(&out).join("train.seed=4/checkpoint.safetensors")).unwrap().modified().unwrap();
    assert_eq!(kept, again);
    assert_eq!(document(&out)["cells"][0]["losses"], report["cells"][1]["losses"]);
}

#[test]
fn a_cell_that_fails_is_noted_and_the_others_go_on() {
    let folder = TempDir::new().unwrap();
    let grid = grid(folder.path(), "grid.toml", "[fixed]\n\"train.batch_size\" = 16\n[grid]\n\"attack.steps\" = [1, 2]\n");
    let out = path(folder.path(), "out");
    refused(&ablate(&grid, &out, &["--max-memory", "1MiB"]), 2, "cell attack.steps=1 needs ");
    succeeds(&ablate(&grid, &out, &[]));
    let whole = document(&out);
    // The first cell is damaged, the second gone.
    let [first, second] = ["attack.steps=1", "attack.steps=2"].map(|cell| Path::new(&out).join(cell));
    fs::write(first.join("checkpoint.safetensors"), "no checkpoint").unwrap();
    fs::remove_file(first.join("per_image.json")).unwrap();
    fs::remove_dir_all(&second).unwrap();
    let job = rocl(&ablate(&grid, &out, &["--resume"]));
    assert_eq!(job.code, Some(1), "{}", job.stderr);
    assert!(job.stderr.contains("1 of 2 cells failed") && job.stderr.contains("cell attack.steps=1: "), "{}", job.stderr);
    assert!(job.stdout.contains("failed"), "{}", job.stdout);
    let report = document(&out);
    assert_eq!((&cells(&report)[0]["state"], &cells(&report)[1]["state"]), (&"failed".into(), &"done".into()));
    assert!(cells(&report)[0]["error"].as_str().unwrap().contains("checkpoint.safetensors"));
    fs::remove_file(first.join("checkpoint.safetensors")).unwrap();
    succeeds(&ablate(&grid, &out, &["--resume"]));
    assert_eq!(timeless(document(&out)), timeless(whole));
}

#[test]
fn every_mistake_in_a_grid_has_its_sentence() {
    let folder = TempDir::new().unwrap();
    let (file, out) = (path(folder.path(), "grid.toml"), path(folder.path(), "out"));
    let many = format!("[grid]\ntrain.seed = [{}]", (1..=1001).map(|n| n.to_string()).collect::<Vec<_>>().join(", "));
    for (text, expected) in [
        ("[grid]\nloss.lamda = [1]", "loss.lamda is not a recipe key; did you mean loss.lambda?"),
        ("[grid]\nlambda = [1]", "lambda is not a recipe key; did you mean loss.lambda?"),
        ("[grid]\nloss.lambda = []", "loss.lambda has no values; list some, or leave it out"),
        ("[grid]\nloss.lambda = 16", "loss.lambda is 16, but [grid] has lists of values; write [16], or move it into [fixed]"),
        (
            "[grid]\nloss.lambda = [16, \"many\"]",
            "cell loss.lambda=many: loss.lambda: invalid type: string \"many\", expected a number",
        ),
        ("[grid]\nloss.lambda = [nan]", "cell loss.lambda=nan: loss.lambda is NaN, but must be above 0"),
        ("[grid]\nloss.lambda = [16, 16]", "loss.lambda has 16 twice; leave one out"),
        ("[grid]\nloss.lambda = [16, 16.0]", "the cells loss.lambda=16 and loss.lambda=16.0 are the same; leave one out"),
        ("[grid]\nattack.epsilon = [\"8/0\"]", "cell attack.epsilon=8/0: attack.epsilon: `8/0` is not a number"),
        ("[grid]\ntrain.batch_size = [1]", "cell train.batch_size=1: train.batch_size is 1, but must be at least 2"),
        ("[grid]\ntrain.batch_size = [100]", "cell train.batch_size=100: the 64 training images do not fill one batch of 100"),
        ("[grid]\ntrain.method = [\"ce\"]", "cell train.method=ce: ce trains a classifier, and a grid pretrains"),
        ("[grid]\nname = [\"a\"]", "name is no setting that could be another"),
        ("[grid]\noptimizer.trust = [0.1]", "optimizer.trust has no effect with optimizer.kind = \"adamw\""),
        ("", "there is no cell; add a section [grid]"),
        ("cell = []", "there is no cell; add a section [grid]"),
        ("cell = []\n[grid]\nattack.steps = [1]", "there is no cell; write [[cell]]"),
        ("[[cell]]", "a cell has no values"),
        (
            "[[cell]]\nloss.lambda = 1\n[[cell]]\nattack.steps = 1",
            "one [[cell]] has values of loss.lambda, another of attack.steps",
        ),
        (
            "[fixed]\nloss.lambda = 1\n[grid]\nloss.lambda = [1]",
            "loss.lambda is in [fixed] and in [grid]; leave it in one of them",
        ),
        ("[[cell]]\nloss.lambda = 1\n[grid]\nloss.lambda = [1]", "loss.lambda is there twice; leave it in one place"),
        ("[fixed]\nloss.lambda = -1\n[grid]\nattack.steps = [1]", "[fixed]: loss.lambda is -1, but must be above 0"),
        ("attaks = []", "attaks is no key of a grid; did you mean attacks?"),
        ("attacks = []\n[grid]\nattack.steps = [1]", "attacks has to be a list of names"),
        ("attacks = [\"pgd\"]\n[grid]\nattack.steps = [1]", "attack `pgd`"),
        ("attacks = [\"pgd:linf:8/255:2:eot\"]\n[grid]\nattack.steps = [1]", "leave out :eot"),
        ("robust = 1\n[grid]\nattack.steps = [1]", "robust is 1; write true or false"),
        ("[grid]\nloss.lambda = [1", "is not valid TOML"),
        (many.as_str(), "the cells are 1001, but at most 1000 are run"),
    ] {
        fs::write(&file, format!("schema = 1\nrecipe = \"demo\"\n{text}\n")).unwrap();
        refused(&ablate(&file, &out, &[]), 2, expected);
    }
    for (text, expected) in [
        ("recipe = \"demo\"", "schema is missing; add the line schema = 1 at the top"),
        ("schema = 2", "schema 2 is newer than this version of rocl reads (1); update rocl"),
        ("schema = 1", "recipe is missing; add a line such as recipe = \"cifar-small\""),
        ("schema = 1\nrecipe = \"dmo\"", "there is no recipe `dmo`; did you mean demo"),
    ] {
        fs::write(&file, text).unwrap();
        refused(&ablate(&file, &out, &[]), 2, expected);
    }
    refused(&ablate("nowhere.toml", &out, &[]), 1, "nowhere.toml: cannot be read as a grid");
    let good = grid(folder.path(), "good.toml", "[grid]\nattack.steps = [1]\n");
    refused(&ablate(&good, &out, &["--resume"]), 1, "there is no such ablation; leave out --resume to begin one");
    assert!(!Path::new(&out).exists(), "a refused study leaves nothing behind");
}

/// Examples stay readable.
#[test]
fn the_grids_of_the_examples_are_fine() {
    let folder = common::root().join("examples/grids");
    let grids: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let cells = |path: &std::path::PathBuf| rocl::recipe::ablation::Grid::load(path).unwrap().cells.len();
    assert!(grids.len() >= 2 && grids.iter().all(|path| cells(path) > 1));
}
