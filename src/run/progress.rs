//! How far a run is, how fast, and how long it will take: on standard error.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two plain lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Progress through a known number of images: a bar on a terminal (not a dumb one), a plain line every ten seconds elsewhere, nothing when quiet.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: u64,
    done: u64,
    note: String,
    start: Instant,
    view: View,
}

#[derive(Debug)]
enum View {
    Bar(ProgressBar),
    Lines { last: Instant },
    Silent,
}

impl Progress {
    /// Starts the clock for `total` images under the name `label`.
    pub fn new(label: impl Into<String>, total: u64, quiet: bool) -> Self {
        let start = Instant::now();
        let view = match (quiet, can_draw()) {
            (true, _) => View::Silent,
            (false, true) => View::Bar(bar(total)),
            (false, false) => View::Lines { last: start },
        };
        Self { label: label.into(), total, done: 0, note: String::new(), start, view }
    }

    /// Counts `images` more. `note` (a loss, an epoch) is shown until the next call.
    pub fn advance(&mut self, images: u64, note: impl Into<String>) {
        self.done += images;
        self.note = note.into();
        match &mut self.view {
            View::Bar(bar) => {
                bar.set_message(describe(&self.label, self.done, self.total, self.start.elapsed(), &self.note));
                bar.set_position(self.done);
            }
            View::Lines { last } if last.elapsed() >= INTERVAL => {
                *last = Instant::now();
                self.print_line();
            }
            View::Lines { .. } | View::Silent => {}
        }
    }

    /// Clears the bar, or prints the last line.
    pub fn finish(self) {
        match &self.view {
            View::Bar(bar) => bar.finish_and_clear(),
            View::Lines { .. } => self.print_line(),
            View::Silent => {}
        }
    }

    fn print_line(&self) {
        let line = describe(&self.label, self.done, self.total, self.start.elapsed(), &self.note);
        // A closed standard error ends the reports, not the run.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Whether standard error is a terminal that can redraw a line.
fn can_draw() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
    // A template that does not parse would be a slip in this line; the plain bar then serves.
    let style = ProgressStyle::with_template("{bar:24} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar
}

/// `pretrain  25 %  1000/4000 images  118 images/s  0:25 left  loss 5.03`
fn describe(label: &str, done: u64, total: u64, elapsed: Duration, note: &str) -> String {
    let percent = 100 * done / total.max(1);
    let mut line = format!("{label}  {percent} %  {done}/{total} images");
    let rate = done as f64 / elapsed.as_secs_f64();
    if rate.is_finite() && rate > 0.0 {
        let left = total.saturating_sub(done) as f64 / rate;
        let rate = if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") };
        let _ = write!(line, "  {rate} images/s  ");
        let _ =
            if done < total { write!(line, "{} left", clock(left)) } else { write!(line, "in {}", clock(elapsed.as_secs_f64())) };
    }
    if !note.is_empty() {
        let _ = write!(line, "  {note}");
    }
    line
}

/// Seconds as `0:25` or `3:04:05`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_rate_and_time_left() {
        let line = describe("pretrain", 1000, 4000, Duration::from_secs(8), "loss 5.03");
        assert_eq!(line, "pretrain  25 %  1000/4000 images  125 images/s  0:24 left  loss 5.03");
        let line = describe("pgd", 400, 400, Duration::from_secs(4000), "");
        assert_eq!(line, "pgd  100 %  400/400 images  0.1 images/s  in 1:06:40");
    }

    #[test]
    fn nothing_done_and_nothing_to_do_are_harmless() {
        assert_eq!(describe("a", 0, 0, Duration::ZERO, ""), "a  0 %  0/0 images");
        assert_eq!(describe("a", 0, 5, Duration::from_secs(1), ""), "a  0 %  0/5 images");
        let mut progress = Progress::new("a", 1, true);
        progress.advance(3, "more than there are");
        progress.finish();
    }

    #[test]
    fn clock_reads_like_a_clock() {
        assert_eq!([0.0, 59.6, 3599.0, 3600.0, 100_000.0].map(clock), ["0:00", "1:00", "59:59", "1:00:00", "27:46:40"]);
    }
}
