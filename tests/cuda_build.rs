//! How the build deals with nvcc: what it accepts, what it says, and what it compiles again. A shell script stands in for nvcc.

#[allow(dead_code)]
#[path = "../kernels/codegen/mod.rs"]
mod codegen;

use codegen::nvcc::{self, Job, Nvcc};
use codegen::signature::{self, VARIANTS};
use codegen::source::Source;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An nvcc of this version that knows these architectures, copies what it compiles, and logs that it did; it refuses what holds `BROKEN`.
fn stand_in(folder: &Path, version: &str, architectures: &str) -> PathBuf {
    let path = folder.join("nvcc");
    let script = format!(
        r#"#!/bin/sh
case $1 in
--version) echo "Cuda compilation tools, release X, V{version}" ;;
--list-gpu-code) printf '%s\n' {architectures} ;;
*)
    while [ "$1" != -o ]; do echo "$1" >> "{log}"; shift; done
    echo "compiled $3" >> "{log}"
    if grep -q BROKEN "$3"; then echo "$3(7): error: it is broken" >&2; exit 2; fi
    cp "$3" "$2" ;;
esac
"#,
        log = folder.join("log").display()
    );
    // A shell writes it: a file open for writing in this process is inherited by what other tests start at that moment, and Linux
    // refuses to execute it while they hold it (ETXTBSY).
    let write = r#"printf %s "$1" > "$2" && chmod +x "$2""#;
    assert!(Command::new("sh").args(["-c", write, "sh", &script]).arg(&path).status().unwrap().success());
    path
}

fn open(folder: &Path, version: &str, architectures: &str, wanted: Option<&str>) -> Result<Nvcc, String> {
    let path = stand_in(folder, version, architectures);
    let version = nvcc::version(&path)?;
    Nvcc::new(path, version, wanted)
}

/// What has been compiled since the last call, by the stem of its file, and with which options.
fn compiled(folder: &Path) -> (Vec<String>, Vec<String>) {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let _ = fs::remove_file(folder.join("log"));
    let (units, options): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| line.starts_with("compiled "));
    let stem = |unit: &str| Path::new(unit).file_stem().unwrap().to_str().unwrap().to_owned();
    let mut units: Vec<String> = units.into_iter().map(stem).collect();
    units.sort();
    (units, options.into_iter().map(str::to_owned).collect())
}

fn job(folder: &Path, name: &str, unit: &str) -> Job {
    let path = folder.join(format!("{name}.cu"));
    fs::write(&path, unit).unwrap();
    Job { file: "pgd.cu".to_owned(), image: path.with_extension("fatbin"), unit: path }
}

#[test]
fn toolkits_from_12_on_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let refused = open(folder.path(), "11.8.89", "sm_80 sm_90", None).err().unwrap();
    assert!(refused.contains("version 11.8.89, which is too old"), "{refused}");
    for version in ["12.0.140", "12.9.41", "13.1.2"] {
        assert_eq!(open(folder.path(), version, "sm_80", None).unwrap().version, version);
    }
    let refused = open(folder.path(), "unknown", "sm_80", None).err().unwrap();
    assert!(refused.contains("too old"), "{refused}");
}

#[test]
fn code_is_made_for_what_nvcc_knows_or_for_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let architectures = |known, wanted| open(folder.path(), "13.0.1", known, wanted).map(|nvcc| nvcc.architectures);
    let old = "sm_50 sm_75 sm_80 sm_86 sm_87 sm_89 sm_90";
    assert_eq!(architectures(old, None).unwrap(), [75, 80, 86, 89, 90]);
    assert_eq!(
        architectures("sm_75 sm_80 sm_86 sm_89 sm_90 sm_100 sm_120 sm_121", None).unwrap(),
        [75, 80, 86, 89, 90, 100, 120]
    );
    assert_eq!(architectures(old, Some("90, 87,90")).unwrap(), [87, 90]);
    let refused = architectures(old, Some("80 sm_90")).unwrap_err();
    assert!(refused.starts_with("ROCL_CUDA_ARCHS names `sm_90`, but can be any of 50, 75, 80"), "{refused}");
    assert!(architectures(old, Some("120")).is_err());
    assert!(architectures(old, Some(" ")).unwrap_err().contains("is empty"));
}

