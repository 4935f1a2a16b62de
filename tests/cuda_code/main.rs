//! The GPU's code in this build, looked at without a GPU: which kernels there are, for which architectures, what they need of a
//! multiprocessor and how much of it they fill, and whether they move 16 bytes at a time where their source says so. Only with the feature `cuda`.

mod disassembly;
mod occupancy;
mod report;
#[path = "../common/skipped.rs"]
mod skipped;
mod source;

use disassembly::Disassembler;
use rocl::device::gpu_code;
use rocl::device::launch::kernels;
use std::collections::BTreeSet;

/// By `Element::SLOT`; there is no f64 on the GPU.
const SUFFIXES: [&str; 3] = ["f32", "f16", "bf16"];
/// What every fatbin begins with.
const MAGIC: [u8; 4] = 0xBA55_ED50_u32.to_le_bytes();

/// Every kernel's symbol and image, for each element type.
fn entries() -> impl Iterator<Item = (&'static rocl::device::Kernel, String, &'static [u8])> {
    kernels().flat_map(|kernel| {
        (0..4)
            .filter_map(move |slot| kernel.gpu_code(slot))
            .map(move |(symbol, image)| (kernel, symbol.to_str().unwrap().to_owned(), image))
    })
}

/// Every image once.
fn images() -> Vec<&'static [u8]> {
    let mut seen = BTreeSet::new();
    entries().map(|(_, _, image)| image).filter(|image| seen.insert(image.as_ptr())).collect()
}

#[test]
fn kernels_have_code_for_the_types_they_name() {
    for kernel in kernels() {
        let source = source::read(kernel.file, kernel.name);
        let types = if source.names_storage_type() { &SUFFIXES[..] } else { &SUFFIXES[..1] };
        for slot in 0..4 {
            let entry = kernel.gpu_code(slot);
            assert_eq!(entry.is_some(), slot < types.len(), "{} of {}, slot {slot}", kernel.name, kernel.file);
            let Some((symbol, image)) = entry else { continue };
            assert_eq!(symbol.to_str().unwrap(), format!("{}_{}", kernel.name, types[slot]));
            assert_eq!(image[..4], MAGIC, "{symbol:?}");
            assert_eq!(image.as_ptr().align_offset(16), 0, "{symbol:?}");
        }
    }
    // One image for each file and type: the kernels of a file share it.
    let named: BTreeSet<_> =
        entries().map(|(kernel, symbol, _)| (kernel.file, symbol.rsplit('_').next().unwrap().to_owned())).collect();
    assert_eq!(images().len(), named.len());
}

#[test]
fn the_build_says_what_it_was_made_with() {
    let version = gpu_code::NVCC.unwrap();
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(numbers.len() == 3 && numbers[0] >= 12, "{version}");
    let architectures = gpu_code::architectures();
    assert!(!architectures.is_empty() && architectures.is_sorted_by(|a, b| a < b), "{architectures:?}");
}

#[test]
fn every_kernel_is_there_for_every_architecture_and_spills_nothing() {
    let Some(disassembler) = Disassembler::find() else { return };
    let mut found = BTreeSet::new();
    for image in images() {
        for usage in disassembler.resources(image) {
            let at = format!("{} for sm_{}", usage.function, usage.architecture);
            assert_eq!((usage.stack, usage.local), (0, 0), "{at} keeps registers in memory");
            assert!(usage.shared <= 48 << 10, "{at} wants {} bytes of shared memory", usage.shared);
            assert!(found.insert((usage.function.clone(), usage.architecture)), "{at} is there twice");
        }
    }
    let architectures = gpu_code::architectures();
    let expected = entries().flat_map(|(_, symbol, _)| architectures.iter().map(move |a| (symbol.clone(), *a)));
    assert_eq!(found, expected.collect());
}

#[test]
fn newer_cards_find_ptx() {
    let Some(disassembler) = Disassembler::find() else { return };
    let highest = *gpu_code::architectures().last().unwrap();
    for image in images() {
        assert_eq!(disassembler.ptx(image), [highest]);
    }
}

#[test]
fn vectors_move_in_single_instructions() {
    let Some(disassembler) = Disassembler::find() else { return };
    // What is promised holds in every architecture; one is enough to see it, and H100 is the fastest that is listed.
    let architectures = gpu_code::architectures();
    let looked_at = architectures.iter().find(|a| **a == 90).or(architectures.last()).unwrap();
    let mut vectorised = 0;
    let mut functions = Vec::new();
    for image in images() {
        functions.extend(disassembler.instructions(image, *looked_at));
    }
    for (kernel, symbol, _) in entries() {
        let (_, code) = functions.iter().find(|(function, _)| *function == symbol).unwrap();
        let count = |instruction| code.iter().filter(|line| line.starts_with(instruction)).count();
        let source = source::read(kernel.file, kernel.name);
        let (loads, stores) = (source.vectors_by("load"), source.vectors_by("store"));
        assert!(count("LDG.E.128") >= loads, "{symbol} loads {loads} vectors, by {} instructions", count("LDG.E.128"));
        assert!(count("STG.E.128") >= stores, "{symbol} stores {stores} vectors, by {} instructions", count("STG.E.128"));
        assert_eq!(count("LDL") + count("STL"), 0, "{symbol} keeps something in local memory");
        vectorised += usize::from(loads + stores > 0);
    }
    assert!(vectorised > functions.len() / 2, "only {vectorised} of {} kernels use load and store", functions.len());
}
