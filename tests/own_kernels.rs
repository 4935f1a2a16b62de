//! How the build takes kernels from the folders that `ROCL_KERNELS` names: which files, under which names, and what it says of those that it cannot take.

#[allow(dead_code)]
#[path = "../kernels/codegen/mod.rs"]
mod codegen;

use codegen::launch::{self, Compiled};
use codegen::signature::VARIANTS;
use codegen::source::{self, Source};
use codegen::{cuda, host, unit};
use std::fs;
use std::path::{Path, PathBuf};

const HALVE: &str = "#include \"rocl.cuh\"\nKERNEL(halve)(Real* INPLACE x, int64_t n) {\n}\n";

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn paths(folders: &[&tempfile::TempDir]) -> Vec<PathBuf> {
    let list = std::env::join_paths(folders.iter().map(|folder| folder.path())).unwrap();
    source::folders(&list).unwrap()
}

fn engine() -> Vec<Source> {
    source::engine(Path::new("kernels")).unwrap()
}

#[test]
fn every_kernel_file_of_the_named_folders_is_taken() {
    let (one, two) = (
        folder(&[("step.cu", HALVE), ("notes.txt", ""), ("shared.cuh", "")]),
        folder(&[("step.cu", &HALVE.replace("halve", "double_it"))]),
    );
    let folders = paths(&[&one, &two, &one]);
    assert_eq!(folders.len(), 2, "a folder that is named twice is one folder");
    let own = source::own(&folders, &engine()).unwrap();
    let taken: Vec<_> = own.iter().map(|source| (source.name.as_str(), source.kernels[0].name.as_str())).collect();
    assert_eq!(taken, [("own0_step", "halve"), ("own1_step", "double_it")]);
    assert_eq!(own[0].path, fs::canonicalize(one.path().join("step.cu")).unwrap().to_str().unwrap());
    assert!(source::folders("".as_ref()).unwrap().is_empty());
}

#[test]
fn folders_that_are_not_there_are_refused_with_the_way_to_name_one() {
    let file = folder(&[("halve.cu", HALVE)]);
    for named in [Path::new("no-such-folder").to_owned(), file.path().join("halve.cu")] {
        let message = source::folders(named.as_os_str()).unwrap_err();
        assert!(message.contains(&format!("ROCL_KERNELS names `{}`", named.display())), "{message}");
        assert!(message.contains("ROCL_KERNELS = { value = \"kernels\", relative = true }"), "{message}");
    }
    let empty = folder(&[("halve.cuh", HALVE)]);
    let message = source::own(&paths(&[&empty]), &engine()).err().unwrap();
    assert!(message.contains("which holds no .cu file; put a kernel there, or leave it out"), "{message}");
}

/// What is said of a file `mine.cu` with this text.
fn refusal(text: &str) -> String {
    let folder = folder(&[("mine.cu", text)]);
    let message = source::own(&paths(&[&folder]), &engine()).err().unwrap_or_else(|| panic!("{text} is taken"));
    assert!(message.contains("mine.cu: ") && message.contains("; ") && !message.contains('\n'), "{message}");
    message.split_once("mine.cu: ").unwrap().1.to_owned()
}

#[test]
fn names_that_are_taken_are_refused() {
    let message = refusal("KERNEL(pgd_linf_step)(Real* x) {\n}\n");
    assert_eq!(message, "kernels/pgd.cu has a kernel `pgd_linf_step` too; give it another name");
    let message = refusal(&format!("{HALVE}{}", &HALVE[HALVE.find("KERNEL").unwrap()..]));
    assert_eq!(message, "there are two kernels `halve`; give one another name");
    let (one, two) = (folder(&[("a.cu", HALVE)]), folder(&[("b.cu", HALVE)]));
    let message = source::own(&paths(&[&one, &two]), &engine()).err().unwrap();
    assert!(message.contains("b.cu: ") && message.contains("a.cu has a kernel `halve` too"), "{message}");
    let odd = folder(&[("My-Kernel.cu", HALVE)]);
    let message = source::own(&paths(&[&odd]), &engine()).err().unwrap();
    assert!(message.contains("My-Kernel.cu: ") && message.ends_with("rename it"), "{message}");
}