#[test]
fn only_what_changed_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let nvcc = open(at, "13.0.1", "sm_80 sm_90", None).unwrap();
    let jobs = [job(at, "one", "int one;\n"), job(at, "two", "#include \"rocl.cuh\"\n")];
    nvcc.compile(&jobs).unwrap();
    let (units, options) = compiled(at);
    assert_eq!(units, ["one", "two"]);
    for option in [
        "--fmad=false",
        "-std=c++17",
        "-Werror",
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90,code=compute_90",
    ] {
        assert!(options.iter().any(|o| o == option), "{option} is not in {options:?}");
    }
    assert!(!options.iter().any(|o| o.contains("fast") || o.contains("90a") || o.contains("code=compute_80")), "{options:?}");

    nvcc.compile(&jobs).unwrap();
    assert!(compiled(at).0.is_empty());
    fs::write(&jobs[0].unit, "int changed;\n").unwrap();
    nvcc.compile(&jobs).unwrap();
    assert_eq!(compiled(at).0, ["one"]);
    fs::remove_file(&jobs[1].image).unwrap();
    nvcc.compile(&jobs).unwrap();
    assert_eq!(compiled(at).0, ["two"]);
    // Another version, other architectures: everything.
    for (version, wanted) in [("13.0.2", None), ("13.0.2", Some("90"))] {
        open(at, version, "sm_80 sm_90", wanted).unwrap().compile(&jobs).unwrap();
        assert_eq!(compiled(at).0, ["one", "two"]);
    }
}

#[test]
fn a_guard_asks_for_the_features_of_sm_90() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let jobs = [job(at, "guarded", "#if defined(__CUDA_ARCH_FEAT_SM90_ALL)\n#endif\n")];
    for (wanted, expected) in [("80 90", true), ("80", false)] {
        open(at, "13.0.1", "sm_80 sm_90", Some(wanted)).unwrap().compile(&jobs).unwrap();
        let options = compiled(at).1;
        assert_eq!(options.iter().any(|o| o == "-gencode=arch=compute_90a,code=sm_90a"), expected, "{options:?}");
    }
}

#[test]
fn a_kernel_that_does_not_compile_is_shown_as_nvcc_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let nvcc = open(at, "13.0.1", "sm_80", None).unwrap();
    let jobs = [job(at, "broken", "int BROKEN;\n")];
    for _ in 0..2 {
        let message = nvcc.compile(&jobs).unwrap_err();
        let (first, rest) = message.split_once('\n').unwrap();
        assert_eq!(first, "nvcc 13.0.1 refuses pgd.cu:");
        assert!(rest.contains("broken.cu(7): error: it is broken"), "{rest}");
    }
}

#[test]
fn a_unit_has_entry_points_for_the_kernels_of_its_type() {
    let source = "KERNEL(widen)(const T* x, Real* y) {\n}\nCOOPERATIVE_KERNEL(total)(const Real* x, Real* sum) {\n}\n";
    let kernels = signature::parse("some.cu", source).unwrap();
    let source = Source { path: "some.cu".to_owned(), name: "some".to_owned(), kernels };
    let [f32, f16, ..] = &VARIANTS;
    let unit = codegen::cuda::unit(&source, f32);
    assert!(unit.contains("#define ROCL_ENTRY_widen ROCL_GLOBAL widen_f32\n"), "{unit}");
    assert!(unit.contains("#define ROCL_ENTRY_total ROCL_GLOBAL total_f32\n"), "{unit}");
    let unit = codegen::cuda::unit(&source, f16);
    assert!(unit.contains("#define ROCL_ENTRY_widen ROCL_GLOBAL widen_f16\n"), "{unit}");
    assert!(unit.contains("#define ROCL_ENTRY_total ROCL_UNUSED total\n"), "{unit}");
    assert!(unit.contains("using T = f16;\nusing Real = float;\n#include \"some.cu\"\n"), "{unit}");
    assert!(codegen::cuda::variants().all(|variant| variant.real == "float"));
}
