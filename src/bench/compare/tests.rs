//! Comparisons of reports that are made up, of which it is known what has changed.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::path::PathBuf;

fn report(folder: &Path, name: &str, value: &Value) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, value.to_string()).unwrap();
    path
}

fn kernels(pgd: &[f64], fprop: &[f64]) -> Value {
    json!({ "schema": 1, "kind": "kernels", "precision": "fp32", "machine": { "cpu": "A", "commit": "x" },
        "recipe": { "name": "n", "train": { "batch_size": 8 } }, "calls": [
        { "name": "pgd", "shape": "8", "element": "f32", "time": { "median": 0.0, "samples": pgd } },
        { "name": "conv_fprop", "shape": "1×2", "element": "f32", "time": { "median": 0.0, "samples": fprop } },
    ] })
}

const STEADY: [f64; 5] = [5.0, 5.1, 4.9, 5.05, 4.95];

fn compared(old: &Value, new: &Value, unlike: bool) -> Result<Comparison> {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (report(folder.path(), "old.json", old), report(folder.path(), "new.json", new));
    compare(&old, &new, 0.05, unlike)
}

#[test]
fn a_slower_row_is_found_and_the_others_are_not() {
    let fast = [1.0, 1.01, 0.99, 1.02, 0.98];
    let comparison = compared(&kernels(&fast, &STEADY), &kernels(&fast.map(|t| t * 1.3), &STEADY), false).unwrap();
    let rows: Vec<(&str, Verdict)> = comparison.times.iter().map(|row| (row.name.as_str(), row.verdict)).collect();
    assert_eq!(rows, [("calls/conv_fprop 1×2 f32", Verdict::Same), ("calls/pgd 8 f32", Verdict::Slower)]);
    assert_eq!((comparison.regressed(), comparison.level), (1, 0.025));
    // Slower beyond any chance, but by less than counts.
    let little = compared(&kernels(&fast, &STEADY), &kernels(&fast.map(|t| t * 1.06), &STEADY), false).unwrap();
    assert_eq!((little.regressed(), little.times[1].p), (0, 1.0 / 252.0));
}

/// Variants of a kernel are rows of their own: by element type, by size, and where that leaves two alike, by traffic and arithmetic.
#[test]
fn variants_are_told_apart() {
    let row = |element: &str, bytes: u64, flops: u64, time: f64| {
        let samples = STEADY.map(|t| t * time);
        json!({ "name": "k", "shape": "s", "element": element, "bytes": bytes, "flops": flops, "time": { "samples": samples } })
    };
    let calls = |slow: f64| {
        let rows = json!([row("f32", 8, 0, 1.0), row("f16", 4, 0, 1.0), row("f16", 6, 0, slow), row("f16", 6, 9, 1.0)]);
        json!({ "schema": 1, "kind": "kernels", "calls": rows })
    };
    let comparison = compared(&calls(1.0), &calls(2.0), false).unwrap();
    let slower: Vec<&str> =
        comparison.times.iter().filter(|row| row.verdict == Verdict::Slower).map(|row| row.name.as_str()).collect();
    assert_eq!((comparison.times.len(), slower), (4, vec!["calls/k s f16, 6 bytes, 0 FLOP"]));
    // Sizes go by their size, in whatever order.
    let sizes = |order: [u32; 2]| {
        let rows = order.map(|n| json!({ "batch_size": n, "calls": [row("f32", 8, 0, f64::from(n))] }));
        json!({ "schema": 1, "kind": "kernels-by-size", "sizes": rows })
    };
    let comparison = compared(&sizes([1, 2]), &sizes([2, 1]), false).unwrap();
    assert_eq!(comparison.times[0].name, "sizes/batch of 1/calls/k s f32");
    assert!(comparison.times.iter().all(|row| row.ratio.ratio == 1.0));
    // Rows that are alike in everything are no two rows.
    let twins = json!({ "schema": 1, "kind": "kernels", "calls": [row("f32", 8, 0, 1.0), row("f32", 8, 0, 2.0)] });
    let error = compared(&twins, &twins, false).unwrap_err().to_string();
    assert!(error.contains("has two rows calls/k s f32"), "{error}");
}

#[test]
fn rows_of_one_report_only_are_named() {
    let mut more = kernels(&STEADY, &STEADY);
    more["calls"][0]["shape"] = "9".into();
    let comparison = compared(&kernels(&STEADY, &STEADY), &more, false).unwrap();
    assert_eq!(comparison.unmatched, ["calls/pgd 8 f32 only before", "calls/pgd 9 f32 only after"]);
    assert_eq!(comparison.times.len(), 1);
}

