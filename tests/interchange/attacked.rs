//! The accuracy under an attack that is not ours: PGD-20 of torchattacks (L∞, L2) and foolbox (L1) on a model in PyTorch, against
//! this engine's on the same.

use super::common::altered::Altered;
use super::common::root;
use super::engine::{small, test_images, trained, trained_head};
use super::{Python, load, read_f32, text, write_images};
use rocl::Device;
use rocl::nn::{Architecture, Normalization};
use rocl::ops::Norm;
use rocl::recipe::evaluate::{Evaluation, share};
use rocl::recipe::settings::NamedAttack;
use rocl::run::checkpoint::{Checkpoint, Kind};
use std::path::Path;

const IMAGES: usize = 300;
/// It decides on the noise that attacks start from.
const BATCH: usize = 100;
/// Fractions of the usual budgets: short training withstands no more.
const BUDGETS: [&str; 3] = ["linf:2/255:20", "l2:0.125:20", "l1:2:20"];

/// Attacks of each budget from the image and from a random start, in turns.
fn attacks() -> Vec<NamedAttack> {
    let named = |budget: &str, start| format!("pgd:{budget}:start={start}").parse::<NamedAttack>().unwrap();
    BUDGETS.iter().flat_map(|b| [named(b, "image"), named(b, "random")]).collect()
}

/// Which images this engine gets right: clean, and under each of the attacks.
fn right_here(device: &Device, checkpoint: &Path, head: &Path) -> (Vec<bool>, Vec<Vec<bool>>) {
    let (images, (encoder, _)) = (test_images(IMAGES), load(device, checkpoint));
    let classifier = Checkpoint::load(head, Kind::LinearHead).unwrap();
    let classifier = encoder.load_head(&classifier, images.classes.len(), IMAGES).unwrap();
    let attacks = attacks();
    let evaluation = Evaluation::new(device, encoder.inference(), &classifier, &images, &attacks, BATCH, 0).unwrap();
    let right = evaluation.run(|_| Ok(())).unwrap();
    (right.clean, right.attacked)
}

/// Which images PyTorch gets right under each of the attacks.
fn right_there(python: &Python, checkpoint: &Path, head: &Path) -> Vec<Vec<bool>> {
    let folder = tempfile::tempdir().unwrap();
    let [data, out] = ["images", "out"].map(|name| folder.path().join(format!("{name}.safetensors")));
    write_images(&test_images(IMAGES), &data);
    // The libraries' scripts do both starts of a budget.
    let budget = |attack: &NamedAttack| {
        let (epsilon, step_size) = (attack.epsilon.value(), attack.step_size.value());
        format!("{}:{epsilon}:{step_size}:{}", attack.norm_name(), attack.steps.unwrap())
    };
    let budgets: Vec<String> = attacks().iter().step_by(2).map(budget).collect();
    let files = [text(checkpoint), text(head), text(&data), text(&out)];
    let arguments: Vec<&str> = files.into_iter().chain(budgets.iter().map(String::as_str)).collect();
    python.succeeds("tests/interchange/attack.py", &arguments);
    let right = |attack: NamedAttack| -> Vec<bool> {
        let start = if attack.random_start { "random" } else { "image" };
        read_f32(&out, &format!("{}/{start}", attack.norm_name())).iter().map(|right| *right == 1.0).collect()
    };
    attacks().into_iter().map(right).collect()
}

#[track_caller]
fn same_accuracy((clean, here): &(Vec<bool>, Vec<Vec<bool>>), there: &[Vec<bool>]) {
    let clean = 100.0 * share(clean);
    for ((attack, here), there) in attacks().iter().zip(here).zip(there) {
        let differing = here.iter().zip(there).filter(|(a, b)| a != b).count();
        let (here, there) = (100.0 * share(here), 100.0 * share(there));
        println!("{attack}: clean {clean:.1} %, {here:.1} % here, {there:.1} % there, {differing} images differ");
        // Where all images fall, or none does, equal accuracies would mean nothing.
        assert!((5.0..=95.0).contains(&here) && here < clean - 5.0, "{attack} has to be neither futile nor total: {here}");
        // Three binomial standard errors of one accuracy. Generous: the images are the same, and only their random starts differ. Without
        // those the attacks do the same sums in another order but for the projection: libraries clip what is in the ball to [0, 1], which
        // is within both but not nearest. In L∞ that is one, and 1 % allows for images on the edge of two classes.
        let p = here / 100.0;
        let exact = attack.norm == Norm::Linf && !attack.random_start;
        let allowed = if exact { 1.0 } else { 300.0 * (p * (1.0 - p) / IMAGES as f64).sqrt() };
        assert!((here - there).abs() <= allowed, "{attack}: {here:.1} % and {there:.1} %, {allowed:.1} allowed");
    }
}

#[test]
fn public_attack_libraries_find_the_same_accuracy() {
    let Some(python) = Python::with("torch, numpy, safetensors, torchattacks, foolbox") else { return };
    let device = Device::host().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, head] = ["checkpoint", "head"].map(|name| folder.path().join(format!("{name}.safetensors")));
    trained(&device, &small(Architecture::ResNet18, 3), 1024, &checkpoint);
    trained_head(&device, &checkpoint, 1024, &head);
    same_accuracy(&right_here(&device, &checkpoint, &head), &right_there(&python, &checkpoint, &head));
}

/// A model of normalised images that comes from PyTorch as a bare state dict, with the normalisation on the command line.
#[test]
fn an_imported_model_of_normalised_images_is_as_accurate_under_attack() {
    let Some(python) = Python::with("torch, numpy, safetensors, torchattacks, foolbox") else { return };
    let device = Device::host().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, head, bare, imported, its_head] = ["checkpoint", "head", "bare", "run/checkpoint", "run/head"]
        .map(|name| folder.path().join(format!("{name}.safetensors")));
    let plain = small(Architecture::ResNet18, 3);
    let mut recipe = plain.clone();
    // Channels differ, so that a gradient that is not divided by their deviations would point elsewhere in L1 and L2.
    recipe.network.normalization = Some(Normalization { mean: [0.5, 0.25, 0.125], std: [0.5, 0.75, 1.0] });
    trained(&device, &recipe, 1024, &checkpoint);
    trained_head(&device, &checkpoint, 1024, &head);

    let (state, map) = (folder.path().join("bare.pt"), root().join("tools/maps/rocl.toml"));
    Altered::of(&checkpoint).set("recipe", &plain.to_json().unwrap()).save(&bare);
    python.succeeds("tools/pytorch_model.py", &[text(&bare), "--head", text(&head), text(&state)]);
    let files = [text(&state), "--map", text(&map), "--out", text(&imported)];
    let normalization = ["--mean", "0.5", "0.25", "0.125", "--std", "0.5", "0.75", "1"];
    python.succeeds("tools/import_pytorch.py", &[&files[..], &normalization[..]].concat());

    let here = right_here(&device, &imported, &its_head);
    assert_eq!(here, right_here(&device, &checkpoint, &head), "the import changes nothing");
    same_accuracy(&here, &right_there(&python, &imported, &its_head));
    // Both sides could agree because neither normalises.
    assert!(share(&right_here(&device, &bare, &head).0) < share(&here.0) - 0.05, "without normalisation it is another model");
}
