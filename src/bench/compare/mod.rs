//! Two reports of the same benchmark, before and after a change.
//!
//! A report has up to some hundred times, and of a hundred intervals that each hold the truth 95 times in a hundred, five do not. So a row's interval is
//! for reading, and its verdict needs two things: that its whole interval lies beyond 1 and the tolerance, and that chance would put its samples so far
//! apart with a probability of at most [`FALSE_ALARMS`] divided by the number of rows (Bonferroni), by an [exact test](super::rank) of their ranks. Then
//! however many rows there are, the probability of any false alarm is at most [`FALSE_ALARMS`] where nothing has changed.
//!
//! Where something else has: another program on the machine, a warmer chip, then all rows of a report are off, which no test of them can know. Hence
//! the tolerance, and measurements by turns.

mod report;

use super::rank;
use super::summary::{Ratio, median, ratio};
use crate::{Error, Result};
use report::Report;
use serde::Serialize;
use std::path::Path;

/// How likely it may be that any row at all is called slower although nothing changed.
pub const FALSE_ALARMS: f64 = 0.05;

/// A time that both reports hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Where it stands in the report: `step`, `phases/attack`, `calls/conv_fprop 256×32×32×64 f32`.
    pub name: String,
    /// Median before, in seconds.
    pub old: f64,
    /// Median after, in seconds.
    pub new: f64,
    /// `new` over `old`.
    #[serde(flatten)]
    pub ratio: Ratio,
    /// How likely chance would put the samples so far apart, in the direction in which they are.
    pub p: f64,
    /// What follows.
    pub verdict: Verdict,
}

/// What two sets of samples say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Slower beyond chance and tolerance.
    Slower,
    /// Faster beyond chance.
    Faster,
    /// Neither.
    Same,
    /// So few samples that none could be beyond chance, among so many rows.
    TooFewSamples,
    /// The reports are of different things.
    NotJudged,
}

/// Two reports, row by row.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The largest `p` of a row that is called slower or faster.
    pub level: f64,
    /// In what the reports are of different things, a phrase each: then nothing is judged.
    pub differences: Vec<String>,
    /// Rows that one report has and the other has not, a phrase each.
    pub unmatched: Vec<String>,
    /// The others.
    pub times: Vec<Compared>,
}

impl Comparison {
    /// How many rows are slower.
    pub fn regressed(&self) -> usize {
        self.times.iter().filter(|row| row.verdict == Verdict::Slower).count()
    }

    /// How many rows cannot be judged, and the samples of either report that it takes.
    pub fn too_few_samples(&self) -> Option<(usize, usize)> {
        let rows = self.times.iter().filter(|row| row.verdict == Verdict::TooFewSamples).count();
        (rows > 0).then(|| (rows, (1..).find(|&n| rank::least(n, n) <= self.level).unwrap_or(usize::MAX)))
    }
}

/// Compares every time that both reports hold. Reports of different work or machines are refused, unless they are `unlike` on purpose: then nothing is
/// judged.
///
/// # Errors
/// [`Error::File`] for a file that is not a report; [`Error::Usage`] for reports of different benchmarks, work or machines, or without a time in common.
pub fn compare(old: &Path, new: &Path, tolerance: f64, unlike: bool) -> Result<Comparison> {
    let (before, after) = (Report::read(old)?, Report::read(new)?);
    if before.kind != after.kind {
        return Err(Error::Usage(format!(
            "`bench {}` and `bench {}` cannot be compared; give two of a kind",
            before.kind, after.kind
        )));
    }
    let differences = before.differences(&after);
    if !differences.is_empty() && !unlike {
        return Err(Error::Usage(format!(
            "the reports are of different things, since {}; measure both alike, or add --unlike for ratios without a verdict",
            differences.join(", ")
        )));
    }
    let common: Vec<_> = before.times.iter().filter_map(|(name, old)| Some((name, old, after.times.get(name)?))).collect();
    if common.is_empty() {
        return Err(Error::Usage(
            "the two reports have no time in common; give reports of the same benchmark and shapes".to_owned(),
        ));
    }
    let only = |here: &Report, there: &Report, which: &str| -> Vec<String> {
        here.times.keys().filter(|name| !there.times.contains_key(*name)).map(|name| format!("{name} only {which}")).collect()
    };
    let unmatched = [only(&before, &after, "before"), only(&after, &before, "after")].concat();
    let level = FALSE_ALARMS / common.len() as f64;
    let row = |(name, old, new): (&String, &Vec<f64>, &Vec<f64>)| {
        let ratio = ratio(old, new);
        let (p, verdict) = judge(old, new, || ratio, tolerance, level);
        let verdict = if differences.is_empty() { verdict } else { Verdict::NotJudged };
        Compared { name: name.clone(), old: median(old), new: median(new), ratio, p, verdict }
    };
    Ok(Comparison { times: common.into_iter().map(row).collect(), level, differences, unmatched })
}

/// What the samples of a row say, at that level; and how likely chance would say it.
fn judge(old: &[f64], new: &[f64], interval: impl FnOnce() -> Ratio, tolerance: f64, level: f64) -> (f64, Verdict) {
    let (slower, faster) = (rank::larger(old, new), rank::larger(new, old));
    let p = slower.min(faster);
    if rank::least(old.len(), new.len()) > level {
        return (p, Verdict::TooFewSamples);
    }
    if p > level {
        return (p, Verdict::Same);
    }
    let Ratio { low, high, .. } = interval();
    let verdict = if slower <= level && low > 1.0 + tolerance {
        Verdict::Slower
    } else if faster <= level && high < 1.0 {
        Verdict::Faster
    } else {
        Verdict::Same
    };
    (p, verdict)
}

#[cfg(test)]
mod tests;
