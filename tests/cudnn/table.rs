//! The table of what plans compute.

use rocl::device::Arithmetic;
use rocl::device::cudnn::{Operation, Plan};
use std::collections::BTreeMap;
use std::fmt;

/// Operations, and the stride they are asked for with: any, where none is given.
pub fn rows() -> Vec<(String, Operation, Option<usize>)> {
    let fprop = |bias, residual, relu| (Operation::Fprop { bias, residual, relu }, None);
    let dgrad = |residual, mask, stride| (Operation::Dgrad { residual, mask }, stride);
    let rows = [
        fprop(false, false, false),
        fprop(true, false, false),
        fprop(true, false, true),
        fprop(true, true, true),
        fprop(false, true, true),
        (Operation::Statistics, None),
        dgrad(false, false, None),
        dgrad(true, false, Some(1)),
        dgrad(true, false, Some(2)),
        dgrad(false, true, None),
        dgrad(true, true, Some(1)),
        (Operation::Wgrad { accumulate: true }, None),
    ];
    let name = |operation: Operation, stride: Option<usize>| match stride {
        Some(stride) => format!("{operation}, stride {stride}"),
        None => operation.to_string(),
    };
    rows.into_iter().map(|(operation, stride)| (name(operation, stride), operation, stride)).collect()
}

/// How many of a row's convolutions are computed in which way, for each architecture and arithmetic.
#[derive(Default)]
pub struct Table {
    cells: BTreeMap<(String, &'static str, Arithmetic), BTreeMap<String, usize>>,
}

impl Table {
    /// `plan` computes one of the row's convolutions, or none does.
    pub fn count(&mut self, row: &str, architecture: &'static str, arithmetic: Arithmetic, plan: Option<&Plan>) {
        let outcome = plan.map_or("–".to_owned(), Plan::extent);
        *self.cells.entry((row.to_owned(), architecture, arithmetic)).or_default().entry(outcome).or_default() += 1;
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let architectures = ["sm_80", "sm_90"];
        let columns: Vec<_> = architectures.into_iter().flat_map(|card| Arithmetic::ALL.map(|a| (card, a))).collect();
        write!(f, "| asked for |")?;
        columns.iter().try_for_each(|(card, arithmetic)| write!(f, " {card} {} |", arithmetic.name()))?;
        writeln!(f, "\n|---|{}", "---|".repeat(columns.len()))?;
        for (row, ..) in rows() {
            write!(f, "| {row} |")?;
            for &(card, arithmetic) in &columns {
                let outcomes = self.cells.get(&(row.clone(), card, arithmetic)).cloned().unwrap_or_default();
                let several = outcomes.len() > 1;
                let outcome =
                    |(outcome, count): (&String, &usize)| if several { format!("{outcome} ({count})") } else { outcome.clone() };
                write!(f, " {} |", outcomes.iter().map(outcome).collect::<Vec<_>>().join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
