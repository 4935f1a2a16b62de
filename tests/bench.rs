//! What `rocl bench` counts, against the arithmetic of the method done by hand, and its program.

mod common;

use rocl::bench::calls::{CallCost, Filter, alike, kinds};
use rocl::bench::ceilings::Ceilings;
use rocl::bench::measure::Repetitions;
use rocl::bench::model::predict;
use rocl::bench::step::Phase;
use rocl::bench::subject::{planned, pretraining, recorded};
use rocl::device::record::record;
use rocl::nn::ConvSpec;
use rocl::ops::{self, ConvShape, NtXent, NtXentWorkspace};
use rocl::recipe::Recipe;
use rocl::recipe::settings::{Method, Overrides};
use rocl::{Device, Tensor};
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
/// costs three times its forward, less the gradient of the images. NT-Xent compares every embedding with every other, and adds them up for each embedding whose
/// gradient is wanted. That is all the arithmetic of a step.
#[test]
fn a_step_costs_what_the_method_costs() {
    let recipe = recipe();
    let (convs, stem, projector) = multiply_adds(&recipe);
    let steps = u64::from(recipe.attack.steps);
    let attack = (1 + 2 * steps) * (convs + projector);
    let training = |views: u64| views * (3 * (convs + projector) - stem);
    assert!(recipe.loss.detach_keys && recipe.attack_groups() == 1);
    let dimensions = u64::from(recipe.network.projection);
    let contrast = |views: u64, moved: u64| (views * views + moved * views) * BATCH * dimensions;
    let run = pretraining::<f32>(&dry(), &recipe).unwrap();
    let flops = |phase: Phase| record(|| phase.run(&run)).unwrap().iter().map(|call| call.flops).sum::<u64>();
    assert_eq!(flops(Phase::Attack), 2 * BATCH * (attack + steps * contrast(2, 1)));
    assert_eq!(flops(Phase::Regularizer), 2 * BATCH * (training(2) + contrast(2, 2)));
    assert_eq!(flops(Phase::Main), 2 * BATCH * (training(3) + contrast(3, 3)));
    assert_eq!([flops(Phase::Augment), flops(Phase::Optimizer)], [0, 0]);
}

/// The products of contrastive losses, counted pair by pair: a query is compared with all rows of its group, itself included, and these are added up for it
/// where its gradient is wanted. What comes in a second launch compares anew, and SupCon walks over its positives once more.
#[test]
fn contrastive_losses_count_their_products() {
    let (views, batch, groups, d, wanted) = (2_usize, 12_usize, 3_usize, 5_usize, 7_usize);
    let rows = views * batch;
    let group_of = |row: usize| row % batch / (batch / groups);
    let pairs = |queries: usize, alike: &dyn Fn(usize, usize) -> bool| -> u64 {
        (0..queries).map(|i| (0..rows).filter(|&j| alike(i, j)).count() as u64).sum()
    };
    let operations = |pairs: u64| 2 * pairs * d as u64;
    let in_group = |queries| operations(pairs(queries, &|i, j| group_of(i) == group_of(j)));
    let device = dry();
    let floats = |length: usize| Tensor::<f32>::zeros(&device, [length, d]).unwrap();
    let (z, d_z, loss) = (floats(rows), floats(rows), Tensor::zeros(&device, [1]).unwrap());
    let workspace = NtXentWorkspace::new(&device, rows).unwrap();
    let found = |name: &str, work: &dyn Fn() -> rocl::Result<()>| -> Vec<u64> {
        let calls = record(work).unwrap();
        calls.iter().filter(|call| call.name.starts_with(name)).map(|call| call.flops).collect()
    };
    for (detach_keys, gradient, expected) in [
        (true, true, vec![in_group(rows) + in_group(wanted)]),
        (true, false, vec![in_group(rows)]),
        (false, true, vec![in_group(rows), 2 * in_group(wanted)]),
    ] {
        let settings = NtXent { views, groups, temperature: 0.5, detach_keys };
        let d_z = gradient.then_some(&d_z);
        assert_eq!(found("nt_xent", &|| ops::nt_xent(&settings, &z, 1.0, d_z, wanted, &workspace, &loss)), expected);
    }
    let settings = NtXent { views, groups: 1, temperature: 0.5, detach_keys: true };
    let labels = Tensor::zeros(&device, [batch]).unwrap();
    let all = |queries| operations(pairs(queries, &|_, _| true));
    let work = || ops::sup_con(&settings, &z, &labels, 1.0, &d_z, wanted, &workspace, &loss);
    assert_eq!(found("sup_con", &work), [3 * all(rows), 2 * all(wanted)]);
}

