//! The report as one page that needs nothing else: no scripts, no fonts, no network.

use std::fmt::Write;

use serde_json::Value;

use super::chart;
use super::svg::escape;
use super::{MethodReport, Report, SetReport};
use crate::progress::duration_text;

const STYLE: &str = include_str!("style.css");

/// The whole page. Everything that comes from outside (names of classes, folders and files) is
/// escaped.
pub fn write_html(report: &Report) -> String {
    let title = if report.title.is_empty() {
        "Out-of-distribution detection"
    } else {
        &report.title
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(title)
    );
    page.push_str(&header(report, title));
    page.push_str(&results(report));
    page.push_str(&notes(report));
    let figures = &report.figures;
    page.push_str(&section(
        "Scores",
        "How each method's scores are distributed. What lies right of the threshold is taken for one of the classes; the less the sets overlap, the better.",
        &figures.scores,
        chart::scores,
    ));
    page.push_str(&section(
        "ROC curves",
        "For every threshold: how many in-distribution images are kept against how many others are taken for them. Up and to the left is better.",
        &figures.roc,
        chart::roc,
    ));
    page.push_str(&section(
        "Similarity to the prompts",
        "Cosines between image and prompt features: in-distribution images should be near their positive prompts and far from the negative ones.",
        &figures.similarities,
        chart::similarity,
    ));
    page.push_str(&section(
        "Training",
        "The losses of both stages.",
        &figures.losses,
        chart::losses,
    ));
    page.push_str(&data(report));
    page.push_str(&run(report));
    page.push_str(&reproduce(report));
    page.push_str(
        "<footer>Rates are in per cent; the same figures stand in <code>report.json</code> as fractions of one.</footer>\n</main>\n</body>\n</html>\n",
    );
    page
}

fn header(report: &Report, title: &str) -> String {
    let sets = report.sets();
    let id_images: u64 = report
        .data
        .iter()
        .filter(|data| data.used_for.contains("in-distribution test"))
        .map(|data| data.images)
        .sum();
    let mut lead = format!(
        "{} method{} on {} out-of-distribution set{}, with the model {}",
        report.methods.len(),
        plural(report.methods.len()),
        sets.len(),
        plural(sets.len()),
        escape(&report.model.name),
    );
    if id_images > 0 {
        let _ = write!(
            lead,
            " and {} in-distribution test images",
            thousands(id_images)
        );
    }
    let mut key = String::new();
    let mut figure = |name: &str, value: String, beside: String| {
        let _ = write!(
            key,
            "<div><dt>{}</dt><dd>{value}<small>{}</small></dd></div>",
            escape(name),
            escape(&beside)
        );
    };
    let averages = || {
        report
            .methods
            .iter()
            .filter_map(|method| Some((method, method.average?)))
    };
    if let Some((method, average)) = averages().max_by(|(_, a), (_, b)| a.auroc.total_cmp(&b.auroc))
    {
        figure(
            "Best average AUROC",
            format!("{} %", per_cent(average.auroc)),
            method.name.clone(),
        );
    }
    if let Some((method, average)) = averages().min_by(|(_, a), (_, b)| a.fpr95.total_cmp(&b.fpr95))
    {
        figure(
            "Best average FPR95",
            format!("{} %", per_cent(average.fpr95)),
            method.name.clone(),
        );
    }
    let accuracies = report
        .methods
        .iter()
        .filter_map(|method| Some((method, method.id_top1?)));
    if let Some((method, top1)) = accuracies.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
        figure(
            "Best ID accuracy",
            format!("{} %", per_cent(top1)),
            method.name.clone(),
        );
    }
    let seconds: f64 = report.timings.values().sum();
    if seconds > 0.0 {
        figure("Time", duration_text(seconds), report.device.clone());
    }
    let key = if key.is_empty() {
        key
    } else {
        format!("<dl class=\"key\">{key}</dl>\n")
    };
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"lead\">{lead}.</p>\n</header>\n{key}",
        escape(title)
    )
}

fn results(report: &Report) -> String {
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
            Some(deviation) => format!("<td>{text} <small>± {}</small></td>", per_cent(deviation)),
            None => format!("<td>{text}</td>"),
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

fn notes(report: &Report) -> String {
    if report.notes.is_empty() {
        return String::new();
    }
    let items: String = report
        .notes
        .iter()
        .map(|note| format!("<li>{}</li>\n", escape(note)))
        .collect();
    format!("<h2>To read these figures rightly</h2>\n<ul class=\"notes\">\n{items}</ul>\n")
}

fn section<F>(
    title: &str,
    introduction: &str,
    figures: &[F],
    draw: fn(&F, id: &str) -> String,
) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let name = title.to_lowercase().replace(' ', "-");
    let mut html = format!(
        "<section aria-labelledby=\"{name}\">\n<h2 id=\"{name}\">{title}</h2>\n<p class=\"soft\">{introduction}</p>\n<div class=\"figures\">\n"
    );
    for (index, figure) in figures.iter().enumerate() {
        html.push_str(&draw(figure, &format!("{name}-{index}")));
        html.push('\n');
    }
    html.push_str("</div>\n</section>\n");
    html
}

