//! What `rocl bench` counts, against the arithmetic of the method done by hand, and its program.

mod common;

use rocl::Device;
use rocl::bench::calls::{Filter, kinds};
use rocl::bench::ceilings::Ceilings;
use rocl::bench::model::predict;
use rocl::bench::step::Phase;
use rocl::bench::subject::{pretraining, recorded};
use rocl::device::record::record;
use rocl::nn::ConvSpec;
use rocl::recipe::Recipe;
use rocl::recipe::settings::{Method, Overrides};
use serde_json::Value;
use std::process::Command;

const BATCH: u64 = 8;

fn recipe() -> Recipe {
    let small = Overrides { width: Some(4), batch_size: Some(BATCH as u32), ..Overrides::default() };
    Recipe::load("demo").unwrap().with(&small).unwrap()
}

fn dry() -> Device {
    Device::dry()
}

/// Multiply-adds per image, forward: of all convolutions, of the stem, of the projector.
fn multiply_adds(recipe: &Recipe) -> (u64, u64, u64) {
    let topology = recipe.topology();
    let convs = topology.convs().map(ConvSpec::multiply_adds).sum::<usize>() as u64;
    let (features, hidden, out) =
        (topology.features as u64, u64::from(recipe.projection_hidden()), u64::from(recipe.network.projection));
    (convs, topology.stem.multiply_adds() as u64, features * hidden + hidden * out)
}

/// An attack embeds the target once and x in every step, and goes back to the pixels in every step, through each convolution's dgrad. A training pass
/// costs three times its forward, less the gradient of the images. That is all the arithmetic of a step.
#[test]
fn a_step_costs_what_the_method_costs() {
    let recipe = recipe();
    let (convs, stem, projector) = multiply_adds(&recipe);
    let steps = u64::from(recipe.attack.steps);
    let attack = (1 + 2 * steps) * (convs + projector);
    let training = |views: u64| views * (3 * (convs + projector) - stem);
    let run = pretraining::<f32>(&dry(), &recipe).unwrap();
    let flops = |phase: Phase| record(|| phase.run(&run)).unwrap().iter().map(|call| call.flops).sum::<u64>();
    assert_eq!(flops(Phase::Attack), 2 * BATCH * attack);
    assert_eq!(flops(Phase::Regularizer), 2 * BATCH * training(2));
    assert_eq!(flops(Phase::Main), 2 * BATCH * training(3));
    assert_eq!([flops(Phase::Augment), flops(Phase::Optimizer)], [0, 0]);
}

/// The least traffic of some calls is known: a PGD step in the stem reads the image, the clean image, the gradient behind the stem and its filters, and
/// writes the image; views are written once, and each image read once as bytes, its place and two records of parameters besides.
#[test]
fn traffic_is_what_a_call_cannot_do_without() {
    let run = pretraining::<f32>(&dry(), &recipe()).unwrap();
    let calls = recorded(&run).unwrap();
    let of = |name: &str| calls.iter().find(|call| call.name == name).unwrap();
    let pixels = BATCH * 32 * 32 * 3;
    let [k, c] = [4, 3];
    let step = of("stem_pgd_step");
    let (slopes, filters) = (BATCH * 32 * 32 * k, k * 9 * c);
    assert_eq!((step.bytes_read, step.bytes_written), (4 * (2 * pixels + slopes + filters), 4 * pixels));
    assert_eq!(of("augment_views").bytes_written, 2 * 4 * pixels);
    let read = of("augment_views").bytes_read;
    assert!((pixels..pixels + 200 * BATCH).contains(&read), "{read}");
    let stem = of("conv_fprop");
    assert_eq!((stem.bytes_read, stem.bytes_written), (4 * (pixels + k * 9 * c + k), 4 * BATCH * 32 * 32 * k));
}

/// A dry run makes the calls and takes the memory that a real one does, and touches none. The attack is that on the network that is not folded:
/// the other's last kernel is for GPUs, and not what the CPU does. Filters that are packed for an attack are a CPU's own.
#[test]
fn a_dry_run_plans_what_a_real_one_does() {
    for method in [Method::Rocl, Method::Simclr] {
        let mut recipe = recipe().with(&Overrides { method: Some(method), ..Overrides::default() }).unwrap();
        recipe.attack.fold_batch_norm = false;
        let (real, dry) = (Device::host().unwrap(), dry());
        let listed = |device: &Device| {
            let run = pretraining::<f32>(device, &recipe).unwrap();
            let calls = recorded(&run).unwrap();
            let (packs, calls): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.name == "pack_filter");
            let list: Vec<_> =
                calls.iter().map(|c| (c.name, c.element, c.shape.clone(), c.bytes_read, c.bytes_written, c.flops)).collect();
            assert_eq!(packs.is_empty(), device.is_dry() || method == Method::Simclr);
            (list, device.memory_use().1 as u64 - packs.iter().map(|call| call.bytes_written).sum::<u64>())
        };
        assert_eq!(listed(&real), listed(&dry));
    }
}