#[test]
fn signatures_that_cannot_be_launched_are_refused_with_the_remedy() {
    for (text, expected) in [
        ("", "declares no KERNEL; write one, or call a file that others include .cuh"),
        ("KERNEL(halve) {", "a signature cannot be read; write KERNEL(name)(parameters)"),
        ("KERNEL(halve)(Real* x", "a signature cannot be read"),
        ("static KERNEL(halve)(Real* x) {", "a KERNEL does not stand at the beginning of its line; put it there"),
        ("KERNEL(Halve)(Real* x) {", "a kernel cannot be called `Halve`; use small letters"),
        ("KERNEL(match)(Real* x) {", "a kernel cannot be called `match`"),
        ("KERNEL(halve)() {", "halve: `` is no parameter of a kernel; use T, Real"),
        ("KERNEL(halve)(int64_t n) {", "halve: a kernel that is given no pointer has nothing to work on; add one"),
        ("KERNEL(halve)(double* x) {", "halve: `double* x` is no parameter of a kernel; use T, Real, float"),
        ("KERNEL(halve)(Real** x) {", "halve: `Real** x` is no parameter of a kernel"),
        ("KERNEL(halve)(Real* type) {", "halve: `Real* type` has a name that cannot be had in Rust"),
        ("KERNEL(halve)(Real* work) {", "halve: `Real* work` has a name that cannot be had in Rust"),
        ("KERNEL(halve)(Real* x, const int32_t n) {", "halve: `const int32_t n` is no pointer; leave out OPTIONAL and const"),
        ("KERNEL(halve)(const Real* INPLACE x) {", "halve: `const Real* INPLACE x` is not written; leave out INPLACE"),
        (
            "KERNEL(halve)(Real* x) {\n    SHARED(Real, s, 32);",
            "halve: only threads that cooperate share memory; declare it as a COOPERATIVE_KERNEL",
        ),
    ] {
        let message = refusal(text);
        assert!(message.starts_with(expected), "{text}: {message}");
    }
}

#[test]
fn units_and_launch_functions_are_made_as_the_engines_are() {
    let mine = folder(&[("halve.cu", HALVE)]);
    let own = source::own(&paths(&[&mine]), &engine()).unwrap();
    let [f32, f16, _, f64] = &VARIANTS;
    let [source] = &own[..] else { panic!() };
    assert!(source.exists_for(f32) && source.exists_for(f64) && !source.exists_for(f16));
    let text = host::unit(host::HOST, source, f64);
    assert!(text.contains("namespace rocl_host_own0_halve_f64 {\nusing T = double;\nusing Real = double;\n"), "{text}");
    assert!(text.contains(&format!("#include \"{}\"", source.path)) && text.contains("void rocl_host_halve_f64("), "{text}");
    assert!(cuda::unit(source, f32).contains("#define ROCL_ENTRY_halve ROCL_GLOBAL halve_f32\n"));
    let module = launch::module(&own, Compiled { cuda: true, watched: true });
    assert!(module.contains("pub fn halve<R: Real>(work: Work, x: &Tensor<R>, n: i64) -> Result<()>"), "{module}");
    assert!(module.contains("/cuda/own0_halve_f32.fatbin") && module.contains("rocl_watched_halve_f64"), "{module}");
    assert_eq!(launch::module(&[], Compiled { cuda: true, watched: true }).lines().count(), 2, "an empty table, and its doc");
}

#[test]
fn a_unit_is_made_of_the_headers_beside_its_kernel_too() {
    let mine = folder(&[("halve.cu", "#include \"rocl.cuh\"\n#include \"half.cuh\"\n"), ("half.cuh", "first\n")]);
    let path = mine.path().join("unit.cpp");
    fs::write(&path, format!("#include \"{}\"\n", mine.path().join("halve.cu").display())).unwrap();
    let before = unit::with_includes(&path).unwrap();
    assert!(
        before.contains("first") && before.contains("for_each_vector"),
        "own headers, and the engine's with what they include"
    );
    fs::write(mine.path().join("half.cuh"), "second\n").unwrap();
    assert!(unit::with_includes(&path).unwrap() != before);
}
