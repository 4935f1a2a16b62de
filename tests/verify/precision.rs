//! The engine in 16 bits: at most twice as far from a recording as plain 16-bit PyTorch, whose errors are committed beside the recordings.

use super::{committed, failures, root, rows_in};
use half::{bf16, f16};
use rocl::element::Element;
use rocl::nn::Architecture;
use rocl::recipe::verify::{Class, Recording, Row, Tolerances};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(serde::Deserialize)]
struct Plain {
    fp16: Vec<PlainRow>,
    bf16: Vec<PlainRow>,
}

#[derive(serde::Deserialize)]
struct PlainRow {
    name: String,
    measure: serde_json::Value,
    plain: f64,
}

fn plain<T: Element>(recording: &str) -> Vec<PlainRow> {
    let path = root().join(format!("tests/golden/{recording}_plain.json"));
    let plain: Plain = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    if T::PRECISION == "fp16" { plain.fp16 } else { plain.bf16 }
}

/// The largest of plain errors by class; every row must have one, but for those that no 16-bit number enters.
fn by_class(rows: &[Row], plain: &[PlainRow]) -> BTreeMap<Class, f64> {
    let mut worst = BTreeMap::new();
    for row in rows.iter().filter(|row| row.class != Class::Exact) {
        // Of a tensor among many, the engine also says which.
        let name = row.name.split(" (").next().unwrap();
        let measure = serde_json::to_value(row.measure).unwrap();
        let found = plain.iter().find(|plain| plain.name == name && plain.measure == measure);
        let error = found.unwrap_or_else(|| panic!("{name} has no plain error")).plain;
        let most: &mut f64 = worst.entry(row.class).or_default();
        *most = most.max(error);
    }
    worst
}

fn agrees<T: Element>(recording: &Recording, name: &str) {
    let rows = rows_in::<T>(recording);
    let plain = by_class(&rows, &plain::<T>(name));
    for (class, plain) in &plain {
        let allowed = rows.iter().find(|row| row.class == *class).unwrap().allowed;
        assert!(
            allowed <= 2.0 * plain,
            "{name}, {}, {class:?}: {allowed:.1e} is allowed, plain PyTorch has {plain:.1e}",
            T::NAME
        );
    }
    assert_eq!(failures(&rows), Vec::<String>::new(), "{name}, {}", T::NAME);
}

#[test]
fn sixteen_bits_agree_with_the_committed_recording() {
    agrees::<f16>(&committed(), "resnet18_w8_b4");
    agrees::<bf16>(&committed(), "resnet18_w8_b4");
}

#[test]
fn sixteen_bits_agree_with_the_full_recordings() {
    let shared = std::env::var_os("ROCL_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    for name in ["golden_b4_w8", "golden_r50_b4_w4"] {
        let path = shared.join(format!("golden/{name}.safetensors"));
        if !path.exists() {
            println!("skipped: no {}", path.display());
            continue;
        }
        let recording = Recording::open(&path).unwrap();
        agrees::<f16>(&recording, name);
        agrees::<bf16>(&recording, name);
    }
}

/// Where nothing is stored in 16 bits, the tolerances are those of f32.
#[test]
fn f32_has_its_own_tolerances() {
    assert_eq!(Tolerances::of::<f32>(Architecture::ResNet50), Tolerances::F32);
    let exact = Tolerances::F32.allowed(Class::Exact);
    assert_eq!(Tolerances::of::<bf16>(Architecture::ResNet18).allowed(Class::Exact), exact);
}
