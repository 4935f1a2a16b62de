//! The engine against recordings of the authors' implementation; and the verification itself against engines with one ingredient wrong,
//! each of which it must find.

#[path = "../common/mod.rs"]
mod common;
mod precision;
mod refused;
mod short;
mod wrong;

use common::devices;
use rocl::Device;
use rocl::element::Element;
use rocl::optim::OptimizerSettings;
use rocl::recipe::Recipe;
use rocl::recipe::verify::{Recording, Row, Subject, Tolerances, absent, verify};

/// ResNet-18: one step, the whole attack, PGD-20.
const RESNET18: &str = "resnet18_w8_b4";
/// A narrower one: two steps, the parameters after them, internal activations, PGD-20 from a random start.
const TWO_STEPS: &str = "resnet18_w2_b2";
/// ResNet-50: one step.
const RESNET50: &str = "resnet50_w2_b2";

fn committed(name: &str) -> Recording {
    Recording::open(&common::committed(&format!("{name}.safetensors"))).unwrap()
}

/// On the CPU.
fn rows(recording: &Recording, subject: &Subject<f32>) -> Vec<Row> {
    verify(&Device::host().unwrap(), recording, subject, &Tolerances::F32).unwrap()
}

/// The engine as it is, in any element type, with its tolerances.
fn rows_on<T: Element>(device: &Device, recording: &Recording) -> Vec<Row> {
    let tolerances = Tolerances::of::<T>(recording.recipe().unwrap().network.architecture);
    verify::<T>(device, recording, &Subject::default(), &tolerances).unwrap()
}

fn failures(rows: &[Row]) -> Vec<String> {
    rows.iter().filter(|row| !row.passed).map(|row| format!("{}, {} ({:.1e})", row.name, row.measure.name(), row.found)).collect()
}

#[test]
fn the_engine_agrees_with_the_committed_recordings() {
    let internal = [0, 1, 2, 3, 4].map(|layer| format!("eval/x1/internal{layer}"));
    let names = internal.each_ref().map(String::as_str);
    // A recording that lacks a quantity would be passed in silence; each is in one of them, but for all images of PGD-20.
    let lacking = [
        (RESNET18, [&names[..], &["pgd20/x_traj", "pgd20rs/*", "step2/*"]].concat()),
        (TWO_STEPS, vec!["nt/2view/*", "nt/3view/*", "attack/grad", "pgd20/*", "step1/grad"]),
        (
            RESNET50,
            [
                &names[..],
                &[
                    "nt/2view/*",
                    "nt/3view/*",
                    "pgd20/*",
                    "pgd20rs/*",
                    "step1/momentum",
                    "step1/adaptive_lr",
                    "step1/update",
                    "step2/*",
                ],
            ]
            .concat(),
        ),
    ];
    for device in &devices::in_type::<f32>() {
        for (name, lacking) in &lacking {
            let rows = rows_on::<f32>(device, &committed(name));
            assert_eq!(failures(&rows), Vec::<String>::new(), "{name} on {device:?}");
            assert_eq!(absent(&rows), *lacking, "{name}");
            let mut keys: Vec<_> = rows.iter().map(|row| (&row.name, row.measure.name())).collect();
            keys.sort_unstable();
            assert!(keys.is_sorted_by(|a, b| a < b), "{name}: name and measure tell rows apart: {keys:?}");
        }
    }
}

/// The released code's own sequence of operations, and each half of it: targets embedded in every step, nothing folded.
#[test]
fn the_long_way_agrees_with_the_committed_recording() {
    for (reuse_target, fold_batch_norm) in [(false, true), (true, false), (false, false)] {
        let adjust = |recipe: &mut Recipe| {
            (recipe.attack.reuse_target, recipe.attack.fold_batch_norm) = (reuse_target, fold_batch_norm);
        };
        let rows = rows(&committed(RESNET18), &Subject { adjust: &adjust, ..Subject::default() });
        assert_eq!(failures(&rows), Vec::<String>::new(), "reuse_target {reuse_target}, fold_batch_norm {fold_batch_norm}");
    }
}

