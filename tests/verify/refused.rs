//! Files that are no recordings, or not whole ones: each is refused with a sentence that names the file, and what is wrong in it.

use super::common::{self, altered::Altered};
use super::{RESNET18, TWO_STEPS, rows};
use rocl::recipe::verify::{Recording, Subject, Tolerances, verify};
use rocl::{Device, Error};
use std::path::Path;

fn small() -> Altered {
    Altered::of(&common::committed(&format!("{TWO_STEPS}.safetensors")))
}

fn with_classifier() -> Altered {
    Altered::of(&common::committed(&format!("{RESNET18}.safetensors")))
}

fn message(path: &Path) -> String {
    let verified = Recording::open(path)
        .and_then(|recording| verify::<f32>(&Device::host().unwrap(), &recording, &Subject::default(), &Tolerances::F32));
    match verified {
        Err(Error::File { message, .. }) => message,
        other => panic!("no refusal of the file: {other:?}"),
    }
}

#[track_caller]
fn refused(recording: Altered, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let message = message(&recording.save(&folder.path().join("altered.safetensors")));
    assert!(message.contains(expected), "{message}");
}

#[test]
fn files_that_are_no_recording_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(message(&folder.path().join("absent")).contains("give the path of a recording"));
    let path = folder.path().join("empty.safetensors");
    std::fs::write(&path, "").unwrap();
    assert!(message(&path).contains("is not a recording in safetensors format"));
    assert!(message(&common::committed("augment.safetensors")).contains("recordings hold f32, f64, i64 and u8"));
}

#[test]
fn a_recording_of_nothing_is_refused() {
    let inputs = |name: &str| name.starts_with("init/") || name == "in/x1" || name == "in/x2";
    refused(small().only(inputs), "nothing that was computed of them");
}

/// Also where the extents are larger than any memory and the tensor is empty all the same.
#[test]
fn tensors_of_another_shape_are_refused() {
    let huge = 1 << 40;
    for (name, shape) in [
        ("init/model/conv1.weight", &[2, 27][..]),
        ("init/model/layer1.0.conv1.weight", &[2, 18]),
        ("init/linear/weight", &[10, 15]),
        ("init/model/bn1.running_mean", &[3]),
        ("in/x1", &[2, 1, 32, 32]),
        ("in/x2", &[4, 3, 32, 32]),
        ("attack/x_traj", &[4, 2, 3, 32, 32]),
        ("attack/x_traj", &[3]),
        ("attack/x_traj", &[0, huge, huge]),
        ("attack/loss", &[3]),
        ("attack/grad", &[1, 2, 3, 32, 32]),
        ("pgd20/x_final", &[0]),
        ("pgd20/x_final", &[3]),
        ("pgd20/x_final", &[0, huge]),
        ("pgd20/loss", &[0]),
        ("pgd20rs/x0", &[2, 3, 32, 16]),
        ("nt/2view/z", &[4, 7]),
        ("nt/3view/z", &[0, 0]),
        ("step2/adv_given", &[2, 3, 16, 16]),
        ("in/y", &[3]),
    ] {
        refused(small().zeros(name, shape), &format!("has `{name}` of shape {shape:?} where ["));
    }
    for shape in [&[0][..], &[], &[65_537], &[huge, 0], &[1 << 62, 0], &[4_000_000_000, 0, 3, 3]] {
        let expected = format!("has `init/linear/bias` of shape {shape:?} where one of 1 to 65536 classes is needed");
        refused(small().zeros("init/linear/bias", shape), &expected);
    }
    refused(small().zeros("init/linear/bias", &[11]), "has `init/linear/weight` of shape [10, 16] where [11, 16] is needed");
    refused(small().reshaped("init/model/conv1.weight", &[2, 27]), "where [2, 3, 3, 3] is needed");
    // Known before anything is allocated for a network of that width.
    refused(small().zeros("init/model/conv1.weight", &[4096, 3, 3, 3]), "where [4096] is needed");
}

