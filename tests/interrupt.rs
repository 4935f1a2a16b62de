//! Signals: the first asks, the second ends.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rocl::run::interrupt;

/// Not a test of its own: the process that [`the_first_signal_asks_and_the_second_ends`] sends signals to.
#[test]
#[ignore = "run by another test, as a process"]
fn polls_for_ever() {
    // Whoever started the tests may have had them ignore signals, and what is ignored stays so.
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the default is a disposition that either may have.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    interrupt::install().unwrap();
    interrupt::install().unwrap();
    assert!(!interrupt::requested());
    eprintln!("ready");
    while !interrupt::requested() {
        std::thread::sleep(Duration::from_millis(1));
    }
    eprintln!("asked");
    // Ends by the second signal; the limit only keeps a failing test from hanging.
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn the_first_signal_asks_and_the_second_ends() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "polls_for_ever", "--nocapture"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let id = i32::try_from(child.id()).unwrap();
        for expected in ["ready", "asked"] {
            assert!(lines.any(|line| line == expected), "the process ended before it was {expected}");
            // SAFETY: kill takes any two integers; the process is our child and has not been waited for.
            assert_eq!(unsafe { libc::kill(id, signal) }, 0);
        }
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}
