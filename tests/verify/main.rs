//! The engine against recordings of the authors' implementation; and the verification itself against engines with one ingredient wrong,
//! each of which it must find.

mod precision;
mod wrong;

use rocl::Device;
use rocl::element::Element;
use rocl::recipe::Recipe;
use rocl::recipe::verify::{Recording, Row, Subject, Tolerances, verify};
use std::path::PathBuf;

fn root() -> PathBuf {
    std::env::var_os("ROCL_ROOT").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

fn committed() -> Recording {
    Recording::open(&root().join("tests/golden/resnet18_w8_b4.safetensors")).unwrap()
}

fn rows(recording: &Recording, subject: &Subject<f32>) -> Vec<Row> {
    verify(&Device::host().unwrap(), recording, subject, &Tolerances::F32).unwrap()
}

/// In another element type, with its tolerances.
fn rows_in<T: Element>(recording: &Recording) -> Vec<Row> {
    let tolerances = Tolerances::of::<T>(recording.recipe().unwrap().network.architecture);
    verify::<T>(&Device::host().unwrap(), recording, &Subject::default(), &tolerances).unwrap()
}

fn failures(rows: &[Row]) -> Vec<String> {
    rows.iter().filter(|row| !row.passed).map(|row| format!("{} ({:.1e})", row.name, row.found)).collect()
}

#[test]
fn the_engine_agrees_with_the_committed_recording() {
    let rows = rows(&committed(), &Subject::default());
    assert_eq!(failures(&rows), Vec::<String>::new());
    // Each kind of quantity is there: a recording that lacks one would be passed in silence.
    for what in
        ["eval/x1/feat", "eval/x2/logits", "nt/2view/grad_z", "nt/3view/loss", "attack/grad", "pgd20/grad0", "pgd20/x_final"]
    {
        assert!(rows.iter().any(|row| row.name == what), "{what} was not compared");
    }
    for what in ["step1/grad", "step1/after", "step1/momentum", "step1/adaptive_lr", "step1/simloss", "step1/adv_loss"] {
        assert!(rows.iter().any(|row| row.name == what), "{what} was not compared");
    }
    assert_eq!(rows.iter().filter(|row| row.name.contains("running statistics")).count(), 2, "both updates of the statistics");
}

/// The released code's own sequence of operations, and each half of it: targets embedded in every step, nothing folded.
#[test]
fn the_long_way_agrees_with_the_committed_recording() {
    for (reuse_target, fold_batch_norm) in [(false, true), (true, false), (false, false)] {
        let adjust = |recipe: &mut Recipe| {
            (recipe.attack.reuse_target, recipe.attack.fold_batch_norm) = (reuse_target, fold_batch_norm);
        };
        let rows = rows(&committed(), &Subject { adjust: &adjust, ..Subject::default() });
        assert_eq!(failures(&rows), Vec::<String>::new(), "reuse_target {reuse_target}, fold_batch_norm {fold_batch_norm}");
    }
}

/// The full recordings, of ResNet-18 and of a narrow ResNet-50, with their f64 companions.
#[test]
fn the_engine_agrees_with_the_full_recordings() {
    let shared = std::env::var_os("ROCL_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    for name in ["golden_b4_w8", "golden_r50_b4_w4"] {
        let path = shared.join(format!("golden/{name}.safetensors"));
        if !path.exists() {
            println!("skipped: no {}", path.display());
            continue;
        }
        let recording = Recording::open(&path).unwrap();
        assert!(recording.has_exact(), "{name} has a companion in f64");
        assert_eq!(failures(&rows(&recording, &Subject::default())), Vec::<String>::new(), "{name}");
    }
}

/// The engine with one thing wrong must fail, and where one would look for it.
#[track_caller]
fn found(subject: &Subject<f32>, expected: &[&str]) {
    let failed = failures(&rows(&committed(), subject));
    for what in expected {
        assert!(failed.iter().any(|row| row.starts_with(what)), "{what} should have failed; what failed: {failed:?}");
    }
}

#[test]
fn keys_that_are_not_detached_are_found() {
    let subject = Subject { adjust: &|recipe| recipe.loss.detach_keys = false, ..Subject::default() };
    found(&subject, &["nt/2view/grad_z", "nt/3view/grad_z", "attack/grad", "step1/grad"]);
}

#[test]
fn a_single_update_of_the_running_statistics_is_found() {
    found(&Subject { step: &wrong::one_statistics_update, ..Subject::default() }, &["step1, running statistics after the step"]);
}

#[test]
fn a_projection_around_the_current_image_is_found() {
    found(&Subject { ingredients: &wrong::unprojected_attack, ..Subject::default() }, &["attack/x_traj"]);
}

#[test]
fn averaged_positives_are_found() {
    found(
        &Subject { ingredients: &wrong::averaged_positives, ..Subject::default() },
        &["nt/3view/loss", "step1/simloss", "step1/grad"],
    );
}

#[test]
fn a_lars_that_skips_biases_is_found() {
    found(&Subject { step: &wrong::lars_without_vectors, ..Subject::default() }, &["step1/after", "step1/momentum"]);
}

#[test]
fn a_dropped_regulariser_is_found() {
    found(&Subject { ingredients: &wrong::no_regularizer, ..Subject::default() }, &["step1/grad"]);
}

#[test]
fn a_nan_is_found() {
    found(&Subject { step: &wrong::a_nan, ..Subject::default() }, &["step1/grad", "step1/momentum"]);
}

#[test]
fn files_that_are_no_recording_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |path: &std::path::Path| Recording::open(path).err().unwrap().to_string();
    assert!(refusal(&folder.path().join("absent")).contains("give the path of a recording"));
    let path = folder.path().join("empty.safetensors");
    std::fs::write(&path, "").unwrap();
    assert!(refusal(&path).contains("is not a recording"));
    let message = refusal(&root().join("tests/golden/augment.safetensors"));
    assert!(message.contains("recordings hold f32, f64, i64 and u8") || message.contains("has no tensor"), "{message}");
}