/// The full recordings, of ResNet-18 and of a narrow ResNet-50, with their f64 companions.
#[test]
fn the_engine_agrees_with_the_full_recordings() {
    for name in ["golden_b4_w8", "golden_r50_b4_w4"] {
        let Some(path) = common::shared(&format!("{name}.safetensors")) else { continue };
        let recording = Recording::open(&path).unwrap();
        assert!(recording.has_exact(), "{name} has a companion in f64");
        for device in &devices::in_type_for_long::<f32>() {
            let rows = rows_on::<f32>(device, &recording);
            assert_eq!(failures(&rows), Vec::<String>::new(), "{name} on {device:?}");
            assert_eq!(absent(&rows), Vec::<String>::new(), "{name}");
        }
    }
}

/// The engine with one thing wrong must fail, and where one would look for it.
#[track_caller]
fn found(recording: &str, subject: &Subject<f32>, expected: &[&str]) {
    let failed = failures(&rows(&committed(recording), subject));
    for what in expected {
        assert!(failed.iter().any(|row| row.starts_with(what)), "{what} should have failed; what failed: {failed:?}");
    }
}

#[test]
fn keys_that_are_not_detached_are_found() {
    let subject = Subject { adjust: &|recipe| recipe.loss.detach_keys = false, ..Subject::default() };
    found(RESNET18, &subject, &["nt/2view/grad_z", "nt/3view/grad_z", "attack/grad", "step1/grad"]);
    found(RESNET50, &subject, &["attack/grad", "step1/grad"]);
}

#[test]
fn a_single_update_of_the_running_statistics_is_found() {
    for recording in [RESNET18, TWO_STEPS, RESNET50] {
        found(recording, &Subject { step: &wrong::one_statistics_update, ..Subject::default() }, &["step1/bn_after,"]);
    }
}

#[test]
fn a_projection_around_the_current_image_is_found() {
    let subject = Subject { ingredients: &wrong::unprojected_attack, ..Subject::default() };
    found(RESNET18, &subject, &["attack/x_traj, pixels, recorded gradients", "attack/x_traj, pixels, median image"]);
}

/// One pixel of the batch, as of a kernel that forgets a ragged end.
#[test]
fn an_attack_that_leaves_pixels_out_is_found() {
    let subject = Subject { ingredients: &wrong::attack_without_the_last_pixel, ..Subject::default() };
    for recording in [RESNET18, RESNET50] {
        found(recording, &subject, &["attack/x_traj, pixels, recorded gradients"]);
    }
}

#[test]
fn averaged_positives_are_found() {
    let subject = Subject { ingredients: &wrong::averaged_positives, ..Subject::default() };
    found(RESNET18, &subject, &["nt/3view/loss", "step1/simloss", "step1/grad"]);
}

#[test]
fn a_lars_that_skips_biases_is_found() {
    let subject = Subject { step: &wrong::lars_without_vectors, ..Subject::default() };
    found(RESNET18, &subject, &["step1/update", "step1/momentum"]);
    found(TWO_STEPS, &subject, &["step1/update", "step1/momentum", "step2/update"]);
}

/// Under LARS a parameter hardly moves in a step: the parameters themselves would be near the recorded ones all the same.
#[test]
fn an_update_of_a_part_of_the_parameters_is_found() {
    let subject = Subject { step: &wrong::partial_update, ..Subject::default() };
    for recording in [RESNET18, TWO_STEPS] {
        found(recording, &subject, &["step1/update"]);
    }
}

/// The first step has no momentum yet.
#[test]
fn another_momentum_is_found() {
    let adjust = |recipe: &mut Recipe| {
        if let OptimizerSettings::Lars { momentum, .. } = &mut recipe.optimizer {
            *momentum = 0.89;
        }
    };
    let failed = failures(&rows(&committed(TWO_STEPS), &Subject { adjust: &adjust, ..Subject::default() }));
    assert!(!failed.is_empty() && failed.iter().all(|row| row.starts_with("step2/update")), "{failed:?}");
}

#[test]
fn a_dropped_regulariser_is_found() {
    let subject = Subject { ingredients: &wrong::no_regularizer, ..Subject::default() };
    found(RESNET18, &subject, &["step1/grad, median"]);
    found(RESNET50, &subject, &["step1/grad, median"]);
    found(TWO_STEPS, &subject, &["step1/momentum, median"]);
}

#[test]
fn a_nan_is_found() {
    found(RESNET18, &Subject { step: &wrong::a_nan, ..Subject::default() }, &["step1/grad", "step1/momentum"]);
}
