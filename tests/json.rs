//! The documents that the program writes have the keys that `docs/json.md` says, and no others.

mod common;
#[path = "common/jobs.rs"]
mod jobs;

use jobs::{path, pretrain, recipe, rocl, succeeds};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A key of the documentation: whether it may be absent, and the keys of what it holds, where these are told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Key {
    optional: bool,
    inner: Keys,
}

type Keys = BTreeMap<String, Key>;

/// Reads keys as the documentation has them, up to the bracket that closes them.
struct Reader<'a> {
    rest: &'a str,
    types: &'a BTreeMap<String, Keys>,
}

impl Reader<'_> {
    /// What is between here and the next `mark`, behind which reading goes on.
    fn until(&mut self, mark: char) -> &str {
        let (found, rest) = self.rest.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {}", self.rest));
        self.rest = rest;
        found
    }

    fn keys(&mut self) -> Keys {
        let mut keys = Keys::new();
        let mut last = None;
        while let Some(mark) = self.rest.chars().next() {
            self.rest = &self.rest[mark.len_utf8()..];
            match mark {
                '`' => {
                    let word = self.until('`');
                    let (name, optional) = word.strip_suffix('?').map_or((word, false), |name| (name, true));
                    // Other code is remarks.
                    if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
                        last = Some(name.to_owned());
                        assert_eq!(keys.insert(name.to_owned(), Key { optional, inner: Keys::new() }), None, "{name} twice");
                    }
                }
                '*' => {
                    let name = self.until('*').to_owned();
                    keys.extend(self.types[&name].clone());
                }
                '(' => {
                    let inner = self.keys();
                    if let Some(name) = &last {
                        keys.get_mut(name).unwrap().inner = inner;
                    }
                }
                ')' => break,
                _ => {}
            }
        }
        keys
    }
}

/// The keys of every row of the documentation by the row's first cell, and how often each was looked up.
struct Documentation {
    rows: BTreeMap<String, Keys>,
    seen: Vec<String>,
}

