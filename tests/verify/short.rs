//! Recordings in which a part is wrong: the engine must be found to differ from them, there and nowhere else.

use super::common::{self, altered::Altered};
use super::{RESNET18, TWO_STEPS, committed, rows};
use rocl::recipe::verify::{Measure, Recording, Row, Subject};

fn altered(name: &str, alter: impl FnOnce(Altered) -> Altered) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("altered.safetensors");
    alter(Altered::of(&common::committed(&format!("{name}.safetensors")))).save(&path);
    rows(&Recording::open(&path).unwrap(), &Subject::default())
}

#[track_caller]
fn found_in(name: &str, tensor: &str, change: impl Fn(usize, f32) -> f32, expected: &[&str]) {
    let rows = altered(name, |recording| recording.changed(tensor, change));
    let failed: Vec<_> =
        rows.iter().filter(|row| !row.passed).map(|row| format!("{}, {}", row.name, row.measure.name())).collect();
    assert_eq!(failed, expected, "{tensor}");
}

/// A loss that is a thousandth off, a gradient that is a hundredth too long.
#[test]
fn a_quantity_that_is_a_little_off_is_found() {
    for (tensor, expected) in [
        ("eval/x2/logits", &["eval/x2/logits, relative L2"][..]),
        ("attack/loss", &["attack/loss, worst relative L2"]),
        ("attack/grad", &["attack/grad, median relative L2"]),
        ("pgd20/loss", &["pgd20/loss, worst relative L2"]),
        ("pgd20/grad0", &["pgd20/grad0, median relative L2"]),
        ("step1/grad/model/bn1.weight", &["step1/grad, worst relative L2"]),
    ] {
        found_in(RESNET18, tensor, |_, value| value * 1.0095, expected);
    }
    found_in(TWO_STEPS, "pgd20rs/loss", |_, value| value * 1.001, &["pgd20rs/loss, worst relative L2"]);
}

/// Of several images the median is insensitive to some, but none may be just anything.
#[test]
fn a_single_image_that_is_another_is_found() {
    let image = 3 * 32 * 32;
    let noise = |i: usize| (i * 7919 % 1000) as f32 / 1000.0;
    let last = |from: usize| move |i: usize, value: f32| if i >= from { noise(i) } else { value };
    found_in(
        RESNET18,
        "pgd20/x_final",
        last(3 * image),
        &["pgd20/x_final, pixels, worst image", "pgd20/x_final, loss gained, worst image", "pgd20/logits_adv, relative L2"],
    );
    let expected = ["pgd20rs/x_final, pixels, worst image", "pgd20rs/x_final, loss gained, worst image"];
    found_in(TWO_STEPS, "pgd20rs/x_final", last(image), &expected);
    let rows = altered(RESNET18, |recording| recording.changed("attack/x_traj", last((8 * 4 - 1) * image)));
    for measure in ["pixels, worst step", "pixels, recorded gradients", "pixels, worst image"] {
        let row = rows.iter().find(|row| row.name == "attack/x_traj" && row.measure.name() == measure).unwrap();
        assert!(!row.passed, "{measure}");
    }
}

/// An image within the ball may differ in fewer pixels than a flip changes; but it is no adversary.
#[test]
fn an_image_that_is_no_adversary_is_found_by_its_loss() {
    const EPSILON: f32 = 0.0314;
    let clean = |name: &str| committed(name).get("in/x1").unwrap().values.clone();
    // A hash of the index, so that the signs have nothing to do with a gradient.
    let sign = |i: usize| if (i as u32).wrapping_mul(2_654_435_761) & (1 << 20) == 0 { 1.0 } else { -1.0 };
    // `stack` images go before the adversary's.
    for (name, tensor, stack) in [
        (RESNET18, "pgd20/x_final", 0),
        (TWO_STEPS, "pgd20rs/x_final", 0),
        (RESNET18, "attack/x_traj", 7),
        (TWO_STEPS, "attack/x_traj", 2),
    ] {
        let clean = clean(name);
        let first = (stack + 1) * clean.len() - 3 * 32 * 32;
        for step in [0.0, EPSILON] {
            let changed = |i: usize, value: f32| match i {
                i if i < first => value,
                i => (clean[i - stack * clean.len()] as f32 + step * sign(i)).clamp(0.0, 1.0),
            };
            let rows = altered(name, |recording| recording.changed(tensor, changed));
            let row = rows.iter().find(|row| row.name == tensor && row.measure == Measure::Gain).unwrap();
            assert!(!row.passed, "{name}, {tensor}, step {step}: {:.1e}", row.found);
        }
    }
}

/// What a recording leaves out is told.
#[test]
fn rows_say_what_they_go_over() {
    let rows = altered(RESNET18, |recording| recording.only(|name| name != "step1/grad/model/bn1.weight"));
    let coverage = |name: &str| {
        let row = rows.iter().find(|row| row.name == name && row.measure == Measure::Worst).unwrap();
        row.coverage.map(|coverage| (coverage.compared, coverage.of, coverage.unit))
    };
    // The recorder left filters of more than 1024 elements out of the gradients.
    assert_eq!(coverage("step1/grad"), Some((48, 64, "tensors")));
    assert_eq!(coverage("step1/adaptive_lr"), Some((64, 64, "tensors")));
    assert_eq!(coverage("step1/bn_after"), Some((40, 40, "tensors")));
    assert_eq!(coverage("attack/loss"), Some((7, 7, "steps")));
    assert_eq!(coverage("pgd20/loss"), Some((1, 20, "steps")));
    assert_eq!(coverage("pgd20/grad0"), None);
}

/// One pixel of one step.
#[test]
fn a_single_pixel_is_found_by_the_recorded_gradients() {
    let pixel = 5 * 4 * 3 * 32 * 32 + 17;
    let rows = altered(RESNET18, |recording| {
        recording.changed("attack/x_traj", |i, value| if i == pixel { value + 0.014 } else { value })
    });
    let row = rows.iter().find(|row| row.measure.name() == "pixels, recorded gradients").unwrap();
    assert!(!row.passed);
}

/// What has no number to compare with is infinitely far off, whatever the allowance.
#[test]
fn another_shape_and_nan_are_infinitely_far() {
    for rows in [
        altered(RESNET18, |recording| recording.zeros("eval/x1/feat", &[0])),
        altered(RESNET18, |recording| recording.changed("eval/x1/feat", |_, _| f32::NAN)),
    ] {
        let row = rows.iter().find(|row| row.name == "eval/x1/feat").unwrap();
        assert!(!row.passed && row.found == f64::INFINITY);
    }
}