/// A recorded call can be done again, and does the same to the same memory.
#[test]
fn calls_can_be_repeated() {
    let device = Device::host().unwrap();
    let run = pretraining::<f32>(&device, &recipe()).unwrap();
    let calls = recorded(&run).unwrap();
    let pixels = || run.images().rows(0..2 * BATCH as usize).unwrap().to_vec().unwrap();
    let views = pixels();
    run.begin_epoch(0, 0).unwrap();
    run.images().clear().unwrap();
    calls.iter().find(|call| call.name == "augment_views").unwrap().repeat().unwrap();
    assert_eq!(pixels(), views);
}

#[test]
fn alike_calls_are_counted_together_and_filtered() {
    let run = pretraining::<f32>(&dry(), &recipe()).unwrap();
    let all = kinds(&run, &Filter::default()).unwrap();
    assert_eq!(all.iter().map(|kind| kind.count).sum::<usize>(), recorded(&run).unwrap().len());
    let pgd = kinds(&run, &Filter { only: Some("stem_pgd_step".to_owned()), shape: None }).unwrap();
    assert_eq!((pgd.len(), pgd[0].count), (1, recipe().attack.steps as usize));
    let error = kinds(&run, &Filter { only: Some("no_such".to_owned()), shape: None }).err().unwrap().to_string();
    assert!(error.contains("stem_pgd_step"), "{error}");
}

/// A prediction scales as rooflines do: memory twice as fast and products twice as fast halve every time.
#[test]
fn predictions_scale_with_the_card() {
    let slow = Ceilings { bytes_per_second: 1e12, flops_per_second: 1e14 };
    let fast = Ceilings { bytes_per_second: 2e12, flops_per_second: 2e14 };
    let (slow, fast) = (predict::<f32>(&recipe(), &slow).unwrap(), predict::<f32>(&recipe(), &fast).unwrap());
    assert_eq!((slow.flops, slow.bytes), (fast.flops, fast.bytes));
    // The sums are of the same few hundred terms, each halved exactly.
    assert!((slow.seconds / fast.seconds - 2.0).abs() < 1e-12);
}

fn program(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(common::program()).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const SMALL: [&str; 8] = ["--recipe", "demo", "--width", "2", "--batch-size", "4", "--repeat", "1"];

#[test]
fn every_table_prints_and_every_report_is_json() {
    let model: &[&str] = &["bench", "model", "--gpu", "T4", "--width", "4", "--batch-size", "8"];
    let measured = |name: &'static str, more: &[&'static str]| [&["bench", name, "--warmup", "1"], &SMALL[..], more].concat();
    for (command, expected) in [
        (measured("step", &[]), "regularizer"),
        (measured("attack", &["--attack-steps", "1"]), "+ sign and projection fused"),
        (measured("kernels", &["--only", "pgd_linf_step", "--cold-cache"]), "pgd_linf_step"),
        (model.to_vec(), "bn_backward_apply"),
    ] {
        let (code, table, error) = program(&command);
        assert_eq!(code, Some(0), "{command:?}: {error}");
        assert!(table.contains(expected), "{table}");
        let (code, json, error) = program(&[&command[..], &["--json"]].concat());
        assert_eq!(code, Some(0), "{command:?}: {error}");
        let report: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((report["schema"].as_u64(), report["kind"].as_str()), (Some(1), Some(command[1])));
    }
}

#[test]
fn misuse_is_refused_with_a_sentence() {
    for (command, part) in [
        (&["bench", "model", "--gpu", "abacus"][..], "h200"),
        (&["bench", "model", "--gpu", "t4", "--precision", "bf16"], "has no bf16"),
        (&["bench", "compare", "missing.json", "missing.json"], "missing.json"),
        (&["bench", "compare", "a", "b", "--tolerance", "NaN"], "--tolerance"),
        (&["bench", "kernels", "--width", "2", "--batch-size", "4", "--only", "abacus"], "abacus"),
    ] {
        let (code, _, error) = program(command);
        assert!(matches!(code, Some(1 | 2)), "{command:?}");
        let (_, sentence) = error.split_once("error: ").unwrap();
        assert!(sentence.contains(part) && sentence.trim().lines().count() == 1, "{error}");
    }
}

#[cfg(not(feature = "access"))]
#[test]
fn a_build_that_cannot_watch_says_so() {
    let (code, _, error) = program(&[&["bench", "kernels", "--access"], &SMALL[..]].concat());
    assert_eq!(code, Some(2));
    assert!(error.contains("build with --features access"), "{error}");
}

