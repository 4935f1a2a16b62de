//! The engine in 16 bits: at most twice as far from a recording as plain 16-bit PyTorch, whose errors are committed beside the recordings.

use super::common::{self, devices};
use super::{committed, failures, rows_on};
use half::{bf16, f16};
use rocl::element::Element;
use rocl::nn::Architecture;
use rocl::recipe::verify::{Class, Recording, Tolerances};
use std::collections::BTreeMap;

#[derive(serde::Deserialize)]
struct Plain {
    fp16: Vec<PlainRow>,
    bf16: Vec<PlainRow>,
}

#[derive(serde::Deserialize)]
struct PlainRow {
    name: String,
    measure: String,
    plain: f64,
}

/// Recordings by which the tolerances were chosen.
const RESNET18: [&str; 2] = ["resnet18_w8_b4", "golden_b4_w8"];
const RESNET50: [&str; 1] = ["golden_r50_b4_w4"];

/// The error of plain PyTorch by row and measure, on all of these recordings.
fn plain<T: Element>(recordings: &[&str]) -> Vec<PlainRow> {
    let read = |name: &&str| {
        let bytes = std::fs::read(common::committed(&format!("{name}_plain.json"))).unwrap();
        let Plain { fp16, bf16 } = serde_json::from_slice(&bytes).unwrap();
        if T::PRECISION == "fp16" { fp16 } else { bf16 }
    };
    recordings.iter().flat_map(read).collect()
}

/// What a row of this name and measure is about.
fn class(name: &str, measure: &str) -> Class {
    let (group, quantity) = name.split_once('/').unwrap();
    let attack = group == "attack" || group.starts_with("pgd20");
    match (measure, quantity) {
        ("worst_step", _) => Class::StepPixels,
        ("median_image", _) => Class::Pixels,
        ("worst_image", _) => Class::WorstPixels,
        ("gain", _) => Class::Gain,
        ("worst", "loss") if group != "attack" => Class::CrossEntropy,
        (_, "loss" | "adv_loss" | "simloss") => Class::Loss,
        ("relative_l2", _) => Class::Forward,
        ("worst", "bn_after_adv" | "bn_after") => Class::Statistics,
        ("median", _) if attack => Class::AttackGradient,
        ("worst", _) if attack => Class::AttackStep,
        ("median", "update") => Class::Update,
        ("worst", "update") => Class::ParameterUpdate,
        ("median", _) => Class::Gradient,
        ("worst", _) => Class::Parameter,
        other => panic!("{name}: {other:?} is of no class"),
    }
}

/// No row may be further off than allowed; and no more is allowed than twice the largest plain error in its class.
fn agrees<T: Element>(recording: &Recording, recordings: &[&str]) {
    let mut largest = BTreeMap::<Class, f64>::new();
    for row in plain::<T>(recordings) {
        let most = largest.entry(class(&row.name, &row.measure)).or_default();
        *most = most.max(row.plain);
    }
    for device in &devices::in_type_for_long::<T>() {
        let rows = rows_on::<T>(device, recording);
        assert_eq!(failures(&rows), Vec::<String>::new(), "{} on {device:?}", T::NAME);
        for row in rows.iter().filter(|row| !matches!(row.class, Class::Exact | Class::RecordedPixels)) {
            let measure = serde_json::to_value(row.measure).unwrap();
            assert_eq!(row.class, class(&row.name, measure.as_str().unwrap()), "{}", row.name);
            let (plain, allowed) = (largest[&row.class], row.allowed);
            assert!(allowed <= 2.0 * plain, "{}, {}: {allowed:.1e} is allowed, plain PyTorch has {plain:.1e}", T::NAME, row.name);
        }
    }
}

#[test]
fn sixteen_bits_agree_with_the_committed_recording() {
    agrees::<f16>(&committed(RESNET18[0]), &RESNET18);
    agrees::<bf16>(&committed(RESNET18[0]), &RESNET18);
}

#[test]
fn sixteen_bits_agree_with_the_full_recordings() {
    for (name, recordings) in [("golden_b4_w8", &RESNET18[..]), ("golden_r50_b4_w4", &RESNET50)] {
        let Some(path) = common::shared(&format!("{name}.safetensors")) else { continue };
        let recording = Recording::open(&path).unwrap();
        agrees::<f16>(&recording, recordings);
        agrees::<bf16>(&recording, recordings);
    }
}

/// Where nothing is stored in 16 bits, the tolerances are those of f32.
#[test]
fn f32_has_its_own_tolerances() {
    assert_eq!(Tolerances::of::<f32>(Architecture::ResNet50), Tolerances::F32);
    let exact = Tolerances::F32.allowed(Class::Exact);
    assert_eq!(Tolerances::of::<bf16>(Architecture::ResNet18).allowed(Class::Exact), exact);
}
