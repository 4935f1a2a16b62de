//! Independent random streams, one for each thing that is drawn.
//!
//! Everything random on the host but the initial weights comes from here. A stream is keyed by the seed, by what it is for and by its coordinates (an epoch,
//! an image, a view), so it can be opened at any place without drawing what comes before: results do not depend on how many threads
//! draw, on the order they draw in, nor on what else is drawn. Every `u64` is an ordinary seed, 0 included.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Opens the stream of (`seed`, `purpose`, `coordinates`).
///
/// The 256-bit ChaCha key is these three, laid end to end in little-endian order, so that different arguments cannot share a stream.
pub fn stream(seed: u64, purpose: &[u8; 8], coordinates: [u32; 4]) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(purpose);
    for (bytes, coordinate) in key[16..].chunks_exact_mut(4).zip(coordinates) {
        bytes.copy_from_slice(&coordinate.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::stream;
    use rand::RngCore;
    use std::collections::HashSet;

    #[test]
    fn every_argument_opens_another_stream() {
        let mut firsts = HashSet::new();
        for seed in [0, 1, 1 << 32, u64::MAX] {
            for purpose in [b"shuffle\0", b"augment\0"] {
                for place in 0..4 {
                    for value in [1, 256, u32::MAX] {
                        let mut coordinates = [0; 4];
                        coordinates[place] = value;
                        firsts.insert(stream(seed, purpose, coordinates).next_u64());
                    }
                }
            }
        }
        assert_eq!(firsts.len(), 4 * 2 * 4 * 3);
    }

    #[test]
    fn a_stream_can_be_reopened() {
        let draw = || stream(0, b"augment\0", [3, 1, 4, 1]).next_u64();
        assert_eq!(draw(), draw());
    }
}