/// A step of PGD asks for three vectors and writes one, a packet of 16 bytes for each lane; no kernel of the step races.
#[cfg(feature = "access")]
#[test]
fn kernels_are_watched() {
    let command = [&["bench", "kernels", "--access"], &SMALL[..]].concat();
    let (code, table, error) = program(&command);
    assert_eq!(code, Some(0), "{error}");
    assert!(table.contains("bn_backward_apply") && table.trim_end().ends_with("no races"), "{table}");
    let (_, json, _) = program(&[&command[..], &["--json", "--only", "pgd_linf_step"]].concat());
    let report: Value = serde_json::from_str(&json).unwrap();
    let launch = &report["launches"][0];
    assert_eq!((report["kind"].as_str(), launch["races"].as_u64()), (Some("access"), Some(0)));
    let tensors: Vec<_> = launch["tensors"].as_array().unwrap().iter().map(|t| t["tensor"].as_str().unwrap()).collect();
    assert_eq!(tensors, ["x", "gradient", "clean"]);
    let each = |tensor: &Value| tensor["sectors"].as_f64().unwrap() / tensor["requests"].as_f64().unwrap();
    assert!(launch["tensors"].as_array().unwrap().iter().all(|tensor| each(tensor) == 16.0), "{launch}");
}

/// The least traffic of an elementwise kernel is proportional to the batch, that of the optimiser does not know it.
#[test]
fn costs_are_shown_against_size() {
    let command = ["bench", "kernels", "--device", "cpu", "--width", "2", "--repeat", "1", "--batch-sizes", "4,12"];
    let (code, table, error) = program(&command);
    assert_eq!(code, Some(0), "{error}");
    assert!(table.contains("batch of 12") && table.lines().any(|line| line.starts_with("lars_update")), "{table}");
    let (_, json, _) = program(&[&command[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&json).unwrap();
    let bytes = |size: usize, name: &str| -> u64 {
        let calls = report["sizes"][size]["calls"].as_array().unwrap().iter();
        calls.filter(|call| call["name"] == name).map(|call| call["bytes"].as_u64().unwrap()).sum()
    };
    assert_eq!(bytes(1, "pgd_linf_step"), 3 * bytes(0, "pgd_linf_step"));
    assert_eq!(bytes(1, "lars_update"), bytes(0, "lars_update"));
    assert_eq!(bytes(0, "pgd_linf_step"), 4 * 4 * 4 * 3072, "x, gradient and clean image in, x out");
    let (code, _, error) = program(&[&command[..], &["--batch-size", "4"]].concat());
    assert_eq!(code, Some(2));
    assert!(error.contains("cannot be used with"), "{error}");
}

/// A report compared with itself has no regression; one whose samples all doubled has.
#[test]
fn the_exit_code_tells_of_a_regression() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (old, new) = (path("old.json"), path("new.json"));
    let (code, json, _) = program(&[&["bench", "step", "--json"], &SMALL[..]].concat());
    assert_eq!(code, Some(0));
    std::fs::write(&old, &json).unwrap();
    let mut slower: Value = serde_json::from_str(&json).unwrap();
    for sample in slower["step"]["samples"].as_array_mut().unwrap() {
        *sample = (2.0 * sample.as_f64().unwrap()).into();
    }
    std::fs::write(&new, slower.to_string()).unwrap();
    assert_eq!(program(&["bench", "compare", &old, &old]).0, Some(0));
    let (code, table, error) = program(&["bench", "compare", &old, &new]);
    assert_eq!(code, Some(1), "{table}{error}");
    assert!(table.contains("SLOWER"), "{table}");
}

/// Weights, views and losses of the first step, from which a peer can repeat it: the losses are those of a run of the same recipe.
#[test]
fn the_first_step_can_be_dumped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.safetensors");
    let (code, json, error) = program(&[&["bench", "step", "--json", "--dump", path.to_str().unwrap()], &SMALL[..]].concat());
    assert_eq!(code, Some(0), "{error}");
    let report: Value = serde_json::from_str(&json).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        file.tensor(name).unwrap().data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    assert_eq!(file.tensor("step/x1").unwrap().shape(), [4, 32, 32, 3]);
    assert!(floats("step/x2").iter().all(|x| (0.0..=1.0).contains(x)));
    let losses = floats("step/losses");
    assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0));
    // Both are of step 1 of one run: the report's own, after the dumped step has moved the weights once.
    assert!(report["losses"]["main"].as_f64().unwrap().is_finite());
    assert!(file.names().iter().any(|name| name.starts_with("projector/")));
}
