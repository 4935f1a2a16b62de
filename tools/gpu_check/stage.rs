//! One thing that is run: a command with a time limit, and what became of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How much of a command's output a report keeps, in bytes.
const TAIL: u64 = 4000;

/// A command, not yet run.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Unique within a check; its output is kept in `NAME.log`.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Set for it, besides the environment.
    pub variables: BTreeMap<String, String>,
    pub limit: Duration,
    /// Why it cannot run here, when that is known beforehand.
    pub missing: Option<String>,
    /// What a tool prints where it cannot work at all: it has then found nothing, and missed nothing.
    pub refusal: Option<&'static str>,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    TimedOut,
    /// What it needs is not there, or does not work there: neither good nor bad.
    Skipped,
}

/// A stage that was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub name: String,
    /// As one would type it, with the variables in front.
    pub command: String,
    pub pass: bool,
    pub verdict: Verdict,
    pub seconds: f64,
    /// The end of what it printed, standard output and error together; or why it was skipped.
    pub tail: String,
}

impl Stage {
    /// A command with arguments, to take no longer than so many seconds.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, arguments: &[&str], seconds: u64) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            variables: BTreeMap::new(),
            limit: Duration::from_secs(seconds),
            missing: None,
            refusal: None,
        }
    }

    /// With a variable of the environment.
    pub fn with(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.variables.insert(variable.to_owned(), value.into());
        self
    }

    /// As one that cannot run, when there is a reason.
    pub fn unless(self, missing: Option<String>) -> Self {
        Self { missing, ..self }
    }

    fn line(&self) -> String {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let words = [self.program.display().to_string()].into_iter().chain(self.arguments.iter().cloned());
        variables.chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Runs it, with its output in a file in `folder`. A command that cannot be started has failed.
    pub fn run(&self, folder: &Path) -> Outcome {
        let start = Instant::now();
        let log = folder.join(format!("{}.log", self.name));
        let (verdict, note) = match &self.missing {
            Some(reason) => (Verdict::Skipped, reason.clone()),
            None => self.execute(&log).unwrap_or_else(|error| (Verdict::Failed, format!("{}: {error}", self.program.display()))),
        };
        let printed = if self.missing.is_some() { String::new() } else { tail(&log) };
        let refused = self.refusal.filter(|refusal| verdict == Verdict::Failed && contains(&log, refusal));
        let (verdict, note) = match refused {
            Some(refusal) => (Verdict::Skipped, format!("it does not work on this machine: {refusal}")),
            None => (verdict, note),
        };
        let tail = [printed, note].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
        let pass = matches!(verdict, Verdict::Passed | Verdict::Skipped);
        Outcome { name: self.name.clone(), command: self.line(), pass, verdict, seconds: start.elapsed().as_secs_f64(), tail }
    }

    fn execute(&self, log: &Path) -> std::io::Result<(Verdict, String)> {
        let output = File::create(log)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(&self.variables).stdin(Stdio::null());
        // A group of its own, so that what it has started ends with it.
        command.stdout(output.try_clone()?).stderr(output).process_group(0);
        let mut child = command.spawn()?;
        let deadline = Instant::now() + self.limit;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(if status.success() {
                    (Verdict::Passed, String::new())
                } else {
                    (Verdict::Failed, status.to_string())
                });
            }
            if Instant::now() >= deadline {
                // SAFETY: the group is that of the child, which has not been waited for.
                unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
                child.wait()?;
                return Ok((Verdict::TimedOut, format!("ended after {} s, its limit", self.limit.as_secs_f64())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a file has a line with this text.
fn contains(path: &Path, text: &str) -> bool {
    std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
}

/// The end of a file, as text.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()).unwrap_or_default()
}
