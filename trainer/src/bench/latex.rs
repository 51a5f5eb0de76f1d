//! The table of a suite for a paper.

use crate::progress::printable_name;
use crate::report::{MethodReport, Report, SetReport};

/// A rate and its standard deviation over seeds; none where a method has no row.
type Cell = Option<(f64, Option<f64>)>;

/// A `booktabs` table: AUROC and FPR95 of every set and of the average, in per cent, with the
/// standard deviation over seeds; the best of each column bold. Where there is no set it is of what
/// else was measured, the accuracy.
pub fn table(report: &Report) -> String {
    let sets = report.sets();
    let names: Vec<&str> = sets
        .iter()
        .copied()
        .chain((sets.len() > 1).then_some("average"))
        .collect();
    let mut columns: Vec<(&str, bool, Vec<Cell>)> = Vec::new();
    for &name in &names {
        let of = |method: &MethodReport| -> Option<SetReport> {
            match sets.contains(&name) {
                true => method.ood.get(name).copied(),
                false => method.average,
            }
        };
        let cells = |rate: fn(SetReport) -> (f64, Option<f64>)| -> Vec<_> {
            report.methods.iter().map(|m| of(m).map(rate)).collect()
        };
        columns.push(("AUROC", true, cells(|set| (set.auroc, set.auroc_deviation))));
        columns.push((
            "FPR95",
            false,
            cells(|set| (set.fpr95, set.fpr95_deviation)),
        ));
    }
    if names.is_empty() && report.methods.iter().any(|m| m.id_top1.is_some()) {
        let cells = report.methods.iter().map(|m| Some((m.id_top1?, None)));
        columns.push(("ID top-1", true, cells.collect()));
    }
    let mut lines = vec![
        "% Needs \\usepackage{booktabs}.".to_owned(),
        format!("\\begin{{tabular}}{{l{}}}", "r".repeat(columns.len())),
        "\\toprule".to_owned(),
    ];
    if !names.is_empty() {
        let head = |name: &&str| format!("\\multicolumn{{2}}{{c}}{{{}}}", escape(name));
        lines.push(line("", names.iter().map(head)));
    }
    let rates = columns.iter().map(|&(rate, ..)| rate.to_owned());
    lines.push(line("Method", rates));
    lines.push("\\midrule".to_owned());
    for (row, method) in report.methods.iter().enumerate() {
        let cells = columns
            .iter()
            .map(|(_, higher, cells)| cell(cells, row, *higher));
        lines.push(line(&escape(&method.name), cells));
    }
    lines.push("\\bottomrule".to_owned());
    lines.push("\\end{tabular}".to_owned());
    lines.join("\n") + "\n"
}

/// A row of the table: its name, then its cells.
fn line(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!(" & {cell}")).collect();
    format!("{name}{cells} \\\\")
}

fn cell(cells: &[Cell], row: usize, higher: bool) -> String {
    let Some((rate, deviation)) = cells[row] else {
        return "--".to_owned();
    };
    let rates = cells.iter().flatten().map(|(rate, _)| *rate);
    let best = match higher {
        true => rates.fold(f64::NEG_INFINITY, f64::max),
        false => rates.fold(f64::INFINITY, f64::min),
    };
    let text = per_cent(rate);
    let text = if text == per_cent(best) {
        format!("\\textbf{{{text}}}")
    } else {
        text
    };
    match deviation {
        // What learns nothing does not change with the seed, but for rounding.
        Some(deviation) if deviation > 1e-9 => {
            format!("{text} $\\pm$ {}", per_cent(deviation))
        }
        _ => text,
    }
}

fn per_cent(rate: f64) -> String {
    format!("{:.1}", rate * 100.0)
}

/// Text with orders to a terminal escaped, and whose characters LaTeX would take for commands.
fn escape(text: &str) -> String {
    printable_name(text)
        .chars()
        .map(|character| match character {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{character}"),
            '~' => "\\textasciitilde{}".to_owned(),
            '^' => "\\textasciicircum{}".to_owned(),
            '\\' => "\\textbackslash{}".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_as_many_cells_as_the_head() {
        let report = crate::report::example();
        let table = table(&report);
        let cells = |line: &str| line.matches(" & ").count();
        let rows: Vec<&str> = table
            .lines()
            .filter(|line| line.starts_with("Method") || line.starts_with("NegPrompt"))
            .collect();
        assert_eq!(rows.len(), 2, "{table}");
        assert_eq!(cells(rows[0]), cells(rows[1]));
        assert!(rows[1].contains("\\textbf{96.3} $\\pm$ 0.4"), "{table}");
        assert!(table.contains("\\begin{tabular}{lrrrrrrrr}"), "{table}");
        assert_eq!(
            escape("a\u{9b}\n"),
            "a\\textbackslash{}u\\{9b\\}\\textbackslash{}n"
        );
        assert_eq!(escape("50 % of a_b"), "50 \\% of a\\_b");
    }

    #[test]
    fn without_a_set_the_table_is_of_accuracies() {
        let mut report = crate::report::example();
        for method in &mut report.methods {
            method.ood.clear();
            method.average = None;
        }
        let of_accuracies = table(&report);
        let lines: Vec<&str> = of_accuracies.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "\\begin{tabular}{lr}",
                "\\toprule",
                "Method & ID top-1 \\\\",
                "\\midrule",
                "NegPrompt & \\textbf{91.3} \\\\",
                "MCM & \\textbf{91.3} \\\\",
                "\\bottomrule",
                "\\end{tabular}",
            ]
        );
        // Nor are there accuracies where the classes of the images are not known.
        report.methods.iter_mut().for_each(|m| m.id_top1 = None);
        let of_names = table(&report);
        assert!(
            of_names.contains("{l}") && !of_names.contains('&'),
            "{of_names}"
        );
    }
}