impl Documentation {
    fn read() -> Self {
        let text = fs::read_to_string(common::root().join("docs/json.md")).unwrap();
        let (mut rows, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in
            text.lines().filter(|line| line.starts_with("| ") && !line.ends_with(" keys |") && !line.contains("keys beside"))
        {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let mut keys = Reader { rest: cells[cells.len() - 1], types: &types }.keys();
            match cells[0].strip_prefix('*') {
                Some(name) => drop(types.insert(name.trim_end_matches('*').to_owned(), keys)),
                None => {
                    if cells.len() == 3 {
                        keys.insert("schema".to_owned(), Key::default());
                    }
                    cells[0].split(", ").for_each(|name| drop(rows.insert(name.trim_matches('`').to_owned(), keys.clone())));
                }
            }
        }
        Self { rows, seen: Vec::new() }
    }

    #[track_caller]
    fn describes(&mut self, name: &str, text: &str) -> Value {
        let keys = self.rows.get(name).unwrap_or_else(|| panic!("{name} is not documented"));
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
        compare(name, &value, keys);
        self.seen.push(name.to_owned());
        value
    }
}

/// That `value`, or every object in its lists, has these keys.
#[track_caller]
fn compare(at: &str, value: &Value, keys: &Keys) {
    match value {
        _ if keys.is_empty() => {}
        Value::Array(list) => {
            assert!(!list.is_empty(), "{at} is empty here, which shows nothing");
            list.iter().for_each(|value| compare(at, value, keys));
        }
        Value::Object(object) => {
            for (name, value) in object {
                let key = keys.get(name).unwrap_or_else(|| panic!("{at} has {name}, which is not documented"));
                compare(&format!("{at}, {name}"), value, &key.inner);
            }
            let absent = keys.iter().find(|(name, key)| !key.optional && !object.contains_key(*name));
            assert_eq!(absent, None, "{at}");
        }
        // Of an optional key that is null.
        Value::Null => {}
        _ => panic!("{at} is {value}, but is documented as an object"),
    }
}

/// `--json` prints a line.
#[track_caller]
fn printed(arguments: &str) -> String {
    let arguments: Vec<&str> = arguments.split_whitespace().chain(["--json"]).collect();
    let text = succeeds(&arguments);
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn documents_are_as_documented() {
    let mut documentation = Documentation::read();
    let folder = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(folder.path()), path(folder.path(), "run"));
    let file = |name: &str| path(Path::new(&out), name);
    let kept = |name: &str| fs::read_to_string(file(name)).unwrap();

    let train = [&pretrain(&recipe, &out, &[])[..], &["--precision", "fp16"]].concat().join(" ");
    let report = documentation.describes("pretrain --json", &printed(&train));
    assert_eq!(report["schema"], 1);
    documentation.describes("pretrain --json", &printed(&format!("{train} --resume")));
    let log = kept("metrics.jsonl");
    let lines: Vec<&str> = log.lines().collect();
    documentation.describes("first line", lines[0]);
    documentation.describes("epoch", lines[1]);

    let toy = jobs::TOY.join(" ");
    let of_labels = |name: &str, method: &str| {
        format!("--method {method} --recipe {recipe} --quiet {toy} --out {}", path(folder.path(), name))
    };
    let train = format!("train {}", of_labels("classifier", "at"));
    documentation.describes("train --json", &printed(&train));
    documentation.describes("train --json", &printed(&format!("{train} --resume")));
    let log = fs::read_to_string(folder.path().join("classifier/metrics.jsonl")).unwrap();
    documentation.describes("epoch", log.lines().nth(1).unwrap());
    let tune = format!("finetune --checkpoint {} {}", file("checkpoint.safetensors"), of_labels("tuned", "ce"));
    documentation.describes("finetune --json", &printed(&tune));

    let fit = format!("linear-eval --checkpoint {} {toy}", file("checkpoint.safetensors"));
    documentation.describes("linear-eval --json", &printed(&fit));
    let robust = format!("{fit} --robust --recipe {recipe} --out {}", path(folder.path(), "robust"));
    documentation.describes("linear-eval --json", &printed(&robust));

    let (model, adversaries) = ([file("checkpoint.safetensors"), file("head.safetensors")], file("adversaries"));
    let evaluate = format!("evaluate --checkpoint {} --head {} {toy}", model[0], model[1]);
    let attacks = "--attack fgsm:linf:8/255,fgsm:l2:1";
    let plain = format!("{evaluate} {attacks} --out {out} --save-adversaries {adversaries}");
    let report = documentation.describes("evaluate --json", &printed(&plain));
    assert_eq!((&report["schema"], &report["kind"]), (&2.into(), &"accuracies".into()));
    assert_eq!(documentation.describes("OUT/evaluate.json", &kept("evaluate.json")), report);
    let everything = format!("{evaluate} {attacks} --seeds 2 --against {}", file("per_image.json"));
    documentation.describes("evaluate --json", &printed(&everything));
    let smoothed = path(folder.path(), "smoothed");
    documentation.describes("evaluate --json", &printed(&format!("{evaluate} {attacks} --smooth 2 --out {smoothed}")));
    let results: Value = serde_json::from_slice(&fs::read(Path::new(&smoothed).join("per_image.json")).unwrap()).unwrap();
    documentation.describes("OUT/per_image.json", &results.to_string());
    documentation.describes("OUT/per_image.json", &kept("per_image.json"));
    let report =
        documentation.describes("evaluate --adversaries --json", &printed(&format!("{evaluate} --adversaries {adversaries}")));
    assert_eq!(report["kind"], "adversaries");
    let across = format!("{evaluate} {attacks} --transfer-from {}", model.join(":"));
    assert_eq!(documentation.describes("evaluate --transfer-from --json", &printed(&across))["kind"], "transfer");

    let folder_of_heads = path(folder.path(), "transferred");
    let transfer = format!(
        "transfer --checkpoint {} {toy} {attacks} --recipe {recipe} --out {folder_of_heads} --quiet",
        file("checkpoint.safetensors")
    );
    let report = documentation.describes("transfer --json", &printed(&transfer));
    let kept = fs::read_to_string(Path::new(&folder_of_heads).join("transfer.json")).unwrap();
    assert_eq!(documentation.describes("OUT/transfer.json", &kept), report);
    documentation.describes("transfer --json", &printed(&format!("{transfer} --seeds 2")));
    let kept = |name: &str| fs::read_to_string(file(name)).unwrap();
    let (grid, study) = (path(folder.path(), "grid.toml"), path(folder.path(), "study"));
    let text = format!(
        "schema = 1\nrecipe = \"{recipe}\"\nrobust = true\n[fixed]\ntrain.batch_size = 16\n[grid]\ntrain.seed = [0, 1]\n"
    );
    fs::write(&grid, text).unwrap();
    let report = documentation.describes(
        "ablate --json",
        &printed(&format!("ablate {grid} --limit 64 --threads 2 --device cpu --quiet --out {study}")),
    );
    let written = fs::read_to_string(Path::new(&study).join("ablate.json")).unwrap();
    assert_eq!(documentation.describes("OUT/ablate.json", &written), report);

    let demo = format!("demo --recipe demo --epochs 1 --width 2 --out {out} {toy}");
    documentation.describes("demo --json", &printed(&demo));
    documentation.describes("OUT/summary.json", &kept("summary.json"));
    let recording = common::committed("resnet18_w8_b4.safetensors");
    documentation.describes("verify --json", &printed(&format!("verify --device cpu {}", recording.display())));
    documentation.describes("doctor --json", &printed("doctor"));

    let small = "--device cpu --width 2 --attack-steps 1 --repeat 5 --warmup 0";
    for (name, flags) in [
        ("step", "step --batch-size 2"),
        ("attack", "attack --batch-size 2"),
        ("kernels", "kernels --batch-size 2"),
        ("kernels --batch-sizes", "kernels --batch-sizes 2"),
        #[cfg(feature = "access")]
        ("kernels --access", "kernels --access --batch-size 2"),
    ] {
        let text = printed(&format!("bench {flags} {small}"));
        documentation.describes(&format!("bench {name} --json"), &text);
        if name == "step" {
            fs::write(file("step.json"), text).unwrap();
        }
    }
    documentation.describes("bench model --json", &printed("bench model --gpu h200 --width 2 --batch-size 2"));
    documentation.describes("bench compare --json", &printed(&format!("bench compare {0} {0}", file("step.json"))));

    let unseen: Vec<&String> = documentation.rows.keys().filter(|name| !documentation.seen.contains(name)).collect();
    let expected: &[&str] = if cfg!(feature = "access") { &[] } else { &["bench kernels --access --json"] };
    assert_eq!(unseen, expected, "documented, but not looked at");
}

/// The comparison finds what it is there for.
#[test]
fn differences_are_found() {
    let keys = Reader { rest: "`a`, `b?` (`c`)", types: &BTreeMap::new() }.keys();
    for (text, fine) in [
        (r#"{"a": 1}"#, true),
        (r#"{"a": 1, "b": [{"c": 2}, {"c": 3}]}"#, true),
        (r#"{"b": {"c": 2}}"#, false),
        (r#"{"a": 1, "x": 1}"#, false),
        (r#"{"a": 1, "b": [{"c": 2}, {}]}"#, false),
        (r#"{"a": 1, "b": 7}"#, false),
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(std::panic::catch_unwind(|| compare("here", &value, &keys)).is_ok(), fine, "{text}");
    }
    // And a command without JSON says so.
    assert!(rocl(&["recipe", "--json"]).stderr.contains("unexpected argument '--json'"));
}
