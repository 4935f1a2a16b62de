//! What reads files of others gets files with something wrong in them: it has to return, with a value or a sentence, without a panic and
//! without memory that the file does not account for.
//!
//! `cargo test` tries some of each. For more, by time and from a seed of one's own:
//!
//! ```sh
//! ROCL_FUZZ_SECONDS=300 ROCL_FUZZ_SEED=1 cargo test --release --test fuzz -- --test-threads 1 --nocapture
//! ```

mod allocation;
#[path = "../common/formats.rs"]
mod formats;
mod models;
mod mutation;
mod targets;

use allocation::Counting;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Files that `cargo test` tries of each kind.
const TRIES: u64 = 2000;

/// Bytes that reading a file may hold at once: deflate makes up to a thousand bytes of one, and few files here have more than 64 KiB.
const MOST_BYTES: isize = 160 << 20;

/// A file takes milliseconds. One that takes this long will never be done.
const PATIENCE: Duration = Duration::from_secs(120);

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}, but must be a number")))
}

/// Has `read` read files made of `seeds`. All of the seeds themselves must be accepted.
fn fuzz(name: &str, seeds: &[Vec<u8>], read: impl Fn(&[u8]) -> Result<(), String>) {
    for (number, seed) in seeds.iter().enumerate() {
        let accepted = read(seed);
        assert_eq!(accepted, Ok(()), "{name}: seed {number} is to be a good file");
    }
    let seed = environment("ROCL_FUZZ_SEED").unwrap_or(0);
    let seconds = environment("ROCL_FUZZ_SECONDS").map(Duration::from_secs);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (start, mut tried, mut accepted) = (Instant::now(), 0_u64, 0_u64);
    let (alive, watched) = channel();
    let watch = thread::spawn({
        let name = name.to_owned();
        move || {
            // Ends with the loop below, which drops the other end.
            while match watched.recv_timeout(PATIENCE) {
                Ok(()) => true,
                Err(RecvTimeoutError::Disconnected) => false,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("{name}: a file is not done after {PATIENCE:?}; it is the last in the folder of the test");
                    std::process::abort();
                }
            } {}
        }
    });
    while seconds.map_or(tried < TRIES, |seconds| start.elapsed() < seconds) {
        let bytes = mutation::mutate(seeds, &mut rng);
        let _ = alive.send(());
        Counting::reset();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
        let most = Counting::most();
        if outcome.is_err() || most > MOST_BYTES {
            let path = std::env::temp_dir().join(format!("rocl-fuzz-{name}"));
            std::fs::write(&path, &bytes).unwrap();
            panic!("{name}: file {tried} of seed {seed}, kept as {}: panicked or held {most} bytes", path.display());
        }
        match outcome {
            Ok(Ok(())) => accepted += 1,
            Ok(Err(message)) => {
                assert!(!message.trim().is_empty(), "{name}: {message:?}");
            }
            Err(_) => {}
        }
        tried += 1;
    }
    drop(alive);
    watch.join().unwrap();
    println!("{name}: {tried} files from seed {seed}, {accepted} of them accepted");
}
