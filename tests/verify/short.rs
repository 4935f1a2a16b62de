//! Recordings in which a part is wrong: the engine must be found to differ from them, there and nowhere else.

use super::common::{self, altered::Altered};
use super::{RESNET18, TWO_STEPS, rows};
use rocl::recipe::verify::{Recording, Row, Subject};

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
        &["pgd20/x_final, pixels, worst image", "pgd20/logits_adv, relative L2"],
    );
    found_in(TWO_STEPS, "pgd20rs/x_final", last(image), &["pgd20rs/x_final, pixels, worst image"]);
    let rows = altered(RESNET18, |recording| recording.changed("attack/x_traj", last((8 * 4 - 1) * image)));
    for measure in ["pixels, worst step", "pixels, recorded gradients", "pixels, worst image"] {
        let row = rows.iter().find(|row| row.name == "attack/x_traj" && row.measure.name() == measure).unwrap();
        assert!(!row.passed, "{measure}");
    }
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
