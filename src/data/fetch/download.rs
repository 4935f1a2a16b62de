//! A file by HTTP, in as many attempts as it takes.

use super::{Problem, Progress};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// What comes from the server: the head, pieces of the body, the end.
enum Message {
    Head(Head),
    Piece(Vec<u8>),
    End,
}

struct Head {
    status: u16,
    /// Where the body begins in the file.
    start: Option<u64>,
    /// Bytes of the body.
    length: Option<u64>,
}

/// Downloads `url` to the file at `part`, going on behind what is there, if the server can do that.
pub(super) fn download(url: &str, part: &Path, patience: Duration, mut progress: impl FnMut(Progress)) -> Result<(), Problem> {
    let disk = |error| Problem::Disk(part.to_owned(), error);
    let there = std::fs::metadata(part).map_or(0, |part| part.len());
    let answer = Answer { messages: ask(url, there), patience };
    let head = answer.head()?;
    let from = match head.status {
        200 => 0,
        206 if head.start == Some(there) => there,
        206 => {
            open(part, 0).map_err(disk)?;
            return Err(Problem::Network("the server sent another part of the file than it was asked for".to_owned()));
        }
        // Nothing lies behind what is there: it is whole, or of another file, as its sum will tell.
        416 if there > 0 => return Ok(()),
        404 | 410 => return Err(Problem::Network(format!("the server has no such file (HTTP {})", head.status))),
        status => return Err(Problem::Network(format!("the server does not give the file (HTTP {status})"))),
    };
    let mut file = open(part, from).map_err(disk)?;
    let (mut done, total) = (from, head.length.map(|length| from + length));
    loop {
        progress(Progress { done, total });
        match answer.next() {
            Ok(Message::Piece(bytes)) => {
                file.write_all(&bytes).map_err(disk)?;
                done += bytes.len() as u64;
            }
            Ok(_) if total.is_none_or(|total| done == total) => return file.sync_all().map_err(disk),
            Ok(_) => return Err(cut(done, total, "the connection was closed")),
            Err(problem) => return Err(cut(done, total, &problem)),
        }
    }
}

/// Opens a file to write behind its first `keep` bytes.
fn open(path: &Path, keep: u64) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    if file.metadata()?.len() > keep {
        file.set_len(keep)?;
    }
    Ok(file)
}

fn cut(done: u64, total: Option<u64>, why: &str) -> Problem {
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let of = total.map_or(String::new(), |total| format!(" of {}", megabytes(total)));
    Problem::Network(format!("the download stopped after {}{of} MB, which are kept ({why})", megabytes(done)))
}

/// An answer that may stop coming.
struct Answer {
    messages: Receiver<Result<Message, String>>,
    patience: Duration,
}

impl Answer {
    fn next(&self) -> Result<Message, String> {
        match self.messages.recv_timeout(self.patience) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => Err(format!("nothing came for {} s", self.patience.as_secs_f64())),
            Err(RecvTimeoutError::Disconnected) => Err("the connection was lost".to_owned()),
        }
    }

    fn head(&self) -> Result<Head, Problem> {
        match self.next() {
            Ok(Message::Head(head)) => Ok(head),
            Ok(_) => Err(Problem::Network("the server's answer has no head".to_owned())),
            Err(problem) => Err(Problem::Network(format!("it cannot be downloaded ({problem})"))),
        }
    }
}

/// Asks for the file from byte `from` on. On a thread of its own, which is left behind when its server stops talking.
fn ask(url: &str, from: u64) -> Receiver<Result<Message, String>> {
    // A few pieces ahead of the disk.
    let (sender, receiver) = sync_channel(4);
    let (url, failed) = (url.to_owned(), sender.clone());
    let asking = thread::Builder::new().spawn(move || {
        if let Err(problem) = receive(&url, from, &sender) {
            // Nobody waits any more when this fails.
            let _ = sender.send(Err(problem));
        }
    });
    if let Err(problem) = asking {
        // There is room for it: nothing else was sent.
        let _ = failed.send(Err(format!("no thread can be started: {problem}")));
    }
    receiver
}

fn receive(url: &str, from: u64, sender: &SyncSender<Result<Message, String>>) -> Result<(), String> {
    // A status is for the other end to judge.
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).user_agent(concat!("rocl/", env!("CARGO_PKG_VERSION")));
    let agent: ureq::Agent = config.build().into();
    let request = agent.get(url);
    let request = if from > 0 { request.header("Range", format!("bytes={from}-")) } else { request };
    let response = request.call().map_err(describe)?;
    let start = response.headers().get("content-range").and_then(|range| range_start(range.to_str().ok()?));
    let head = Head { status: response.status().as_u16(), start, length: response.body().content_length() };
    if sender.send(Ok(Message::Head(head))).is_err() {
        return Ok(());
    }
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; PIECE];
    loop {
        let message = match body.read(&mut buffer).map_err(|error| describe(error.into()))? {
            0 => Message::End,
            count => Message::Piece(buffer[..count].to_vec()),
        };
        let end = matches!(message, Message::End);
        if sender.send(Ok(message)).is_err() || end {
            return Ok(());
        }
    }
}

/// Where a `Content-Range` such as `bytes 100-199/200` begins.
fn range_start(text: &str) -> Option<u64> {
    text.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

fn describe(error: ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "its host is not found; is there a network?".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(range_start("bytes 100-199/200"), Some(100));
        assert_eq!(range_start("bytes 0-0/*"), Some(0));
        for other in ["", "bytes", "bytes */200", "items 1-2/3", "bytes -5/10"] {
            assert_eq!(range_start(other), None, "{other}");
        }
    }
}
