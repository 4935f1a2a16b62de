//! One line per kernel: what it needs of a multiprocessor, how many of its threads fit, and how wide it reads and writes memory.

use super::disassembly::{Disassembler, Usage};
use super::occupancy::MULTIPROCESSORS;
use super::{entries, images};
use rocl::Device;
use rocl::bench::subject::{pretraining, recorded};
use rocl::device::gpu_code;
use rocl::recipe::Recipe;
use rocl::report::table::Table;
use std::collections::HashMap;

/// Threads of a block where the device chooses.
const THREADS: u32 = 256;
/// Threads of a block of the cooperative kernels that a step of the recipe below does without.
const OTHERS: [(&str, u32); 6] = [
    ("nt_xent_full_gradient", 128),
    ("sup_con", 128),
    ("sup_con_gradient", 128),
    ("embedding_distance", 32),
    ("ladder_nt_row", 128),
    ("ladder_nt_tile", 128),
];

/// Threads of a block of each cooperative kernel, as the steps of the paper's recipe launch it.
fn block_threads() -> HashMap<&'static str, u32> {
    let run = pretraining::<f32>(&Device::dry(), &Recipe::load("paper").unwrap()).unwrap();
    let calls = recorded(&run).unwrap();
    let threads = |shape: &str| shape.split_once(" blocks of ")?.1.parse::<u32>().ok();
    let mut most = HashMap::from(OTHERS);
    for (name, threads) in calls.iter().filter_map(|call| Some((call.name, threads(&call.shape)?))) {
        let entry = most.entry(name).or_insert(threads);
        *entry = threads.max(*entry);
    }
    most
}

/// The widest access of a kind, in bits; an instruction that names no width moves 32.
fn widest(code: &[String], instruction: &str) -> Option<u32> {
    let width = |line: &String| {
        let modifiers = line.split(' ').next()?.strip_prefix(instruction)?;
        let width = modifiers.split('.').find_map(|part| match part {
            "U8" | "S8" => Some(8),
            "U16" | "S16" => Some(16),
            "64" => Some(64),
            "128" => Some(128),
            _ => None,
        });
        Some(width.unwrap_or(32))
    };
    code.iter().filter_map(width).max()
}

fn bits(width: Option<u32>) -> String {
    width.map_or("–".to_owned(), |bits| bits.to_string())
}

/// A kernel that moves vectors can have enough of them under way: every load that stands in its code, unrolled, by every thread.
#[test]
fn kernels_fill_a_multiprocessor() {
    let Some(disassembler) = Disassembler::find() else { return };
    let threads = block_threads();
    for card in MULTIPROCESSORS.iter().filter(|card| gpu_code::architectures().contains(&card.architecture)) {
        let architecture = card.architecture;
        let mut usages: HashMap<String, Usage> = HashMap::new();
        let mut code: HashMap<String, Vec<String>> = HashMap::new();
        for image in images() {
            let here = disassembler.resources(image).into_iter().filter(|usage| usage.architecture == architecture);
            usages.extend(here.map(|usage| (usage.function.clone(), usage)));
            code.extend(disassembler.instructions(image, architecture));
        }
        let mut table = Table::new([
            "kernel",
            "threads",
            "registers",
            "spilt bytes",
            "shared bytes",
            "occupancy %",
            "load bits",
            "store bits",
        ]);
        for (kernel, symbol, _) in entries() {
            let (usage, threads) = (&usages[&symbol], threads.get(kernel.name).copied().unwrap_or(THREADS));
            let occupancy = card.occupancy(usage, threads);
            table.row([
                symbol.clone(),
                threads.to_string(),
                usage.registers.to_string(),
                (usage.stack + usage.local).to_string(),
                usage.shared.to_string(),
                occupancy.to_string(),
                bits(widest(&code[&symbol], "LDG")),
                bits(widest(&code[&symbol], "STG")),
            ]);
            assert!(card.blocks(usage, threads) > 0, "{symbol} cannot run on sm_{architecture}: {} registers", usage.registers);
            let loads = code[&symbol].iter().filter(|line| line.starts_with("LDG.E.128")).count() as u32;
            let under_way = card.blocks(usage, threads) * threads * 16 * loads;
            assert!(
                kernel.cooperative || loads == 0 || under_way >= card.bytes_under_way,
                "{symbol} has at most {under_way} bytes under way in a multiprocessor of sm_{architecture}, too few to keep its memory busy"
            );
        }
        println!("sm_{architecture}\n{table}");
    }
}
