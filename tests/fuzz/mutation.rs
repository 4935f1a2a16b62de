//! Files with something wrong in them.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Numbers at which lengths and offsets go wrong.
const TELLING: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// The same in texts, with what is no number.
const TELLING_TEXTS: [&str; 12] =
    ["0", "-1", "1", "255", "256", "65536", "4294967296", "18446744073709551615", "1e999", "-0.0", "nan", "\"x\""];

/// One to four changes of a seed.
pub fn mutate(seeds: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seeds.choose(rng).cloned().unwrap_or_default();
    for _ in 0..rng.random_range(1..=4) {
        change(&mut bytes, seeds, rng);
    }
    // Mutations may not add up without end.
    bytes.truncate(2 * seeds.iter().map(Vec::len).max().unwrap_or_default() + 1024);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        bytes.push(rng.random());
    }
    let at = place(bytes.len(), rng);
    let end = at + rng.random_range(0..=(bytes.len() - at).min(64));
    match rng.random_range(0..10) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => number(&mut bytes[at..], rng),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        5 => {
            // Again and again, as a loop would have it.
            let piece = bytes[at..end].repeat(rng.random_range(1..=16));
            drop(bytes.splice(at..at, piece));
        }
        6 => {
            let piece: Vec<u8> = (at..end).map(|_| rng.random()).collect();
            bytes[at..end].copy_from_slice(&piece);
        }
        7 => {
            let other = seeds.choose(rng).map_or(&[][..], Vec::as_slice);
            let from = place(other.len().max(1), rng).min(other.len());
            let piece = &other[from..(from + 256).min(other.len())];
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
        8 => text(bytes, at, rng),
        _ => {
            let to = place(bytes.len(), rng);
            bytes.swap(at, to);
        }
    }
}

/// A place in a file, more often near its ends, where headers are, than in between.
fn place(len: usize, rng: &mut ChaCha8Rng) -> usize {
    let near = len.min(512);
    match rng.random_range(0..4) {
        0 => rng.random_range(0..len),
        1 => len - near + rng.random_range(0..near),
        _ => rng.random_range(0..near),
    }
}

/// Overwrites the beginning with a number of 1, 2, 4 or 8 bytes, in either order.
fn number(bytes: &mut [u8], rng: &mut ChaCha8Rng) {
    let width = bytes.len().min(1 << rng.random_range(0..4));
    let value = TELLING.choose(rng).copied().unwrap_or_default();
    let little = value.to_le_bytes();
    for (place, byte) in bytes[..width].iter_mut().enumerate() {
        *byte = little[place];
    }
    if rng.random() {
        bytes[..width].reverse();
    }
}

/// Replaces the first number behind `at` that is written in digits.
fn text(bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha8Rng) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let end = bytes[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |found| start + found);
    let other = TELLING_TEXTS.choose(rng).copied().unwrap_or_default();
    drop(bytes.splice(start..end, other.bytes()));
}