#[test]
fn different_things_are_refused_or_not_judged() {
    let old = kernels(&STEADY, &STEADY);
    for (path, value, part) in [
        ("/precision", json!("bf16"), "precision was fp32 and is bf16"),
        ("/recipe/train/batch_size", json!(16), "recipe.train.batch_size was 8 and is 16"),
        ("/machine/cpu", json!("B"), "machine.cpu was A and is B"),
    ] {
        let mut new = kernels(&STEADY.map(|t| 2.0 * t), &STEADY);
        *new.pointer_mut(path).unwrap() = value;
        let error = compared(&old, &new, false).unwrap_err();
        assert!(matches!(&error, Error::Usage(message) if message.contains(part) && message.lines().count() == 1), "{error}");
        let comparison = compared(&old, &new, true).unwrap();
        assert!(comparison.differences == [part] && comparison.regressed() == 0);
        assert!(comparison.times.iter().all(|row| row.verdict == Verdict::NotJudged));
    }
    // Versions are what is compared; a setting that an older version had not is none that differs.
    let mut new = old.clone();
    new["machine"]["commit"] = "y".into();
    new["recipe"]["name"] = "m".into();
    new["recipe"]["train"]["later"] = 1.into();
    assert_eq!(compared(&old, &new, false).unwrap().differences, Vec::<String>::new());
}

#[test]
fn foreign_files_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let good = report(folder.path(), "good.json", &kernels(&[1.0], &[1.0]));
    for (name, text) in [("a", "not json"), ("b", "{}"), ("c", r#"{"schema":99,"kind":"step"}"#), ("d", "[1]")] {
        let bad = folder.path().join(name);
        std::fs::write(&bad, text).unwrap();
        assert!(matches!(compare(&good, &bad, 0.0, false), Err(Error::File { .. })), "{name}");
    }
    let other = report(folder.path(), "other.json", &json!({ "schema": 1, "kind": "step", "step": { "samples": [1.0] } }));
    assert!(matches!(compare(&good, &other, 0.0, false), Err(Error::Usage(_))));
}

/// Times as they are: never below what the work takes, most just above it, some far.
fn times(rng: &mut ChaCha8Rng, least: f64) -> Vec<f64> {
    (0..9).map(|_| least * (1.0 + 0.01 / rng.random_range(0.05_f64..1.0))).collect()
}

/// Of a hundred pairs of reports of a hundred rows each, of a program that is the same, at most one in twenty has a row that is called slower, but for
/// chance: three standard deviations of 5 in 100 are 6.5. Without regard to their number, some row is outside its interval nearly every time.
#[test]
fn false_alarms_are_rare_however_many_rows() {
    const ROWS: usize = 100;
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut alarms = [0, 0];
    for _ in 0..100 {
        let rows: Vec<_> = (0..ROWS).map(|_| (times(&mut rng, 1.0), times(&mut rng, 1.0))).collect();
        for (alarms, level) in alarms.iter_mut().zip([FALSE_ALARMS / ROWS as f64, FALSE_ALARMS]) {
            *alarms +=
                usize::from(rows.iter().any(|(old, new)| judge(old, new, || ratio(old, new), 0.0, level).1 == Verdict::Slower));
        }
    }
    assert!(alarms[0] <= 11 && alarms[1] > 75, "{alarms:?}");
}

/// A seventh more is found among a hundred rows, nearly always, though some of the old times are as long as some of the new.
#[test]
fn a_real_regression_is_found_among_many_rows() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut slower = || {
        let (old, new) = (times(&mut rng, 1.0), times(&mut rng, 1.15));
        judge(&old, &new, || ratio(&old, &new), 0.02, FALSE_ALARMS / 100.0).1 == Verdict::Slower
    };
    let found = (0..50).filter(|_| slower()).count();
    assert!(found >= 40, "{found}");
}

/// Too few samples are said to be too few, with the number that suffices.
#[test]
fn few_samples_judge_nothing() {
    let comparison = compared(&kernels(&[1.0, 1.1], &STEADY), &kernels(&[9.0, 9.1], &STEADY), false).unwrap();
    assert_eq!(comparison.times[1].verdict, Verdict::TooFewSamples);
    // 1/C(8, 4) is 1/70, the first below 0.05/2.
    assert_eq!(comparison.too_few_samples(), Some((1, 4)));
}