fn data(report: &Report) -> String {
    if report.data.is_empty() {
        return String::new();
    }
    let rows: String = report
        .data
        .iter()
        .map(|data| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"text wrap\">{}</td></tr>\n",
                escape(&data.name),
                escape(&data.used_for),
                thousands(data.images),
                data.classes.map_or("–".to_owned(), |n| thousands(n as u64)),
                thousands(data.skipped),
                escape(&data.source)
            )
        })
        .collect();
    format!(
        "<section aria-labelledby=\"data\">\n<h2 id=\"data\">Data</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Data\">\n<table>\n<thead>\n<tr><th scope=\"col\">Set</th><th scope=\"col\" class=\"text\">Used for</th><th scope=\"col\">Images</th><th scope=\"col\">Classes</th><th scope=\"col\">Unreadable</th><th scope=\"col\" class=\"text\">About it</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</section>\n"
    )
}

fn run(report: &Report) -> String {
    let mut settings = vec![
        ("model".to_owned(), report.model.name.clone()),
        (
            "image size".to_owned(),
            format!("{0} × {0} pixels", report.model.image_size),
        ),
        ("joint width".to_owned(), report.model.embed_dim.to_string()),
        (
            "logit scale".to_owned(),
            format!("{:.2}", report.model.logit_scale),
        ),
        ("device".to_owned(), report.device.clone()),
        ("seed".to_owned(), report.seed.to_string()),
    ];
    flatten("", &report.config, &mut settings);
    settings.extend(report.versions.clone());
    let mut html = String::from(
        "<section aria-labelledby=\"run\">\n<h2 id=\"run\">The run</h2>\n<div class=\"figures\">\n",
    );
    html.push_str(&pairs("Setting", "Value", &settings));
    if !report.timings.is_empty() {
        let timings: Vec<_> = report
            .timings
            .iter()
            .map(|(what, &seconds)| (what.clone(), duration_text(seconds)))
            .collect();
        html.push_str(&pairs("Step", "Time", &timings));
    }
    let thresholds: Vec<_> = report
        .methods
        .iter()
        .map(|method| (method.name.clone(), format!("{:.4}", method.threshold)))
        .collect();
    if !thresholds.is_empty() {
        html.push_str(&pairs("Method", "Threshold", &thresholds));
    }
    html.push_str("</div>\n</section>\n");
    html
}

fn pairs(first: &str, second: &str, rows: &[(String, String)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(name, value)| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"text wrap\">{}</td></tr>\n",
                escape(name),
                escape(value)
            )
        })
        .collect();
    format!(
        "<div><table class=\"plain\">\n<thead><tr><th scope=\"col\">{first}</th><th scope=\"col\" class=\"text\">{second}</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// Nested settings as `stage_1.steps` → `400`.
fn flatten(prefix: &str, value: &Value, settings: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                flatten(&name, value, settings);
            }
        }
        Value::Null => {}
        Value::String(text) => settings.push((prefix.to_owned(), text.clone())),
        other => settings.push((prefix.to_owned(), other.to_string())),
    }
}

fn reproduce(report: &Report) -> String {
    if report.reproduce.is_empty() {
        return String::new();
    }
    format!(
        "<section aria-labelledby=\"again\">\n<h2 id=\"again\">To get this report again</h2>\n<pre tabindex=\"0\"><code>{}</code></pre>\n</section>\n",
        escape(&report.reproduce.join("\n"))
    )
}

fn per_cent(rate: f64) -> String {
    format!("{:.1}", rate * 100.0)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Digits in threes, parted by thin spaces.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::test_report::report;
    use super::*;

    #[test]
    fn the_page_is_whole_and_escaped() {
        let page = write_html(&report());
        assert!(page.contains("Negative prompts on &lt;Caltech-101&gt;"));
        assert!(!page.contains("<Caltech-101>") && !page.contains("<of>"));
        assert!(
            page.contains("<strong>96.3</strong> <small>± 0.4</small>"),
            "{page}"
        );
        assert!(page.contains("stage_2.beta"));
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("<script")
        );
        assert_eq!(page.matches("role=\"img\"").count(), 4);
        assert_eq!(page.matches("<desc").count(), 4);
        for tag in [
            "section", "table", "figure", "div", "ul", "dl", "svg", "tr", "td", "th",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        assert!(write_html(&Report::default()).ends_with("</html>\n"));
    }

    #[test]
    fn numbers_are_parted_in_threes() {
        assert_eq!(thousands(5233), "5233");
        assert_eq!(thousands(1_281_167), "1\u{202f}281\u{202f}167");
    }
}