/// Convolutions by the portable kernels are the same arithmetic as by a library.
#[test]
fn direct_convolutions_count_as_others_do() {
    let device = dry();
    let shape = ConvShape { n: 2, h: 7, w: 5, c: 3, k: 4, r: 3, s: 3, stride: 2, pad: 1 };
    let x = Tensor::<f32>::zeros(&device, [2, 7, 5, 3]).unwrap();
    let (filter, y) = (Tensor::zeros(&device, [4, 3, 3, 3]).unwrap(), Tensor::zeros(&device, [2, 4, 3, 4]).unwrap());
    let calls = record(|| {
        ops::conv_direct_fprop(&x, &filter, 2, 1, &y)?;
        ops::conv_direct_dgrad(&y, &filter, 2, 1, &x)?;
        ops::conv_direct_wgrad(&x, &y, 2, 1, true, &filter)
    });
    let flops: Vec<u64> = calls.unwrap().iter().map(|call| call.flops).collect();
    // Two images of 4 × 3 pixels of 4 channels, each of 27 products.
    assert_eq!((flops, shape.flops()), (vec![2 * 2 * 12 * 4 * 27; 3], 2 * 2 * 12 * 4 * 27));
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

/// A plan has the calls of the step that it is of, and has made none of them; what is asked for by its name is all that is ever launched.
#[test]
fn one_kernel_is_launched_alone() {
    let device = Device::host().unwrap();
    let listed = |calls: &[rocl::device::record::Call]| -> Vec<_> {
        calls.iter().map(|call| (call.name, call.shape.clone(), call.bytes(), call.flops)).collect()
    };
    let (run, calls) = planned::<f32>(&device, &recipe()).unwrap();
    let views = run.images().rows(0..2 * BATCH as usize).unwrap();
    let untouched = views.to_vec().unwrap();
    assert!(untouched.iter().any(|&x| x < 0.0), "noise, and no image");
    assert_eq!(listed(&calls), listed(&recorded(&pretraining::<f32>(&device, &recipe()).unwrap()).unwrap()));
    assert_eq!(views.to_vec().unwrap(), untouched);
    for (name, samples) in [("bn_apply", 3), ("conv_wgrad", 2), ("augment_views", 1)] {
        let mut times = 0;
        let launched = record(|| {
            let (_run, calls) = planned::<f32>(&device, &recipe())?;
            let kinds = alike(calls, &Filter { only: Some(name.to_owned()), shape: None })?;
            let costs = CallCost::measure(&device, &kinds, Repetitions { warmup: 1, samples }, None)?;
            times = costs.iter().map(|cost| cost.time.samples.len()).sum();
            Ok(())
        });
        let launched = launched.unwrap();
        assert!(launched.len() > times && times >= samples && launched.iter().all(|call| call.name == name), "{launched:?}");
    }
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
        (measured("kernels", &[]), "nt_xent"),
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

fn report(command: &[&str]) -> Value {
    let (code, json, error) = program(&[command, &["--json"]].concat());
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str(&json).unwrap()
}

/// Each call stands beside what the ceilings of the run predict, by the arithmetic of a roofline; what is launched alone goes without.
#[test]
fn predicted_measured_and_error_are_of_one_arithmetic() {
    let command = [&["bench", "kernels", "--device", "cpu"], &SMALL[..]].concat();
    let all = report(&command);
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!(
        (&all["prediction"]["by"], number(&all["prediction"]["bytes_per_second"])),
        (&Value::from("measured"), number(&all["ceilings"]["bytes_per_second"]))
    );
    for call in all["calls"].as_array().unwrap() {
        let rate = |name: &str| number(&all["ceilings"][name]);
        let (memory, work) =
            (number(&call["bytes"]) / rate("bytes_per_second"), number(&call["flops"]) / rate("flops_per_second"));
        let (predicted, measured) = (number(&call["predicted"]), number(&call["time"]["median"]));
        assert_eq!((predicted, number(&call["floor"])), (memory.max(work), memory.max(work)));
        assert_eq!(number(&call["error"]), measured / predicted - 1.0);
    }
    let alone = report(&[&command[..], &["--only", "bn_apply"]].concat());
    assert!(["ceilings", "prediction", "step", "load"].iter().all(|key| alone[key].is_null()), "{alone}");
    assert!(alone["calls"].as_array().unwrap().iter().all(|call| call["name"] == "bn_apply" && call["predicted"].is_null()));
    let (_, table, _) = program(&command);
    assert!(
        table.lines().any(|line| line.contains("predicted") && line.contains("measured") && line.contains("error")),
        "{table}"
    );
}

/// Every setting of an attack has its rows, and gains are of attacks of the same round.
#[test]
fn an_attack_is_taken_apart() {
    let attack = report(
        &[
            &["bench", "attack", "--device", "cpu", "--attack-steps", "2", "--recipe", "demo", "--width", "2"][..],
            &["--batch-size", "4", "--repeat", "3", "--warmup", "0"],
        ]
        .concat(),
    );
    let rows = attack["variations"].as_array().unwrap();
    for (key, expected) in [
        ("loss", ["similarity", "mse", "l1", "cosine"].map(Value::from).to_vec()),
        ("precision", ["fp32", "fp16", "bf16"].map(Value::from).to_vec()),
        ("random_start", [true, false].map(Value::from).to_vec()),
        ("steps", [1, 2, 3, 5, 10, 20].map(Value::from).to_vec()),
        ("batch_size", [2, 4, 8].map(Value::from).to_vec()),
    ] {
        assert!(expected.iter().all(|value| rows.iter().any(|row| row[key] == *value)), "{key}");
    }
    let samples = |row: &Value| -> Vec<f64> {
        row["time"]["samples"].as_array().unwrap().iter().map(|sample| sample.as_f64().unwrap()).collect()
    };
    let ladder = attack["ladder"].as_array().unwrap();
    assert!(ladder[0]["gain"].is_null() && ladder.len() == 5);
    for pair in ladder.windows(2) {
        let mut gains: Vec<f64> = samples(&pair[0]).iter().zip(samples(&pair[1])).map(|(before, after)| before / after).collect();
        gains.sort_by(f64::total_cmp);
        let found = ["min", "median", "max"].map(|key| pair[1]["gain"][key].as_f64().unwrap());
        assert_eq!(found.to_vec(), gains);
    }
}

/// A report compared with itself has no regression; one whose samples all doubled has. One of something else is refused, and one of too few samples.
#[test]
fn the_exit_code_tells_of_a_regression() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (old, new, other, few) = (path("old.json"), path("new.json"), path("other.json"), path("few.json"));
    let step = report(&["bench", "step", "--recipe", "demo", "--width", "2", "--batch-size", "4", "--repeat", "5"]);
    std::fs::write(&old, step.to_string()).unwrap();
    let mut slower = step.clone();
    for sample in slower["step"]["samples"].as_array_mut().unwrap() {
        // Whatever else the machine did: no old sample is nearly as long.
        *sample = (2.0 * step["step"]["max"].as_f64().unwrap()).into();
    }
    std::fs::write(&new, slower.to_string()).unwrap();
    assert_eq!(program(&["bench", "compare", &old, &old]).0, Some(0));
    let (code, table, error) = program(&["bench", "compare", &old, &new]);
    assert_eq!(code, Some(1), "{table}{error}");
    assert!(table.contains("SLOWER"), "{table}");
    slower["precision"] = "bf16".into();
    std::fs::write(&other, slower.to_string()).unwrap();
    let (code, _, error) = program(&["bench", "compare", &old, &other]);
    assert!(code == Some(2) && error.contains("precision was fp32 and is bf16") && error.lines().count() == 1, "{error}");
    let (code, table, _) = program(&["bench", "compare", &old, &other, "--unlike"]);
    assert!(code == Some(0) && table.contains("not alike: precision") && !table.contains("SLOWER"), "{table}");
    let mut single = step;
    let times = ["/step/samples".to_owned()].into_iter().chain((0..5).map(|phase| format!("/phases/{phase}/time/samples")));
    times.for_each(|samples| single.pointer_mut(&samples).unwrap().as_array_mut().unwrap().truncate(1));
    std::fs::write(&few, single.to_string()).unwrap();
    let (code, _, error) = program(&["bench", "compare", &few, &few]);
    assert!(code == Some(2) && error.contains("6 of 6 times have too few samples") && error.contains("--repeat 5"), "{error}");
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
