//! The tables of results in the page.

use std::fmt::Write;

use super::svg::escape;
use super::{MethodReport, Report, SetReport};

/// The section with the tables; nothing where there is no method.
pub fn results(report: &Report) -> String {
    if report.methods.is_empty() {
        return String::new();
    }
    let sets = report.sets();
    let mut page = String::from(
        "<section aria-labelledby=\"results\">\n<h2 id=\"results\">Results</h2>\n\
         <p class=\"soft\">AUROC: higher is better. FPR95, the share of others that pass the threshold that keeps 95 % of in-distribution images: lower is better. The best of each column is bold.</p>\n",
    );
    let mut columns = vec![column("ID top-1", &report.methods, true, |m| m.id_top1)];
    let mut groups = vec![(String::new(), 1)];
    if report.methods.iter().any(|method| method.seconds.is_some()) {
        // Printed as a percentage, like its neighbours.
        let seconds = column("Seconds", &report.methods, false, |m| {
            Some(m.seconds? / 100.0)
        });
        columns.push(seconds);
        groups.push((String::new(), 1));
    }
    let mut names: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    if sets.len() > 1 {
        names.insert(0, "Average".to_owned());
    }
    for name in &names {
        let of = |method: &MethodReport| -> Option<SetReport> {
            match sets.contains(&name.as_str()) {
                true => method.ood.get(name).copied(),
                false => method.average,
            }
        };
        columns.push(column("AUROC", &report.methods, true, |m| {
            Some(of(m)?.auroc)
        }));
        columns.push(column("FPR95", &report.methods, false, |m| {
            Some(of(m)?.fpr95)
        }));
        for (back, deviation) in [
            (
                2,
                (|set: SetReport| set.auroc_deviation) as fn(SetReport) -> Option<f64>,
            ),
            (1, |set| set.fpr95_deviation),
        ] {
            let at = columns.len() - back;
            columns[at].deviations = report.methods.iter().map(|m| deviation(of(m)?)).collect();
        }
        groups.push((name.clone(), 2));
    }
    page.push_str(&table(
        "Detection and accuracy, in per cent",
        &groups,
        &columns,
        report,
    ));

    let more: Vec<Column> = [
        column("AUPR-in", &report.methods, true, |m| m.average?.aupr_in),
        column("AUPR-out", &report.methods, true, |m| m.average?.aupr_out),
        column("OSCR", &report.methods, true, |m| m.average?.oscr),
        column("ECE", &report.methods, false, |m| m.ece),
    ]
    .into_iter()
    .filter(|column| column.cells.iter().any(Option::is_some))
    .collect();
    if !more.is_empty() {
        let caption = "Averages over the sets, in per cent: area under precision and recall with in-distribution or the others as positives, open-set classification rate, and the calibration error of the first choice";
        page.push_str(&table(caption, &[], &more, report));
    }
    page.push_str("</section>\n");
    page
}

struct Column {
    name: &'static str,
    cells: Vec<Option<f64>>,
    deviations: Vec<Option<f64>>,
    higher_is_better: bool,
}

fn column(
    name: &'static str,
    methods: &[MethodReport],
    higher_is_better: bool,
    rate: impl Fn(&MethodReport) -> Option<f64>,
) -> Column {
    Column {
        name,
        cells: methods.iter().map(rate).collect(),
        deviations: vec![None; methods.len()],
        higher_is_better,
    }
}

impl Column {
    fn cell(&self, row: usize) -> String {
        let Some(rate) = self.cells[row] else {
            return "<td>–</td>".to_owned();
        };
        let rates = self.cells.iter().flatten().copied();
        let best = match self.higher_is_better {
            true => rates.fold(f64::NEG_INFINITY, f64::max),
            false => rates.fold(f64::INFINITY, f64::min),
        };
        let text = per_cent(rate);
        // Equal as printed is equally good.
        let text = if text == per_cent(best) && self.cells.len() > 1 {
            format!("<strong>{text}</strong>")
        } else {
            text
        };
        match self.deviations[row] {
            // What learns nothing does not change with the seed, but for rounding.
            Some(deviation) if deviation > 1e-9 => {
                format!("<td>{text} <small>± {}</small></td>", per_cent(deviation))
            }
            _ => format!("<td>{text}</td>"),
        }
    }
}

fn table(caption: &str, groups: &[(String, usize)], columns: &[Column], report: &Report) -> String {
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">\n<table>\n<caption>{0}</caption>\n<thead>\n",
        escape(caption)
    );
    if !groups.is_empty() {
        html.push_str("<tr><td></td>");
        for (name, columns) in groups {
            if name.is_empty() {
                html.push_str("<td></td>");
            } else {
                let _ = write!(
                    html,
                    "<th class=\"group\" scope=\"colgroup\" colspan=\"{columns}\">{}</th>",
                    escape(name)
                );
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("<tr><th scope=\"col\">Method</th>");
    for column in columns {
        let _ = write!(html, "<th scope=\"col\">{}</th>", column.name);
    }
    html.push_str("</tr>\n</thead>\n<tbody>\n");
    for (row, method) in report.methods.iter().enumerate() {
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", escape(&method.name));
        for column in columns {
            html.push_str(&column.cell(row));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
    html
}

/// A fraction in per cent, with one decimal.
pub fn per_cent(rate: f64) -> String {
    format!("{:.1}", rate * 100.0)
}