#[test]
fn numbers_that_cannot_be_meant_are_refused_by_their_name_in_the_file() {
    for (key, value, expected) in [
        ("lr", "0", "`lr` in its metadata is 0, but must be above 0"),
        ("lr", "nan", "`lr` in its metadata is NaN"),
        ("eps", "inf", "`eps` in its metadata is inf"),
        ("alpha", "-1", "`alpha` in its metadata is -1"),
        ("k", "nan", "states `k` as `nan`, which is not a whole number"),
        ("k", "-3", "states `k` as `-3`, which is not a whole number"),
        ("k", "2.5", "states `k` as `2.5`, which is not a whole number"),
        ("k", "0", "`k` in its metadata is 0"),
        ("k", "3", "has `attack/x_traj` of shape [3, 2, 3, 32, 32] where [4, 2, 3, 32, 32] is needed"),
        ("temperature", "0", "`temperature` in its metadata is 0"),
        ("lamda", "0", "`lamda` in its metadata is 0"),
        ("momentum", "1", "`momentum` in its metadata is 1"),
        ("weight_decay", "x", "states `weight_decay` as `x`, which is not a number"),
        ("lars_trust", "-1", "`lars_trust` in its metadata is -1"),
    ] {
        refused(small().set(key, value), expected);
    }
    refused(small().set("lr", "1e308"), "`lr` in its metadata is 1e308, but must be");
    refused(small().zeros("in/x1", &[0]), "the first extent of `in/x1` is 0");
    refused(small().zeros("init/projector/linear_1.weight", &[0]), "the first extent of `init/projector/linear_1.weight` is 0");
}

/// What no recipe sets, so that nothing could be replayed with it. It need not be stated.
#[test]
fn settings_that_the_engine_has_not_are_refused() {
    for (key, value, expected) in [
        ("bn_eps", "1e-3", "states `bn_eps` as `1e-3`, but the engine has 1e-5"),
        ("bn_momentum", "0.01", "states `bn_momentum` as `0.01`, but the engine has 1e-1"),
        ("lars_eps", "nan", "states `lars_eps` as `nan`, but the engine has 1e-8"),
        ("lars_eps", "x", "states `lars_eps` as `x`, which is not a number"),
    ] {
        refused(small().set(key, value), expected);
    }
}

#[test]
fn labels_without_a_class_are_refused() {
    for label in [10.0, -1.0, 0.5, f32::NAN, 1e12] {
        refused(with_classifier().with("in/y", &[4], &[0.0, 1.0, label, 2.0]), "has a label");
    }
}

#[test]
fn a_companion_of_another_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = small().save(&folder.path().join("small.safetensors"));
    let beside = folder.path().join("small_f64.safetensors");
    small().save(&beside);
    let recording = Recording::open(&path).unwrap();
    assert!(recording.has_exact());
    assert!(rows(&recording, &Subject::default()).iter().all(|row| row.passed));
    for (other, expected) in [
        (small().set("seed", "4"), "states `seed` as `4` where the recording has `3`"),
        (small().set("width", "8"), "states `width`"),
        (small().zeros("eval/x1/feat", &[2, 64]), "has `eval/x1/feat` of shape [2, 64] where the recording has [2, 16]"),
        (small().zeros("step1/adv_loss", &[1]), "has `step1/adv_loss` of shape [1]"),
        (small().without_settings(), "does not state `alpha` in its metadata"),
        (small().changed("eval/x1/feat", |_, _| f32::NAN), "has values that are not finite in `eval/x1/feat`"),
    ] {
        other.save(&beside);
        let message = message(&path);
        assert!(message.contains(expected) && message.contains("no companion of"), "{message}");
    }
    // Of an attack's steps, it may have the first alone.
    small().only(|name| name != "attack/loss").zeros("attack/loss", &[1]).save(&beside);
    assert!(rows(&Recording::open(&path).unwrap(), &Subject::default()).iter().all(|row| row.passed));
}
