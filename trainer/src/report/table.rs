//! The results as a table of text.

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result};

use super::{MethodReport, Report};
use crate::progress::printable_name;

/// Prints the table to stdout. A closed stdout is no reason to fail.
///
/// # Errors
/// When it cannot be written for another reason, such as a full disk.
pub fn print_table(report: &Report) -> Result<()> {
    let mut stdout = std::io::stdout();
    let bold = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let written = writeln!(stdout, "{}", table_text(report, bold)).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context(
            "cannot print the table: free space where the output goes, or send it elsewhere",
        ),
        _ => Ok(()),
    }
}

/// Methods as rows, OOD sets as columns, AUROC and FPR95 in per cent. The best of each column is
/// bold, or starred where there is no bold.
pub fn table_text(report: &Report, bold: bool) -> String {
    let sets = report.sets();
    let mut columns: Vec<Column> = vec![Column {
        heading: ["ID".to_owned(), "top-1".to_owned()],
        cells: report
            .methods
            .iter()
            .map(|method| method.id_top1.map(|rate| (rate, per_cent(rate))))
            .collect(),
        better: Better::Higher,
    }];
    for set in &sets {
        columns.extend(pair(report, set, |method| method.ood.get(*set)));
    }
    if sets.len() > 1 {
        columns.extend(pair(report, "average", |method| method.average.as_ref()));
    }
    render(report, &columns, bold)
}

struct Column {
    heading: [String; 2],
    /// The value to compare by, and what to print.
    cells: Vec<Option<(f64, String)>>,
    better: Better,
}

#[derive(Clone, Copy)]
enum Better {
    Higher,
    Lower,
}

impl Column {
    /// Whether a row has the best value, as printed: equal figures are equally good.
    fn is_best(&self, row: usize) -> bool {
        let values = self.cells.iter().flatten();
        let best = match self.better {
            Better::Higher => values.max_by(|a, b| a.0.total_cmp(&b.0)),
            Better::Lower => values.min_by(|a, b| a.0.total_cmp(&b.0)),
        };
        match (best, &self.cells[row]) {
            (Some((_, best)), Some((_, printed))) => best == printed,
            _ => false,
        }
    }
}

fn pair<'a>(
    report: &'a Report,
    set: &str,
    of: impl Fn(&'a MethodReport) -> Option<&'a super::SetReport>,
) -> [Column; 2] {
    let column = |name: &str, better, rate: fn(&super::SetReport) -> f64| Column {
        heading: [printable_name(set).into_owned(), name.to_owned()],
        cells: report
            .methods
            .iter()
            .map(|method| of(method).map(|set| (rate(set), per_cent(rate(set)))))
            .collect(),
        better,
    };
    [
        column("AUROC", Better::Higher, |set| set.auroc),
        column("FPR95", Better::Lower, |set| set.fpr95),
    ]
}

fn render(report: &Report, columns: &[Column], bold: bool) -> String {
    let names = report
        .methods
        .iter()
        .map(|method| method.name.chars().count());
    let first = names.max().unwrap_or(0).max(6);
    let mut widths: Vec<usize> = columns
        .iter()
        .map(|column| {
            let cells = column.cells.iter().flatten().map(|(_, text)| text.len());
            // One place more for the star.
            (cells.max().unwrap_or(1) + 1).max(column.heading[1].len())
        })
        .collect();
    // A set's name stands over its two columns and may be wider than both.
    for start in (1..columns.len()).step_by(2) {
        let needed = columns[start].heading[0].chars().count();
        let there = widths[start] + 2 + widths[start + 1];
        widths[start + 1] += needed.saturating_sub(there);
    }
    let mut lines = vec![format!("{:first$}", ""), format!("{:first$}", "method")];
    lines.extend(
        report
            .methods
            .iter()
            .map(|method| format!("{:first$}", method.name)),
    );
    lines[0].push_str(&format!(
        "  {:>width$}",
        columns[0].heading[0],
        width = widths[0]
    ));
    for start in (1..columns.len()).step_by(2) {
        let width = widths[start] + 2 + widths[start + 1];
        lines[0].push_str(&format!("  {:>width$}", columns[start].heading[0]));
    }
    for (column, &width) in columns.iter().zip(&widths) {
        lines[1].push_str(&format!("  {:>width$}", column.heading[1]));
        for row in 0..report.methods.len() {
            let text = column.cells[row].as_ref().map_or("–", |(_, text)| text);
            let cell = match (column.is_best(row) && report.methods.len() > 1, bold) {
                (true, true) => format!("  \x1b[1m{text:>width$}\x1b[0m"),
                (true, false) => format!("  {:>width$}", format!("*{text}")),
                (false, _) => format!("  {text:>width$}"),
            };
            lines[row + 2].push_str(&cell);
        }
    }
    lines.insert(2, "─".repeat(lines[1].chars().count()));
    let best = if bold { "bold" } else { "*" };
    lines.push(format!(
        "in per cent; AUROC: higher is better, FPR95: lower is better; {best}: the best of its column"
    ));
    lines
        .iter()
        .map(|line| line.trim_end())
        .collect::<Vec<_>>()
        .join("\n")
}

fn per_cent(rate: f64) -> String {
    format!("{:.1}", rate * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::test_report::report;
    use super::*;

    #[test]
    fn every_line_is_as_wide_as_the_rule_and_the_best_is_marked() {
        let text = table_text(&report(), false);
        let lines: Vec<_> = text.lines().collect();
        let width = lines[2].chars().count();
        for line in &lines[..lines.len() - 1] {
            assert!(line.chars().count() <= width, "{text}");
        }
        assert!(text.contains("*96.3"), "{text}");
        assert!(text.contains("average"), "{text}");
        assert!(!table_text(&report(), true).contains('*'));
    }

    #[test]
    fn a_set_cannot_be_named_so_that_it_moves_the_cursor() {
        let mut report = report();
        for method in &mut report.methods {
            let (_, set) = method.ood.pop_first().unwrap();
            method.ood.insert("a\u{9b}2J\u{202e}\n".to_owned(), set);
        }
        let text = table_text(&report, false);
        assert!(text.contains("a\\u{9b}2J\\u{202e}\\n"), "{text}");
    }

    #[test]
    fn a_report_without_methods_is_a_table_without_rows() {
        assert!(table_text(&Report::default(), false).contains("method"));
    }
}
