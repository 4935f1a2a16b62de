//! The log of a run: `metrics.jsonl`, a header line and then one line per epoch.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{atomic, file};
use crate::{Error, Result};

/// The format of the log.
pub const SCHEMA: u32 = 1;

/// An open log; each line is on disk, as far as the operating system is concerned, when [`Metrics::log`] returns.
#[derive(Debug)]
pub struct Metrics {
    file: File,
    path: PathBuf,
}

#[derive(Serialize)]
struct Header<'a, T> {
    schema: u32,
    #[serde(flatten)]
    run: &'a T,
}

#[derive(Serialize)]
struct Line<'a, T> {
    epoch: u32,
    #[serde(flatten)]
    record: &'a T,
}

#[derive(Deserialize)]
struct Epoch {
    epoch: u32,
}

impl Metrics {
    /// Starts a log at `path`, in place of any that is there, with the fields of `run` (a struct or map) in its first line.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be written.
    pub fn create(path: &Path, run: &impl Serialize) -> Result<Self> {
        let header = line(path, &Header { schema: SCHEMA, run })?;
        atomic::write(path, |file| file.write_all(&header))?;
        Self::open(path)
    }

    /// Continues the log at `path` before epoch `next`: lines of that epoch and later, and a line torn by a crash, are dropped,
    /// since the resumed run writes them again. A log that is missing is started.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read or written, is no log, or is of a newer schema.
    pub fn resume(path: &Path, run: &impl Serialize, next: u32) -> Result<Self> {
        let text = match file::read_text(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::create(path, run),
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(atomic::failure(path, &error)),
            Err(error) => return Err(Error::file(path, format!("cannot be read ({error}); move it away to start a new log"))),
        };
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let header = lines.next().unwrap_or_default();
        check_header(path, header)?;
        if next == 0 {
            // What is there is of a run that never came to a checkpoint; this one starts anew.
            return Self::create(path, run);
        }
        let before = |line: &&str| serde_json::from_str::<Epoch>(line).is_ok_and(|Epoch { epoch }| epoch < next);
        let kept: Vec<&str> = lines.filter(before).collect();
        atomic::write(path, |file| {
            file.write_all(header.as_bytes())?;
            kept.iter().try_for_each(|line| file.write_all(line.as_bytes()))
        })?;
        Self::open(path)
    }

    fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).open(path).map_err(|error| atomic::failure(path, &error))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends the line of `epoch`, with the fields of `record` (a struct or map). NaN and infinity become `null`.
    ///
    /// # Errors
    /// [`Error::File`] when the line cannot be written.
    pub fn log(&mut self, epoch: u32, record: &impl Serialize) -> Result<()> {
        let line = line(&self.path, &Line { epoch, record })?;
        self.file.write_all(&line).and_then(|()| self.file.flush()).map_err(|error| atomic::failure(&self.path, &error))
    }
}

/// The records of a log's epochs, in order.
///
/// # Errors
/// [`Error::File`] when the file cannot be read, or is no log of such records.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = file::read_text(path).map_err(|error| Error::file(path, format!("cannot be read ({error}); train anew")))?;
    let mut lines = text.lines();
    check_header(path, lines.next().unwrap_or_default())?;
    let record = |line| serde_json::from_str(line);
    lines.map(record).collect::<Result<_, _>>().map_err(|error| Error::file(path, format!("is damaged ({error}); train anew")))
}

fn line(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    let refuse = |error| Error::file(path, format!("a metric has no JSON form ({error}); please report it"));
    let mut bytes = serde_json::to_vec(value).map_err(refuse)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn check_header(path: &Path, header: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    match serde_json::from_str(header) {
        Ok(Schema { schema }) if schema <= SCHEMA => Ok(()),
        Ok(Schema { schema }) => {
            Err(Error::file(path, format!("has schema {schema}, newer than this version of rocl reads ({SCHEMA}); update rocl")))
        }
        Err(_) => Err(Error::file(path, "is not a metrics log of rocl; move it away to start a new log")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn epochs(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["epoch"].clone()).collect()
    }

    #[test]
    fn one_object_per_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::create(&path, &json!({ "recipe": "demo@1" })).unwrap();
        metrics.log(0, &json!({ "loss": 5.25, "overflow": f64::NAN })).unwrap();
        // Read while the log is still open: every line is flushed.
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"schema\":1,\"recipe\":\"demo@1\"}\n{\"epoch\":0,\"loss\":5.25,\"overflow\":null}\n");
    }

    #[test]
    fn resuming_drops_what_the_run_will_write_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::resume(&path, &json!({}), 0).unwrap();
        (0..4).for_each(|epoch| metrics.log(epoch, &json!({ "loss": 1.0 })).unwrap());
        metrics.file.write_all(b"{\"epoch\":1,\"lo").unwrap();
        drop(metrics);
        let mut metrics = Metrics::resume(&path, &json!({}), 2).unwrap();
        metrics.log(2, &json!({})).unwrap();
        assert_eq!(epochs(&path), [Value::Null, json!(0), json!(1), json!(2)]);
    }

    #[test]
    fn other_files_are_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        for (content, expected) in [("{\"schema\":2}\n", "update rocl"), ("notes\n", "move it away"), ("", "move it away")] {
            fs::write(&path, content).unwrap();
            let message = Metrics::resume(&path, &json!({}), 0).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }
}
