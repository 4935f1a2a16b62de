//! NVIDIA's cuobjdump, by which the tests read what nvcc wrote.

use crate::skipped::missing;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../../kernels/codegen/toolkit.rs"]
mod toolkit;

/// cuobjdump, with the folder of nvdisasm, which it calls.
pub struct Disassembler {
    cuobjdump: PathBuf,
    path: std::ffi::OsString,
}

/// Of the shared memory that a block gets, the system's own.
pub const SYSTEM_SHARED_BYTES: u32 = 1 << 10;

/// What one function needs on one architecture; bytes, but for the registers of a thread.
pub struct Usage {
    pub architecture: u32,
    pub function: String,
    pub registers: u32,
    pub stack: u32,
    pub local: u32,
    pub shared: u32,
}

impl Disassembler {
    /// Found as the build finds nvcc. Where it is missing, the test says so and is skipped, but fails under `ROCL_STRICT`.
    pub fn find() -> Option<Self> {
        let (Some(cuobjdump), Some(nvdisasm)) = (toolkit::programs("cuobjdump").next(), toolkit::programs("nvdisasm").next())
        else {
            let message = format!(
                "no cuobjdump and nvdisasm by {}; `pip install -r tools/cuda/disassembler.txt` has them",
                toolkit::VARIABLES.join(", ")
            );
            missing(message);
            return None;
        };
        let folders = [&cuobjdump, &nvdisasm].map(|program| program.parent().unwrap().to_owned());
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&others))).unwrap();
        Some(Self { cuobjdump, path })
    }

    /// What every function of a fatbin needs, on every architecture that it has code for.
    pub fn resources(&self, image: &[u8]) -> Vec<Usage> {
        let (mut usages, mut architecture, mut function) = (Vec::new(), 0, "");
        let text = self.run(image, &["-res-usage"]);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("arch = sm_") {
                architecture = name.parse().unwrap();
            } else if let Some(name) = line.strip_prefix("Function ") {
                function = name.trim_end_matches(':');
            } else if line.starts_with("REG:") {
                let of = |what: &str| {
                    let mut fields = line.split(' ').filter_map(|field| field.split_once(':'));
                    fields.find(|(name, _)| *name == what).unwrap().1.parse::<u32>().unwrap()
                };
                let (registers, stack, local) = (of("REG"), of("STACK"), of("LOCAL"));
                // From sm_90 on, what the system keeps for itself is counted in.
                let shared = of("SHARED").saturating_sub(if architecture >= 90 { SYSTEM_SHARED_BYTES } else { 0 });
                usages.push(Usage { architecture, function: function.to_owned(), registers, stack, local, shared });
            }
        }
        usages
    }

    /// The instructions of every function of a fatbin on one architecture, without predicates: `LDG.E.128 R4, desc[UR4][R2.64]`.
    pub fn instructions(&self, image: &[u8], architecture: u32) -> Vec<(String, Vec<String>)> {
        let mut functions: Vec<(String, Vec<String>)> = Vec::new();
        let text = self.run(image, &["-sass", "-arch", &format!("sm_{architecture}")]);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("Function : ") {
                functions.push((name.to_owned(), Vec::new()));
            } else if let Some((instruction, _)) = line.split_once(';') {
                // An address, and the instruction, which may begin with a predicate: `/*0040*/ @!P0 EXIT`.
                let Some((_, instruction)) = instruction.split_once("*/") else { continue };
                let mut words = instruction.split_whitespace().skip_while(|word| word.starts_with('@'));
                let code = words.by_ref().collect::<Vec<_>>().join(" ");
                functions.last_mut().unwrap().1.push(code);
            }
        }
        functions
    }

    /// The architectures that a fatbin has PTX for.
    pub fn ptx(&self, image: &[u8]) -> Vec<u32> {
        let text = self.run(image, &["-lptx"]);
        let names = text.lines().filter_map(|line| line.trim().strip_suffix(".ptx")?.rsplit_once(".sm_"));
        names.map(|(_, architecture)| architecture.parse().unwrap()).collect()
    }

    fn run(&self, image: &[u8], options: &[&str]) -> String {
        let mut file = tempfile::Builder::new().suffix(".fatbin").tempfile().unwrap();
        file.write_all(image).unwrap();
        let output =
            Command::new(&self.cuobjdump).env("PATH", &self.path).args(options).arg::<&Path>(file.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "cuobjdump {}: {said}", options.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }
}
