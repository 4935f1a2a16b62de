//! Checkpoints: bits survive, files are whole or absent, and every unusable file has its sentence.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use rocl::run::checkpoint::{Checkpoint, Kind, Meta};
use safetensors::tensor::{Dtype, TensorView};

fn sample() -> Checkpoint {
    let recipe = rocl::recipe::Recipe::load("demo").unwrap().to_json().unwrap();
    let meta = Meta { epoch: 3, step: u64::MAX, ..Meta::new(Kind::Pretrain, recipe, 7, "textures") };
    let mut checkpoint = Checkpoint::new(meta);
    // Every class of f32, a NaN with a payload among them: bits must survive, not just values.
    let special = [0.0, -0.0, 1.0, f32::MIN_POSITIVE, f32::MIN_POSITIVE / 2.0, f32::INFINITY, f32::from_bits(0x7fc0_1234), -1e30];
    checkpoint.put_f32("model/conv1.weight", &[2, 1, 2, 2], &special).unwrap();
    checkpoint.put_i64("model/bn1.num_batches_tracked", &[], &[i64::MIN]).unwrap();
    checkpoint.put_f32("a/empty", &[0, 3], &[]).unwrap();
    checkpoint.put_f32("z/odd", &[3], &[1.0, 2.0, 3.0]).unwrap();
    checkpoint
}

fn saved(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("checkpoint.safetensors");
    sample().save(&path).unwrap();
    path
}

#[track_caller]
fn refused(path: &Path, kind: Kind, expected: &str) {
    let error = Checkpoint::load(path, kind).expect_err(expected);
    assert_eq!(error.to_string(), format!("{}: {expected}", path.display()));
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn every_bit_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    let read = Checkpoint::load(&path, Kind::Pretrain).unwrap();
    assert_eq!(read.meta, sample().meta);
    assert!(read.entries().eq(sample().entries()));
    let bits = |checkpoint: &Checkpoint| -> Vec<u32> {
        checkpoint.f32("model/conv1.weight", &[2, 1, 2, 2]).unwrap().iter().map(|value| value.to_bits()).collect()
    };
    assert_eq!(bits(&read), bits(&sample()));
    assert_eq!(read.i64("model/bn1.num_batches_tracked", &[]).unwrap(), [i64::MIN]);
    assert_eq!(read.f32("a/empty", &[0, 3]).unwrap(), Vec::<f32>::new());
    // Equal checkpoints are equal files, whatever was there before.
    let first = fs::read(&path).unwrap();
    read.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn other_programs_can_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(saved(folder.path())).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor("z/odd").unwrap();
    assert_eq!((view.dtype(), view.shape()), (Dtype::F32, &[3][..]));
    assert_eq!(view.data(), [1.0f32, 2.0, 3.0].map(f32::to_le_bytes).concat());
    let (length, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let strings = header.metadata().clone().unwrap();
    assert_eq!((strings["schema"].as_str(), strings["epoch"].as_str()), ("1", "3"));
    assert_eq!(length % 8, 0, "the data is aligned");
    assert!(rocl::recipe::Recipe::from_json(&strings["recipe"]).is_ok());
}

/// What an importing program says of the model's normalisation becomes part of the recipe.
#[test]
fn normalization_in_the_metadata_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imported");
    let recipe = rocl::recipe::Recipe::load("paper@1").unwrap();
    let read = |normalization: &str| {
        let texts = [("format", "rocl"), ("schema", "1"), ("kind", "pretrain"), ("epoch", "0"), ("step", "0"), ("seed", "0")];
        let more = [("data", "CIFAR-10"), ("engine", "a tool"), ("normalization", normalization)];
        let mut strings: HashMap<String, String> =
            texts.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        strings.insert("recipe".to_owned(), recipe.to_json().unwrap());
        let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        fs::write(&path, safetensors::serialize([("x", view)], Some(strings)).unwrap()).unwrap();
        Checkpoint::load(&path, Kind::Pretrain).map(|checkpoint| checkpoint.meta.recipe)
    };
    let json = read(r#"{"mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]}"#).unwrap();
    let mut expected = recipe.clone();
    let (mean, std) = ([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]);
    expected.network.normalization = Some(rocl::nn::Normalization { mean, std });
    assert_eq!(rocl::recipe::Recipe::from_json(&json).unwrap(), expected);
    assert!(read("0.5").unwrap_err().to_string().contains("its recipe or its normalization is no JSON object"));
    let without_std = rocl::recipe::Recipe::from_json(&read(r#"{"mean": [0, 0, 0]}"#).unwrap()).unwrap_err().to_string();
    assert!(without_std.contains("missing field `std`"), "{without_std}");
}

#[test]
fn missing_empty_and_truncated_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    refused(
        &folder.path().join("none"),
        Kind::Pretrain,
        "there is no such checkpoint; check the path, or train one with `rocl pretrain`",
    );
    let path = saved(folder.path());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, "").unwrap();
    refused(&path, Kind::Pretrain, "is empty; it was never written completely, so use an earlier checkpoint");
    for length in (1..16).chain((16..bytes.len()).step_by(11)) {
        fs::write(&path, &bytes[..length]).unwrap();
        refused(&path, Kind::Pretrain, "is truncated; copy it again or use an earlier checkpoint");
    }
    assert!(Checkpoint::load(folder.path(), Kind::Pretrain).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"PK\x03\x04 a file of torch.save, which is a zip archive").unwrap();
    refused(&path, Kind::Pretrain, "is not a checkpoint of rocl (header too large); give a file that `rocl` wrote");
    let foreign = |metadata: &[(&str, &str)]| {
        let strings: HashMap<String, String> = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        fs::write(&path, safetensors::serialize([("x", view)], Some(strings)).unwrap()).unwrap();
        Checkpoint::load(&path, Kind::Pretrain).unwrap_err().to_string()
    };
    assert!(
        foreign(&[("format", "pt")]).ends_with("(it is a safetensors file of another program); give a file that `rocl` wrote")
    );
    assert!(
        foreign(&[("format", "rocl"), ("schema", "2")])
            .ends_with("has schema 2, newer than this version of rocl reads (1); update rocl")
    );
    assert!(foreign(&[("format", "rocl"), ("schema", "one")]).contains("its schema is no number"));
    assert!(foreign(&[("format", "rocl"), ("schema", "1")]).contains("its metadata lacks kind"));
    assert!(foreign(&[("format", "rocl"), ("schema", "1"), ("kind", "cat")]).contains("its kind is cat"));
    let whole = [("format", "rocl"), ("schema", "1"), ("kind", "pretrain"), ("recipe", "{}"), ("epoch", "5000000000")];
    assert!(foreign(&whole).contains("its epoch is out of range"));
}

/// A changed byte gives a checkpoint or an error, never a panic.
#[test]
fn damaged_headers_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    let bytes = fs::read(&path).unwrap();
    // The length byte by byte, the rest by samples.
    for position in (0..32).chain((32..bytes.len()).step_by(5)) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1 << (position % 8);
        fs::write(&path, &damaged).unwrap();
        let _ = Checkpoint::load(&path, Kind::Pretrain);
    }
}

