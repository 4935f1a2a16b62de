//! What `tools/import_pytorch.py` refuses, and what it takes.

use super::common::root;
use super::engine::test_images;
use super::{Python, text, write_images};
use std::path::PathBuf;

/// Files of `tests/interchange/export.py` in a folder, and a place for the checkpoint.
struct Files {
    python: Python,
    folder: tempfile::TempDir,
}

impl Files {
    /// None where there is no Python.
    fn new() -> Option<Self> {
        let python = Python::with("torch, numpy, safetensors")?;
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images.safetensors");
        write_images(&test_images(1), &images);
        python.succeeds("tests/interchange/export.py", &["torchvision", "resnet18", text(&images), text(folder.path())]);
        Some(Self { python, folder })
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name)).to_owned()
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("run/checkpoint.safetensors")
    }

    /// `file` is refused with a sentence that contains `expected`, and nothing is written.
    #[track_caller]
    fn refused(&self, file: &str, map: &str, more: &[&str], expected: &str) {
        let (file, map) = (self.path(file), map_of(map));
        let out = text(&self.out()).to_owned();
        let arguments = [&[file.as_str(), "--map", &map, "--out", &out], more].concat();
        self.python.refuses("tools/import_pytorch.py", &arguments, expected);
        assert!(!self.out().exists(), "{expected}");
    }
}

fn map_of(name: &str) -> String {
    text(&root().join(format!("tools/maps/{name}.toml"))).to_owned()
}

#[test]
fn what_cannot_be_imported_is_refused_in_a_sentence() {
    let Some(files) = Files::new() else { return };
    let torchvision = "torchvision";
    files.refused("model.pt", "pytorch-cifar", &[], "unexpected: model/layer2.0.downsample.0.weight");
    files.refused("model.pt", "pytorch-cifar", &[], "missing: model/layer2.0.shortcut.0.weight");
    files.refused("objects.pt", torchvision, &[], "add --unsafe");
    files.refused("objects.pt", torchvision, &["--unsafe"], "has no state dict");
    files.refused("incomplete.pt", torchvision, &[], "missing: model/layer4.1.bn2.running_var");
    files.refused("imagenet_stem.pt", torchvision, &[], "CIFAR");
    files.refused("absent.pt", torchvision, &[], "cannot be read");
    files.refused("infinite.pt", torchvision, &[], "not finite in model/conv1.weight");
    files.refused("scalar.pt", torchvision, &[], "has no extents");
    for name in ["bytes.pt", "sparse.pt", "empty.pt"] {
        files.refused(name, torchvision, &[], "there are no dense floating-point numbers in conv1.weight; save");
    }
    files.refused("numbered.pt", torchvision, &[], "has no state dict");
    files.refused("normalized_by_zero.pt", torchvision, &[], "the std has to be three numbers from 0.001 to 1000");
    files.refused("wide_projector.pt", "rocl", &[], "the network's projection is 65537, but the engine takes 1 to 65536");
    files.refused("no_last_norm.pt", "pytorch-cifar", &[], "those of a preactresnet18 of one width (missing: model/bn.weight");
    files.refused("wrn.pt", "pytorch-cifar", &[], "the name map has no rule for block1.layer.0.");
    files.refused("uneven_wrn.pt", "wrn", &[], "those of a wrn16 of one width (missing: model/block3.layer.1.");
    files.refused("model.pt", "absent", &[], "cannot be read");
    files.refused("model.pt", torchvision, &["--mean", "0.5", "0.5", "0.5"], "belong together");
    for std in ["nan", "0.0009"] {
        files.refused("model.pt", torchvision, &["--mean", "0", "0", "0", "--std", "1", std, "1"], "the std has to be");
    }
    files.refused("model.pt", torchvision, &["--mean", "0", "1001", "0", "--std", "1", "1", "1"], "the mean has to be");
    let whole = std::fs::read(files.path("model.pt")).unwrap();
    for kept in [0, whole.len() / 2] {
        std::fs::write(files.path("truncated.pt"), &whole[..kept]).unwrap();
        files.refused("truncated.pt", torchvision, &[], "truncated.pt is");
    }
}

#[test]
fn what_is_no_name_map_is_refused_in_a_sentence() {
    let Some(files) = Files::new() else { return };
    let (map, out) = (files.path("map.toml"), files.out());
    let rule = |to: &str| format!("[[rename]]\nfrom = '(.+)'\nto = {to}\n").into_bytes();
    let ignore = |name: &str| format!("[[ignore]]\n{name}\n").into_bytes();
    let nameless = [rule(r"'\1'"), ignore("from = '.'")].concat();
    for content in [b"\xff\xfe".to_vec(), rule("3"), rule(r"'\2'"), rule(r"'\g<name>'"), ignore("name = '.'"), nameless] {
        std::fs::write(&map, &content).unwrap();
        let arguments = [&files.path("model.pt"), "--map", &map, "--out", text(&out)];
        files.python.refuses("tools/import_pytorch.py", &arguments, "map.toml is no name map");
    }
}

/// The file has a head, whose place the checkpoint would take.
#[test]
fn a_checkpoint_in_the_place_of_its_head_is_refused() {
    let Some(files) = Files::new() else { return };
    let out = files.path("head.safetensors");
    let arguments = [&files.path("model.pt"), "--map", &map_of("torchvision"), "--out", &out];
    files.python.refuses("tools/import_pytorch.py", &arguments, "where a linear head of the file goes");
    assert!(!PathBuf::from(out).exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_in_a_sentence() {
    let Some(files) = Files::new() else { return };
    // A file where the folder would have to be.
    let out = files.path("model.pt") + "/checkpoint.safetensors";
    let arguments = [&files.path("model.pt"), "--map", &map_of("torchvision"), "--out", &out];
    files.python.refuses("tools/import_pytorch.py", &arguments, "cannot be written");
}

/// A name under `model`, where others have their tensors, and two tensors in the same memory.
#[test]
fn a_name_beside_the_tensors_and_shared_memory_do_no_harm() {
    let Some(files) = Files::new() else { return };
    let out = files.out();
    let arguments = [&files.path("named_and_shared.pt"), "--map", &map_of("torchvision"), "--out", text(&out)];
    files.python.succeeds("tools/import_pytorch.py", &arguments);
    assert!(out.exists());
}
