//! Everything a user can get wrong, as the program answers it: a sentence with a remedy, exit code 2 for misuse and 1 for failure, never a panic.

mod common;
#[path = "common/formats.rs"]
mod formats;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Jobs that would take a second, if they were not refused.
const TOY: &str = "--device cpu --threads 1 --limit 8 --quiet";

/// A folder with a small run, and with files and folders that are of no use. Arguments of the cases are paths in it.
fn fixtures() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["run", "wide"] {
        let width = if name == "wide" { 4 } else { 2 };
        let train = format!("pretrain --recipe demo --width {width} --epochs 1 --batch-size 4 --out {name} {TOY}");
        let fit = format!("linear-eval --checkpoint {name}/checkpoint.safetensors --epochs 1 {TOY}");
        for arguments in [train, fit] {
            let (code, _, stderr) = rocl(folder.path(), &arguments);
            assert_eq!(code, Some(0), "{arguments}: {stderr}");
        }
    }
    for name in ["checkpoint", "head"] {
        let whole = fs::read(at("run").join(format!("{name}.safetensors"))).unwrap();
        fs::write(at(&format!("short-{name}")), &whole[..whole.len() / 2]).unwrap();
    }
    // Names of equal length, so that the file is whole and only says of itself what is not so.
    let whole = fs::read(at("run/checkpoint.safetensors")).unwrap();
    for (name, is, says) in [("other-width", "width\\\":2", "width\\\":4"), ("other-network", "resnet18", "resnet50")] {
        fs::write(at(name), replaced(&whole, is.as_bytes(), says.as_bytes())).unwrap();
    }
    let archive = formats::npz(&[("images", formats::npy_images(0, 2)), ("labels", formats::npy_labels(&[0, 1]))], false);
    let labels = || formats::npy_labels(&[0; 4]);
    let images = || formats::npy_images(0, 4);
    let arrays = [("train_images", images()), ("train_labels", labels()), ("test_images", images()), ("test_labels", labels())];
    formats::put(at("one-class.npz"), formats::npz(&arrays, false));
    formats::put(at("short.npz"), &archive[..archive.len() / 2]);
    formats::put(at("short-npz/train.npz"), &archive[..archive.len() / 2]);
    formats::put(at("short-pickle/data_batch_1"), &formats::cifar_pickle("labels", &[0, 1], 0)[..3000]);
    formats::put(at("short-image/train/a/1.png"), &formats::png_of(0)[..100]);
    formats::put(at("large-image/train/a/1.png"), formats::png(64, 64, png::ColorType::Rgb, &[0; 3 * 64 * 64]));
    let zeros = [0; 4];
    let foreign = [("weight", TensorView::new(Dtype::F32, vec![1], &zeros).unwrap())];
    fs::write(at("foreign"), safetensors::serialize(foreign, None).unwrap()).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("noise"), [0xff; 4096]).unwrap();
    for (name, records) in [("short-data", 1.5), ("empty-data", 0.0), ("foreign-data", 2.0)] {
        fs::create_dir(at(name)).unwrap();
        // 0xff is no label of CIFAR-10.
        fs::write(at(name).join("data_batch_1.bin"), vec![0xff; (records * 3073.0) as usize]).unwrap();
    }
    fs::create_dir(at("folder")).unwrap();
    let recipe = |keys: &str| format!("schema = 1\nname = 'mine'\n{keys}\n");
    for (name, keys) in [
        ("nan", "[attack]\nepsilon = nan"),
        ("infinite", "[optimizer]\nlearning_rate = inf"),
        ("negative", "[attack]\nepsilon = -0.1"),
        ("huge", "[loss]\ntemperature = 1e300"),
        ("unknown-key", "[attack]\nepsilom = 1"),
        ("no-section", "[atack]\nepsilon = 1"),
        ("no-start", "[supervised]\nrandom_start = false"),
        ("moved", "[supervised]\nfreeze_bn = true\nattack_mode = 'train'"),
        ("text", "[train]\nepochs = 'many'"),
        ("not-a-number", "[supervised]\nbeta = nan"),
        ("twice", "[train]\nepochs = 1\nepochs = 2"),
        ("many", "[train]\nepochs = 99999999999999999999"),
        ("broken", "[train"),
    ] {
        fs::write(at(&format!("{name}.toml")), recipe(keys)).unwrap();
    }
    fs::write(at("no-schema.toml"), "name = 'mine'\n").unwrap();
    fs::write(at("report.json"), "{\"schema\": 1}").unwrap();
    let keep = "evaluate --checkpoint run/checkpoint.safetensors --head run/head.safetensors --epsilon 0 --steps 1 --out run";
    let (code, _, stderr) = rocl(folder.path(), &format!("{keep} --save-adversaries adversaries {TOY}"));
    assert_eq!(code, Some(0), "{stderr}");
    let mut strange = fs::read(at("adversaries")).unwrap();
    // Labels are the last tensor.
    *strange.last_mut().unwrap() = 200;
    fs::write(at("strange-adversaries"), strange).unwrap();
    fs::write(at("newer.json"), fs::read_to_string(at("run/per_image.json")).unwrap().replace("\"schema\":1", "\"schema\":9"))
        .unwrap();
    folder
}

