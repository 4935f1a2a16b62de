//! The versions of CUDA's parts stand in `tools/cuda/` and nowhere else; what refers to them, refers to files that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pins of a file in `tools/cuda/`: package and version.
fn pins(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("tools/cuda").join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once("==").unwrap_or_else(|| panic!("{file}: {line} is not pinned"))).map(owned).collect()
}

fn owned((package, version): (&str, &str)) -> (String, String) {
    (package.to_owned(), version.to_owned())
}

/// Text files in which people, or scripts, read about versions.
fn readers() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [
        "README.md",
        "CHANGELOG.md",
        "kernels/README.md",
        "tools/README.md",
        ".ci/run",
        "build.rs",
        "kernels/codegen/nvcc.rs",
        "src/device/gpu_code.rs",
    ]
    .map(|name| root().join(name))
    .to_vec();
    for folder in ["docs", "docs/decisions"] {
        files.extend(fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    files
}

#[test]
fn all_parts_of_the_compiler_are_pinned_to_one_release() {
    let compiler = pins("nvcc.txt");
    let packages: BTreeSet<&str> = compiler.iter().map(|(package, _)| package.as_str()).collect();
    // Those that nvcc calls or includes from.
    let needed = ["nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-runtime", "nvidia-cuda-cccl"];
    assert_eq!(packages, BTreeSet::from(needed));
    let release = |version: &str| version.rsplit_once('.').unwrap().0.to_owned();
    let releases: BTreeSet<String> = compiler.iter().map(|(_, version)| release(version)).collect();
    assert_eq!(releases.len(), 1, "{releases:?}");
    for file in ["disassembler.txt", "libraries.txt"] {
        assert!(pins(file).iter().all(|(package, version)| package.starts_with("nvidia-") && version.contains('.')), "{file}");
    }
}

#[test]
fn no_other_file_repeats_a_version() {
    let files = ["nvcc.txt", "disassembler.txt", "libraries.txt"];
    let versions: BTreeSet<String> = files.iter().flat_map(|file| pins(file)).map(|(_, version)| version).collect();
    for path in readers() {
        let text = fs::read_to_string(&path).unwrap();
        let repeated = versions.iter().find(|version| text.contains(version.as_str()));
        assert_eq!(repeated, None, "{} repeats a version of tools/cuda/", path.display());
    }
}

#[test]
fn commands_name_files_that_exist() {
    let mut named = BTreeSet::new();
    for path in readers() {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("tools/cuda/") {
            let name: String = text[at..].chars().take_while(|c| c.is_alphanumeric() || "/_.-".contains(*c)).collect();
            let name = name.trim_end_matches(['/', '.']);
            assert!(root().join(name).exists(), "{} names {name}", path.display());
            named.insert(name.to_owned());
        }
    }
    for file in ["tools/cuda/nvcc.txt", "tools/cuda/disassembler.txt", "tools/cuda/libraries.txt"] {
        assert!(named.contains(file), "nothing tells of {file}");
    }
}