#[test]
fn kinds_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    refused(&path, Kind::LinearHead, "is an encoder from `rocl pretrain`; give a head from `rocl linear-eval` here");
    let head = Checkpoint::new(Meta::new(Kind::LinearHead, "{}".to_owned(), 0, "textures"));
    head.save(&path).unwrap();
    refused(&path, Kind::Pretrain, "is a head from `rocl linear-eval`; give an encoder from `rocl pretrain` here");
    assert_eq!(Checkpoint::load(&path, Kind::LinearHead).unwrap().entries().count(), 0);
}

#[test]
fn another_network_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    let checkpoint = Checkpoint::load(&path, Kind::Pretrain).unwrap();
    let tail = "the checkpoint is of another network (resnet18, width 8), so use its own recipe or width";
    let message = checkpoint.f32("z/odd", &[4]).unwrap_err().to_string();
    assert_eq!(message, format!("{}: z/odd has shape [3] where [4] is needed; {tail}", path.display()));
    let message = checkpoint.f32("z/even", &[4]).unwrap_err().to_string();
    assert_eq!(message, format!("{}: has no tensor z/even; {tail}", path.display()));
    let message = checkpoint.i64("z/odd", &[3]).unwrap_err().to_string();
    assert_eq!(message, format!("{}: z/odd is of type F32 where I64 is needed; {tail}", path.display()));
    assert!(
        sample()
            .put_f32("x", &[2, 2], &[0.0; 3])
            .unwrap_err()
            .to_string()
            .contains("x of shape [2, 2] was given 12 bytes of F32")
    );
}

/// A full disk, in the place of the temporary file: `/dev/full` refuses every byte.
#[cfg(target_os = "linux")]
#[test]
fn numbers_that_are_not_finite_are_not_computed_with() {
    let folder = tempfile::tempdir().unwrap();
    let read = Checkpoint::load(&saved(folder.path()), Kind::Pretrain).unwrap();
    let message = read.finite("model/conv1.weight", &[2, 1, 2, 2]).unwrap_err().to_string();
    assert!(message.contains("has inf in model/conv1.weight; the training that made it diverged"), "{message}");
    assert_eq!(read.finite("z/odd", &[3]).unwrap(), [1.0, 2.0, 3.0]);
    // A network refuses to begin with such weights.
    let device = rocl::Device::host().unwrap();
    let topology = rocl::nn::Topology::new(rocl::nn::Architecture::ResNet18, 1);
    let network = rocl::nn::Network::<f32>::new(&device, &topology, 4, 4, 1, 0).unwrap();
    let mut checkpoint = Checkpoint::new(read.meta);
    rocl::recipe::saved::save_network(&mut checkpoint, &network, 0).unwrap();
    checkpoint.put_f32("model/bn1.running_var", &[1], &[f32::NAN]).unwrap();
    let message = rocl::recipe::saved::load_network(&checkpoint, &network).unwrap_err().to_string();
    assert!(message.contains("has NaN in model/bn1.running_var"), "{message}");
}

#[test]
fn a_full_disk_leaves_the_previous_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = saved(folder.path());
    std::os::unix::fs::symlink("/dev/full", folder.path().join("checkpoint.safetensors.part")).unwrap();
    let mut next = sample();
    next.meta.epoch += 1;
    let message = next.save(&path).unwrap_err().to_string();
    assert!(message.ends_with("free some space and resume"), "{message}");
    assert_eq!(Checkpoint::load(&path, Kind::Pretrain).unwrap().meta.epoch, 3);
    next.save(&path).unwrap();
    assert_eq!(Checkpoint::load(&path, Kind::Pretrain).unwrap().meta.epoch, 4);
}