fn replaced(bytes: &[u8], is: &[u8], says: &[u8]) -> Vec<u8> {
    let at = bytes.windows(is.len()).position(|window| window == is).expect("the checkpoint says what it is");
    [&bytes[..at], says, &bytes[at + is.len()..]].concat()
}

/// The program in `folder`; arguments are separated by spaces.
fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(common::program());
    command
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn rocl(folder: &Path, arguments: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(folder, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Arguments, exit code, part of the sentence. `P`, `T`, `F`, `L`, `E` and `D` stand for a job of each kind that would be fine without what follows.
const CASES: &[(&str, i32, &str)] = &[
    // Commands and flags.
    ("pretrian", 2, "pretrain"),
    ("bench stpe", 2, "step"),
    ("P --batchsize 3", 2, "--batch-size"),
    ("linear-eval", 2, "--checkpoint"),
    ("E --width 8", 2, "unexpected argument '--width'"),
    ("P --seed 1 --seed 2", 2, "cannot be used multiple times"),
    ("P --verbose", 2, "cannot be used with"),
    ("bench model", 2, "--gpu"),
    // Batches: none, one, more than there are images, absurd ones.
    ("P --batch-size 0", 2, "train.batch_size is 0, but must be at least 2"),
    ("P --batch-size 1", 2, "train.batch_size is 1, but must be at least 2"),
    ("P --batch-size 9", 2, "one batch of 9; lower --batch-size (train.batch_size) to at most 8, or train on more images"),
    ("P --batch-size 1000000", 2, "at most 65536"),
    ("P --batch-size -1", 2, "invalid value '-1' for '--batch-size <N>'"),
    ("T --batch-size 0", 2, "train.batch_size is 0, but must be at least 2"),
    ("T --batch-size 9", 2, "one batch of 9; lower --batch-size (train.batch_size) to at most 8, or train on more images"),
    ("F --batch-size 9", 2, "one batch of 9; lower --batch-size (train.batch_size) to at most 8, or train on more images"),
    ("F --batch-size 0", 2, "train.batch_size is 0, but must be at least 2"),
    ("F --batch-size 1", 2, "train.batch_size is 1, but must be at least 2"),
    ("T --batch-size 1", 2, "train.batch_size is 1, but must be at least 2"),
    ("P --limit 1 --batch-size 2", 2, "a single training image does not fill one batch of 2; train on more images"),
    ("L --batch-size 65537", 2, "linear_eval.batch_size is 65537, but must be at least 1 and at most 65536"),
    ("E --batch-size 65537", 2, "at most 65536"),
    ("L --robust --batch-size 0", 2, "linear_eval.batch_size is 0, but must be at least 1"),
    ("L --batch-size 0", 2, "linear_eval.batch_size is 0, but must be at least 1"),
    ("E --batch-size 0", 2, "evaluate.batch_size is 0, but must be at least 1"),
    ("D --batch-size 0", 2, "train.batch_size is 0, but must be at least 2"),
    ("D --batch-size 9", 2, "lower --batch-size (train.batch_size) to at most 8"),
    ("bench step --batch-size 1", 2, "train.batch_size is 1, but must be at least 2"),
    ("bench attack --batch-size 0", 2, "train.batch_size is 0, but must be at least 2"),
    ("bench kernels --batch-size 99999999", 2, "at most 65536"),
    ("bench model --gpu h200 --batch-size 0", 2, "train.batch_size is 0, but must be at least 2"),
    // Negative and absurd numbers.
    ("P --epochs 0", 2, "train.epochs is 0, but must be at least 1"),
    ("P --epochs 1e3", 2, "--epochs"),
    ("P --epochs -5", 2, "invalid value '-5' for '--epochs <N>'"),
    ("P --epochs 4294967296", 2, "'--epochs <N>': give a whole number from 0 to 4294967295"),
    ("P --epochs x", 2, "'--epochs <N>': give a whole number from 0 to 4294967295"),
    ("P --batch-size x", 2, "'--batch-size <N>': give a whole number from 0 to 4294967295"),
    ("P --seed x", 2, "'--seed <N>': give a whole number from 0 to 9223372036854775807"),
    ("T --width 2.5", 2, "'--width <N>': give a whole number from 0 to 4294967295"),
    ("E --steps x", 2, "'--steps <N>': give a whole number from 0 to 4294967295"),
    ("E --seeds x", 2, "'--seeds <N>': give a whole number from 0 to 4294967295"),
    ("E --smooth x", 2, "'--smooth <N>': give a whole number from 0 to 4294967295"),
    ("ablate grid.toml --limit 0", 2, "'--limit <N>': give a whole number, at least 1"),
    ("bench step --attack-steps x", 2, "'--attack-steps <N>': give a whole number from 0 to 4294967295"),
    ("bench step --warmup x", 2, "'--warmup <N>': give a whole number from 0 to 1000000"),
    ("bench kernels --batch-sizes 4,x", 2, "'--batch-sizes <N,N>': give a whole number from 0 to 4294967295"),
    ("bench compare report.json report.json --tolerance x", 2, "'--tolerance <FRACTION>': give a number such as 0.02"),
    ("P --width 0", 2, "network.width is 0, but must be at least 1"),
    ("P --width 4294967295", 2, "at most 4096"),
    ("T --width 0", 2, "network.width is 0, but must be at least 1"),
    ("D --width 4097", 2, "at most 4096"),
    ("T --epochs 0", 2, "train.epochs is 0, but must be at least 1"),
    ("F --epochs 1000001", 2, "at most 1000000"),
    ("L --epochs 0", 2, "linear_eval.epochs is 0, but must be at least 1"),
    ("D --epochs 0", 2, "train.epochs is 0, but must be at least 1"),
    ("D --seed -1", 2, "--seed"),
    ("T --max-memory 1M", 2, "and --max-memory allows 1 MiB; no --batch-size would fit, and a narrower network needs less"),
    ("F --max-memory 1M", 2, "no --batch-size would fit; use fewer images (--limit), or a machine with more memory"),
    ("L --max-memory 1M", 2, "no --batch-size would fit; use fewer images (--limit), or a machine with more memory"),
    ("D --max-memory 1M", 2, "and --max-memory allows 1 MiB; no --batch-size would fit, and a narrower network needs less"),
    ("P --seed -1", 2, "--seed"),
    ("P --seed 18446744073709551615", 2, "give a whole number from 0 to 9223372036854775807"),
    ("P --max-memory 0M", 2, "--max-memory allows 0 MiB"),
    ("P --max-memory nan", 2, "sizes are such as 512MiB, 1.5GiB or 4G"),
    ("P --max-memory -4G", 2, "-4"),
    ("pretrain --limit 0", 2, "'--limit <N>': give a whole number, at least 1"),
    ("pretrain --threads 0", 2, "'--threads <N>': give a whole number, at least 1"),
    ("verify foreign --threads 0", 2, "give a whole number, at least 1"),
    ("bench step --threads 0", 2, "give a whole number, at least 1"),
    ("pretrain --threads 1000000", 2, "--threads is 1000000, but must be at most "),
    ("pretrain --threads 99999999999999999999", 2, "--threads"),
    ("E --epsilon -1", 2, "evaluate.epsilon is -1, but must be at least 0"),
    ("E --epsilon 2", 2, "evaluate.epsilon is 2, but must be at least 0 and at most 1"),
    ("E --epsilon nan", 2, "`nan` is not a number; write a decimal such as 0.0314 or a fraction such as 8/255"),
    ("E --epsilon 8/0", 2, "`8/0` is not a number"),
    ("E --steps 0", 2, "evaluate.steps is 0, but must be at least 1"),
    ("E --steps 4294967295", 2, "at most 1000000"),
    ("E --step-size nan", 2, "`nan` is not a number"),
    ("E --step-size -1", 2, "evaluate.step_size is -1, but must be at least 0 and at most 1"),
    ("bench attack --repeat 0", 2, "give a whole number from 1 to 1000000"),
    ("bench attack --max-memory 1M", 2, "and --max-memory allows 1 MiB"),
    ("bench model --gpu h200 --width 0", 2, "network.width is 0, but must be at least 1"),
    ("bench step --repeat 0", 2, "give a whole number from 1 to 1000000"),
    ("bench step --repeat 18446744073709551615", 2, "give a whole number from 1 to 1000000"),
    ("bench step --warmup -1", 2, "'--warmup <N>': give a whole number from 0 to 1000000"),
    ("bench compare report.json report.json --tolerance -1", 2, "--tolerance is -1, but must be a fraction"),
    ("bench compare report.json report.json --tolerance nan", 2, "--tolerance is NaN, but must be a fraction"),
    ("E --seed 18446744073709551615", 2, "give a whole number from 0 to 9223372036854775807"),
    ("bench step --seed 18446744073709551615", 2, "give a whole number from 0 to 9223372036854775807"),
    // Methods.
    ("P --method simcrl", 2, "simclr"),
    ("P --method at", 2, "--method at trains a classifier; use `rocl train --method at`, or choose rocl, simclr or scl"),
    ("T --method atss", 2, "at-ss"),
    ("T --method scl", 2, "the method scl trains no classifier; choose one of --method ce, at, trades and at-ss"),
    ("F --method rocl", 2, "the method rocl trains no classifier; choose one of --method ce, at, trades and at-ss"),
    ("F --width 4", 2, "unexpected argument '--width'"),
    // Attacks, seeds, views, held-out images.
    ("E --attack cw:l2:1", 2, "attacks are pgd and fgsm, as in pgd:linf:8/255:20"),
    ("E --attack pgd:linf:8/255:20,", 2, "attack ``: `` is unknown"),
    ("E --attack pgd:linf:nan:20", 2, "`nan` is not a number"),
    ("E --attack pgd", 2, "the norm is missing; write pgd:linf:8/255"),
    ("E --attack pgd:linf:8/255:20:step=1e300", 2, "a step of 1e300 is not between 0 and 1"),
    ("E --attack pgd:linf:8/255:20:step=1/255:step=2/255", 2, "`step=2/255` says again what was said before; leave one out"),
    ("E --attack pgd:linf:8/255:20:restarts=0", 2, "restarts=0 is no count between 1 and 1000"),
    ("E --attack pgd:l1:1e300:20", 2, "a radius of 1e300 is not between 0 and 3072"),
    ("E --attack pgd:linf:8/255:99999999999", 2, "give one between 1 and 1000000"),
    ("E --attack pgd:l2:1:1 --steps 2", 2, "cannot be used with"),
    ("E --attack pgd:l2:1:1:eot", 2, "add --smooth N"),
    ("E --data one-class.npz --attack pgd:linf:8/255:20:margin", 2, "compares classes, and the data have only one"),
    ("transfer --checkpoint run/checkpoint.safetensors --data one-class.npz --attack fgsm:l2:1:margin", 2, "(:ce)"),
    ("E --attack pgd:l2:1:1,pgd:l2:1:1", 2, "is there twice; leave one out"),
    ("E --seeds 0", 2, "--seeds is 0, but must be at least 1 and at most 1000"),
    ("E --seeds 4294967295", 2, "at most 1000"),
    ("E --smooth 0", 2, "--smooth is 0, but must be at least 1"),
    ("E --smooth 1001", 2, "at most 1000"),
    ("E --val 0", 2, "give a fraction such as 0.1, or how many, such as 5000"),
    ("E --val nan", 2, "`nan` is no part of the training images"),
    ("E --val 1e-300", 2, "--val 1e-300 of 8 training images leaves none to validate on"),
    ("E --val 4", 2, "fit one with `rocl linear-eval --val 4`"),
    ("L --val 8", 2, "--val 8 of 8 training images leaves none to train on"),
    ("T --val 5", 2, "the 3 training images do not fill one batch of 4"),
    ("P --val 5", 2, "the 3 training images do not fill one batch of 4"),
    ("E --max-memory 1M", 2, "no --batch-size would fit; use fewer images (--limit), or a machine with more memory"),
    ("P --tune=fast", 2, "quick, thorough"),
    ("P --tune", 2, "leave --tune out"),
    ("bench kernels --batch-sizes ,", 2, "--batch-sizes"),
    ("bench kernels --batch-sizes 4,0 --device cpu", 2, "train.batch_size is 0, but must be at least 2"),
    ("bench kernels --batch-sizes 4,99999999 --device cpu", 2, "at most 65536"),
    ("bench kernels --batch-sizes 4 --batch-size 8", 2, "cannot be used with"),
    // Recipes.
    ("P --recipe nan.toml", 2, "attack.epsilon is NaN, but must be at least 0"),
    ("T --recipe not-a-number.toml", 2, "supervised.beta is NaN, but must be at least 0"),
    ("F --recipe not-a-number.toml", 2, "supervised.beta is NaN, but must be at least 0"),
    ("L --recipe not-a-number.toml", 2, "supervised.beta is NaN, but must be at least 0"),
    ("E --recipe nan.toml", 2, "attack.epsilon is NaN, but must be at least 0"),
    ("D --recipe nan.toml", 2, "attack.epsilon is NaN, but must be at least 0"),
    ("recipe ./nan.toml", 2, "attack.epsilon is NaN, but must be at least 0"),
    ("bench step --recipe nan.toml", 2, "attack.epsilon is NaN, but must be at least 0"),
    ("bench model --gpu h200 --recipe nan.toml", 2, "attack.epsilon is NaN, but must be at least 0"),
    ("P --recipe twice.toml", 2, "is not valid TOML"),
    ("P --recipe many.toml", 2, "many.toml: "),
    ("P --recipe infinite.toml", 2, "optimizer.learning_rate is inf, but must be"),
    ("P --recipe negative.toml", 2, "attack.epsilon is -0.1, but must be at least 0"),
    ("P --recipe huge.toml", 2, "temperature is 1e300, but must be"),
    ("P --recipe unknown-key.toml", 2, "attack.epsilom is not a recipe key; did you mean attack.epsilon?"),
    ("P --recipe no-section.toml", 2, "is not a recipe key"),
    ("P --recipe text.toml", 2, "a whole number"),
    ("P --recipe broken.toml", 2, "is not valid TOML"),
    ("P --recipe no-schema.toml", 2, "add the line schema = 1 at the top"),
    ("P --recipe noise", 1, "cannot be read as a recipe (it is not text in UTF-8)"),
    ("P --recipe papre", 2, "there is no recipe `papre`; did you mean paper@1? Presets are reference@1"),
    ("P --recipe zzzzzz", 2, "there is no recipe `zzzzzz`; presets are reference@1"),
    ("T --method trades --recipe no-start.toml", 2, "set supervised.random_start = true"),
    ("T --recipe moved.toml", 2, "supervised.freeze_bn keeps statistics that supervised.attack_mode = \"train\" would move"),
    ("E --recipe zzzzzz", 2, "presets are"),
    ("T --recipe zzzzzz", 2, "presets are"),
    ("F --recipe zzzzzz", 2, "presets are"),
    ("L --recipe zzzzzz", 2, "presets are"),
    ("D --recipe zzzzzz", 2, "presets are"),
    ("recipe zzzzzz", 2, "presets are"),
    ("bench step --recipe zzzzzz", 2, "presets are"),
    ("recipe nowhere.toml", 1, "cannot be read as a recipe"),
    ("recipe ./folder", 1, "cannot be read as a recipe"),
    // Devices and precisions.
    ("pretrain --device gpu", 2, "devices are auto, cpu, cuda and cuda:N"),
    ("train --device gpu", 2, "devices are auto, cpu, cuda and cuda:N"),
    ("demo --device gpu", 2, "devices are auto, cpu, cuda and cuda:N"),
    ("bench step --device gpu", 2, "devices are auto, cpu, cuda and cuda:N"),
    ("T --precision fp8", 2, "fp16"),
    ("F --precision fp8", 2, "fp16"),
    ("L --precision fp8", 2, "fp16"),
    ("D --precision fp8", 2, "fp16"),
    ("verify foreign --precision fp8", 2, "fp16"),
    ("bench attack --precision fp8", 2, "fp16"),
    ("doctor --device cpu", 2, "unexpected argument '--device'"),
    ("verify foreign --device cuda:x", 2, "devices are auto, cpu, cuda and cuda:N"),
    ("P --precision fp8", 2, "fp16"),
    ("E --precision int8", 2, "fp16"),
    ("bench model --gpu zx81", 2, "there is no card `zx81`; give one of t4, "),
    // Data.
    ("P --data nowhere", 1, "nowhere: there is no such "),
    ("P --data folder", 1, "folder: holds no "),
    ("P --data empty", 1, "empty: is "),
    ("P --data empty-data", 1, "data_batch_1.bin: is empty"),
    ("P --data short-data", 1, "data_batch_1.bin: ends inside a record"),
    ("P --data foreign-data", 1, "has the label 255"),
    ("T --data nowhere", 1, "there is no such "),
    ("F --data nowhere", 1, "there is no such "),
    ("L --data nowhere", 1, "there is no such "),
    ("E --data nowhere", 1, "there is no such "),
    ("D --data nowhere", 1, "there is no such "),
    ("T --data folder", 1, "folder: holds no "),
    ("L --data short-data", 1, "data_batch_1.bin: ends inside a record"),
    ("D --data noise", 1, "noise: is no .npz file"),
    ("P --data short.npz", 1, "short.npz: "),
    ("P --data short-npz", 1, "train.npz: "),
    ("P --data short-pickle", 1, "data_batch_1: "),
    ("T --data short-image", 1, "1.png: "),
    ("P --data large-image", 1, "64×64"),
    ("doctor --data=", 2, "the path is empty; name a folder, or textures"),
    // Downloads.
    ("fetch", 2, "<SET>"),
    ("fetch mnist", 2, "cifar10, cifar100"),
    ("fetch cifar10 --url cs.toronto.edu", 2, "addresses begin with https:// or http://"),
    ("fetch cifar10 --url file:///etc/hosts", 2, "addresses begin with https:// or http://"),
    ("fetch cifar10 --url http://[::1", 2, "it is no address ("),
    ("fetch cifar10 --url http://127.0.0.1:9/x --sha256 abc", 2, "a SHA-256 has 64 hexadecimal digits"),
    ("fetch cifar10 --sha256 abc", 2, "64 hexadecimal digits"),
    // Nothing listens on that port.
    ("fetch cifar10 --url http://127.0.0.1:9/x", 1, "or put the archive at data/cifar-10-binary.tar.gz by other means"),
    ("fetch cifar10 --data empty", 1, "choose another folder with --data"),
    // Checkpoints and heads.
    ("linear-eval --checkpoint nowhere", 1, "there is no such checkpoint; check the path"),
    ("linear-eval --checkpoint empty", 1, "is empty; it was never written completely"),
    ("linear-eval --checkpoint short-checkpoint", 1, "is truncated; copy it again"),
    ("linear-eval --checkpoint foreign", 1, "it is a safetensors file of another program"),
    ("linear-eval --checkpoint noise", 1, "noise: is "),
    ("linear-eval --checkpoint folder", 1, "give the path of a .safetensors checkpoint"),
    ("linear-eval --checkpoint run/head.safetensors", 1, "is a head from `rocl linear-eval`; give an encoder"),
    ("linear-eval --robust --checkpoint nowhere", 1, "there is no such checkpoint"),
    ("finetune", 2, "--checkpoint"),
    ("finetune --checkpoint nowhere", 1, "there is no such checkpoint; check the path"),
    ("finetune --checkpoint short-checkpoint", 1, "is truncated; copy it again"),
    ("finetune --checkpoint empty", 1, "is empty; it was never written completely"),
    ("finetune --checkpoint foreign", 1, "it is a safetensors file of another program"),
    ("finetune --checkpoint noise", 1, "noise: is "),
    ("evaluate --checkpoint nowhere", 1, "there is no such checkpoint; check the path"),
    ("evaluate --checkpoint empty", 1, "is empty; it was never written completely"),
    ("evaluate --checkpoint short-checkpoint", 1, "is truncated; copy it again"),
    ("evaluate --checkpoint foreign", 1, "it is a safetensors file of another program"),
    ("evaluate --checkpoint noise", 1, "noise: is "),
    ("L --checkpoint other-width", 1, "the checkpoint is of another network (resnet18, width 4)"),
    ("L --robust --checkpoint other-width", 1, "the checkpoint is of another network (resnet18, width 4)"),
    ("F --checkpoint other-width", 1, "the checkpoint is of another network (resnet18, width 4)"),
    ("E --checkpoint other-width", 1, "the checkpoint is of another network (resnet18, width 4)"),
    ("L --checkpoint other-network", 1, "the checkpoint is of another network (resnet50, width 2)"),
    ("F --checkpoint other-network", 1, "the checkpoint is of another network (resnet50, width 2)"),
    ("E --checkpoint other-network", 1, "the checkpoint is of another network (resnet50, width 2)"),
    ("finetune --checkpoint run/head.safetensors", 1, "is a head from `rocl linear-eval`; give an encoder"),
    ("evaluate --checkpoint run/checkpoint.safetensors", 2, "has no classifier; give one with --head, from `rocl linear-eval`"),
    ("evaluate --checkpoint run/checkpoint.safetensors --head nowhere", 1, "or fit one with `rocl linear-eval`"),
    ("evaluate --checkpoint run/checkpoint.safetensors --head short-head", 1, "is truncated"),
    ("evaluate --checkpoint run/checkpoint.safetensors --head empty", 1, "is empty"),
    ("evaluate --checkpoint run/checkpoint.safetensors --head foreign", 1, "of another program"),
    ("evaluate --checkpoint run/checkpoint.safetensors --head run/checkpoint.safetensors", 1, "give a head from"),
    ("evaluate --checkpoint run/checkpoint.safetensors --head wide/head.safetensors", 2, "was fitted on another encoder"),
    ("P --out run", 2, "run/checkpoint.safetensors holds a run already; add --resume"),
    ("P --out nowhere --resume", 1, "there is no such checkpoint"),
    ("P --out run --resume --width 4", 2, "network.width is 4, not 2"),
    ("pretrain --resume", 2, "--out"),
    ("T --out run", 2, "run/checkpoint.safetensors holds a run already; add --resume"),
    ("T --out run --resume", 1, "is an encoder from `rocl pretrain`; give a classifier from `rocl train`"),
    ("T --out nowhere --resume", 1, "there is no such checkpoint; check the path, or train one with `rocl train`"),
    ("train --resume", 2, "--out"),
    ("F --resume", 2, "cannot be used with"),
    ("verify nowhere", 1, "give the path of a recording"),
    ("verify empty", 1, "is not a recording"),
    ("verify run/checkpoint.safetensors", 1, "checkpoint.safetensors: "),
    // Other models, and their adversaries.
    ("E --against nowhere", 1, "give a per_image.json that `rocl evaluate --out` wrote"),
    ("E --against run/evaluate.json", 1, "is no list of results"),
    ("E --against newer.json", 1, "has schema 9, newer than this version of rocl reads (1); update rocl"),
    ("E --against run/per_image.json --val 4", 2, "fit one with `rocl linear-eval --val 4`"),
    ("E --adversaries nowhere", 1, "give a file that `rocl evaluate --save-adversaries` wrote"),
    ("E --adversaries noise", 1, "is no safetensors file"),
    ("E --adversaries run/head.safetensors", 1, "holds no adversaries"),
    ("E --adversaries strange-adversaries", 1, "has the label 200, but the head tells 10 classes apart"),
    ("E --adversaries adversaries --seeds 2", 2, "cannot be used with"),
    ("E --adversaries adversaries --data textures", 2, "cannot be used with"),
    ("E --adversaries empty", 1, "is no safetensors file"),
    ("E --against empty", 1, "is no list of results"),
    ("E --against folder", 1, "give a per_image.json that `rocl evaluate --out` wrote"),
    ("E --against run/per_image.json --limit 4", 2, "was measured on other images"),
    ("E --transfer-from run/checkpoint.safetensors", 2, "give an encoder and its head as ENCODER:HEAD"),
    ("E --transfer-from a:b", 1, "a: there is no such checkpoint"),
    ("E --transfer-from run/checkpoint.safetensors:wide/head.safetensors", 2, "was fitted on another encoder"),
    // Results that cannot be written.
    ("E --save-adversaries empty/file", 1, "cannot be written ("),
    ("E --save-adversaries folder", 1, "choose another path"),
    ("P --out empty/run", 1, "cannot be written (Not a directory (os error 20)); choose another path"),
    ("T --out empty/run", 1, "cannot be written ("),
    ("F --out empty/run", 1, "cannot be written ("),
    ("L --out empty", 1, "cannot be written (its folder is a file); choose another path"),
    ("E --out empty", 1, "cannot be written (its folder is a file); choose another path"),
    ("D --out empty", 1, "cannot be written (its folder is a file); choose another path"),
    // Reports.
    ("bench compare nowhere nowhere", 1, "give a report of `rocl bench --json`"),
    ("bench compare empty empty", 1, "empty: is not JSON"),
    ("bench compare report.json report.json", 1, "is not a report of `rocl bench --json`"),
    ("bench kernels --width 2 --batch-size 2 --device cpu --json --only zzz", 2, "has the name `zzz`; give --only one of "),
    ("bench kernels --width 2 --batch-size 2 --device cpu --json --shape zzz", 2, "no call of the step has a shape with `zzz`"),
    ("bench kernels --width 2 --batch-size 2 --device cpu --json --only bn_apply --shape zzz", 2, "of bn_apply has a shape with"),
];

/// Only where devices are files.
#[cfg(target_os = "linux")]
const DEVICES: &[(&str, i32, &str)] = &[
    ("linear-eval --checkpoint /dev/zero", 1, "cannot be read (it is a device, not a file)"),
    ("finetune --checkpoint /dev/zero", 1, "cannot be read (it is a device, not a file)"),
    ("evaluate --checkpoint run/checkpoint.safetensors --head /dev/zero", 1, "it is a device"),
    ("recipe /dev/zero", 1, "it is a device"),
    ("verify /dev/zero", 1, "it is a device"),
    ("bench compare /dev/zero /dev/zero", 1, "it is a device"),
    ("E --against /dev/zero", 1, "it is a device"),
    ("E --adversaries /dev/zero", 1, "it is a device"),
    ("E --save-adversaries /dev/full", 1, "it is a device or a pipe"),
    ("P --data /dev/zero", 1, "/dev/zero: "),
    ("P --out /dev/null", 1, "cannot be written"),
    ("L --out /proc/nowhere", 1, "choose another folder"),
];

#[cfg(not(target_os = "linux"))]
const DEVICES: &[(&str, i32, &str)] = &[];

/// The arguments behind the letter that a case begins with.
fn spelt(case: &str) -> String {
    let (first, rest) = case.split_once(' ').unwrap_or((case, ""));
    // A flag of the job gives way to the same flag of the case.
    let job = |words: &str| {
        let mut job = format!("{words} {TOY}");
        let flags = [
            ("--recipe", "demo"),
            ("--method", "ce"),
            ("--batch-size", "4"),
            ("--epochs", "1"),
            ("--width", "2"),
            ("--out", "new"),
            ("--checkpoint", "run/checkpoint.safetensors"),
            ("--limit", "8"),
        ];
        for (flag, value) in flags {
            if rest.split(' ').any(|word| word == flag) {
                job = job.replace(&format!(" {flag} {value}"), "");
            }
        }
        format!("{job} {rest}")
    };
    match first {
        "P" => job("pretrain --recipe demo --width 2 --epochs 1 --batch-size 4 --out new"),
        "T" => job("train --recipe demo --method ce --width 2 --epochs 1 --batch-size 4 --out new"),
        "F" => {
            job("finetune --checkpoint run/checkpoint.safetensors --recipe demo --method ce --epochs 1 --batch-size 4 --out new")
        }
        "L" => job("linear-eval --checkpoint run/checkpoint.safetensors --epochs 1 --out new"),
        "E" => job("evaluate --checkpoint run/checkpoint.safetensors --head run/head.safetensors --out new"),
        "D" => job("demo --recipe demo --width 2 --epochs 1 --batch-size 4 --out new"),
        _ => case.to_owned(),
    }
}

#[test]
fn misuse_is_answered_with_a_sentence() {
    let folder = fixtures();
    let mut wrong = Vec::new();
    for &(case, code, part) in CASES.iter().chain(DEVICES) {
        let arguments = spelt(case);
        let (found, stdout, stderr) = rocl(folder.path(), &arguments);
        let sentence = stderr.starts_with("error: ") && stderr.contains(part) && !stderr.contains("panicked");
        if found != Some(code) || !sentence || !stdout.is_empty() || stderr.contains('\u{1b}') {
            wrong.push(format!("{arguments}\n  expected {code}, {part}\n  found {found:?}, {stderr}{stdout}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), CASES.len() + DEVICES.len(), wrong.join("\n"));
    assert!(!folder.path().join("new/checkpoint.safetensors").exists());
}

/// Evaluation and the fit of a head take what there is, however large the batch.
#[test]
fn batches_of_one_and_of_more_than_there_is() {
    let folder = fixtures();
    for batch in ["1", "9", "65536"] {
        for job in ["L", "E --steps 1", "E --adversaries adversaries"] {
            let arguments = spelt(&format!("{job} --batch-size {batch}")).replace("--out new", "--out any");
            let (code, _, stderr) = rocl(folder.path(), &arguments);
            assert_eq!(code, Some(0), "{arguments}: {stderr}");
            fs::remove_dir_all(folder.path().join("any")).unwrap();
        }
    }
}
